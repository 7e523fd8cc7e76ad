#include "ops/shape_ops.h"

#include <algorithm>
#include <numeric>

#include "ops/elementwise.h"
#include "ops/strided.h"

namespace gradus {
namespace {

struct Permute final : Op {
  std::vector<int> order;
  explicit Permute(std::vector<int> o) : order(std::move(o)) {}
  const char* name() const override { return "permute"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return permuted(in[0], order); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    std::vector<int> back(order.size());
    for (std::size_t k = 0; k < order.size(); ++k) back[std::size_t(order[k])] = int(k);
    dx.add(0, permuted(dy, back));
  }
};

// Copies a block of `count` indices along `axis`, from index `from` of x to index `to` of y; adds instead if asked.
// Both are seen as [outer, n, inner]; their other sizes agree.
template <class T> struct CopyBlock {
  const T* x;
  T* y;
  Index x_stride, y_stride, x_start, y_start;  // elements per outer step, and the first element
  bool add;
  HD void operator()(Index o, Index c) const {
    T& to = y[o * y_stride + y_start + c];
    const T from = x[o * x_stride + x_start + c];
    to = add ? to + from : from;
  }
};

void copy_block(const Tensor& x, Index from, Tensor& y, Index to, int axis, Index count, bool add = false) {
  const Index inner = x.shape().product(axis + 1, x.rank()), outer = x.shape().product(0, axis);
  dispatch(x.dtype(), [&]<class T>() {
    launch_grid(x.device(), outer, count * inner,
                CopyBlock<T>{x.data<T>(), y.data_mut<T>(), x.shape()[axis] * inner, y.shape()[axis] * inner,
                             from * inner, to * inner, add});
  });
}

struct Slice final : Op {
  int axis;
  Index begin, end;
  Slice(int a, Index b, Index e) : axis(a), begin(b), end(e) {}
  const char* name() const override { return "slice"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape().with(axis, end - begin), in[0].dtype(), in[0].device());
    copy_block(in[0], begin, y, 0, axis, end - begin);
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    copy_block(dy, 0, dx.into(0), begin, axis, end - begin, true);
  }
};

struct Pad final : Op {
  int axis;
  Index before, after;
  double value;
  Pad(int a, Index b, Index e, double v) : axis(a), before(b), after(e), value(v) {}
  const char* name() const override { return "pad"; }
  Keep keep() const override { return Keep::nothing; }
  bool makes_infinity() const override { return true; }
  Tensor forward(In in) override {
    const Tensor& x = in[0];
    Tensor y = full(x.shape().with(axis, before + x.shape()[axis] + after), value, x.dtype(), x.device());
    copy_block(x, 0, y, before, axis, x.shape()[axis]);
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    copy_block(dy, before, dx.into(0), 0, axis, dx.shape(0)[axis], true);
  }
};

struct Cat final : Op {
  int axis;
  explicit Cat(int a) : axis(a) {}
  const char* name() const override { return "cat"; }
  Keep keep() const override { return Keep::nothing; }
  std::vector<Index> sizes;
  Tensor forward(In in) override {
    Index total = 0;
    sizes.clear();
    for (const Tensor& x : in) {
      if (x.rank() != in[0].rank() || x.shape().with(axis, 1) != in[0].shape().with(axis, 1) ||
          x.dtype() != in[0].dtype()) {
        fail("cat",
             "tensors differ beyond axis " + std::to_string(axis) + ": " + in[0].describe() + " and " + x.describe());
      }
      check_same_device("cat", in[0], x);
      sizes.push_back(x.shape()[axis]);
      total += sizes.back();
    }
    Tensor y = empty(in[0].shape().with(axis, total), in[0].dtype(), in[0].device());
    Index at = 0;
    for (const Tensor& x : in) {
      copy_block(x, 0, y, at, axis, x.shape()[axis]);
      at += x.shape()[axis];
    }
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    Index at = 0;
    for (int k = 0; k < int(in.size()); ++k) {
      const Index count = sizes[std::size_t(k)];
      if (dx.wants(k)) copy_block(dy, at, dx.into(k), 0, axis, count, true);
      at += count;
    }
  }
};

}  // namespace

Tensor permuted(const Tensor& x, const std::vector<int>& order) {
  Shape shape = x.shape();
  for (int k = 0; k < x.rank(); ++k) shape = shape.with(k, x.shape()[order[std::size_t(k)]]);
  Tensor y = empty(shape, x.dtype(), x.device());
  std::vector<Index> strides;
  for (const int axis : order) strides.push_back(x.shape().product(axis + 1, x.rank()));
  strided_copy(x, strides, y);
  return y;
}

Tensor permute(At x, std::vector<int> order) {
  std::vector<int> sorted;
  for (int& axis : order) sorted.push_back(axis = checked_axis("permute", x->shape(), axis));
  std::sort(sorted.begin(), sorted.end());
  if (int(order.size()) != x->rank() || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    fail("permute", "needs each axis of " + x->describe() + " once");
  }
  return apply(Permute(std::move(order)), x);
}

Tensor transpose(At x, int axis0, int axis1) {
  std::vector<int> order(std::size_t(x->rank()));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[std::size_t(checked_axis("transpose", x->shape(), axis0))],
            order[std::size_t(checked_axis("transpose", x->shape(), axis1))]);
  return apply(Permute(std::move(order)), x);
}

Tensor slice(At x, int axis, Index begin, Index end) {
  axis = checked_axis("slice", x->shape(), axis);
  if (begin < 0 || end < begin || end > x->shape()[axis]) {
    fail("slice", std::to_string(begin) + ":" + std::to_string(end) + " does not lie within axis " +
                      std::to_string(axis) + " of " + x->describe());
  }
  return axis == 0 ? x->rows(begin, end, x.line) : apply(Slice(axis, begin, end), x);
}

Tensor pad(At x, int axis, Index before, Index after, double value) {
  if (before < 0 || after < 0) fail("pad", "cannot pad by a negative number; use slice");
  return apply(Pad(checked_axis("pad", x->shape(), axis), before, after, value), x);
}

Tensor cat(std::span<const Tensor> tensors, int axis, UserLine line) {
  if (tensors.empty()) fail("cat", "needs at least one tensor");
  return apply(Cat(checked_axis("cat", tensors[0].shape(), axis)), line, tensors);
}
Tensor cat(std::initializer_list<Tensor> tensors, int axis, UserLine line) {
  return cat(std::span(tensors.begin(), tensors.size()), axis, line);
}

Tensor stack(std::span<const Tensor> tensors, int axis, UserLine line) {
  if (tensors.empty()) fail("stack", "needs at least one tensor");
  axis = checked_axis("stack", tensors[0].shape().inserted(0), axis);
  std::vector<Tensor> with_axis;
  for (const Tensor& x : tensors) with_axis.push_back(x.reshape(x.shape().inserted(std::min(axis, x.rank())), line));
  return cat(std::span<const Tensor>(with_axis), axis, line);
}
Tensor stack(std::initializer_list<Tensor> tensors, int axis, UserLine line) {
  return stack(std::span(tensors.begin(), tensors.size()), axis, line);
}

Tensor flatten(At x, int first, int last) {
  if (x->rank() == 0) return x->reshape({1}, x.line);
  first = checked_axis("flatten", x->shape(), first);
  last = checked_axis("flatten", x->shape(), last);
  if (first > last) fail("flatten", "the first axis comes after the last");
  const Shape& s = x->shape();
  return x->reshape(s.slice(0, first).joined({s.product(first, last + 1)}).joined(s.slice(last + 1, s.rank())), x.line);
}

Tensor unsqueeze(At x, int axis) {
  return x->reshape(x->shape().inserted(checked_axis("unsqueeze", x->shape().inserted(0), axis)), x.line);
}

Tensor squeeze(At x, int axis) {
  axis = checked_axis("squeeze", x->shape(), axis);
  if (x->shape()[axis] != 1)
    fail("squeeze", "axis " + std::to_string(axis) + " of " + x->describe() + " is not of size 1");
  return x->reshape(x->shape().without(axis), x.line);
}

}  // namespace gradus
