#include "ops/index.h"

#include "engine/tape.h"
#include "ops/add_rows.h"
#include "ops/elementwise.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

template <class T> struct PickRows {
  const T* weight;
  const Index* index;
  Index width;
  T* y;
  HD void operator()(Index r, Index c) const { y[r * width + c] = weight[index[r] * width + c]; }
};

struct Embedding final : Op {
  Constant index;
  explicit Embedding(Tensor i) : index(std::move(i)) {}
  const char* name() const override { return "embedding"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    const Tensor& weight = in[0];
    const Index width = weight.shape()[1];
    Tensor y = empty(index.get(name()).shape().joined({width}), weight.dtype(), weight.device());
    dispatch(weight.dtype(), [&]<class T>() {
      launch_grid(y.device(), index.get(name()).numel(), width,
                  PickRows<T>{weight.data<T>(), index.get(name()).data<Index>(), width, y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override { add_rows(dy, index.get(name()), dx.into(0)); }
};

// Element i of `index` names element j of x. Both are seen as [outer, n, inner] around the axis.
struct Pick {
  const Index* index;
  Index n, x_n, inner;
  Pick(const Tensor& i, const Shape& x, int axis)
      : index(i.data<Index>()), n(i.shape()[axis]), x_n(x[axis]), inner(x.product(axis + 1, x.rank())) {}
  // i = outer n inner + c
  HD Index place(Index outer, Index c) const {
    const Index row = outer * x_n + index[outer * n * inner + c];
    return inner == 1 ? row : row * inner + c % inner;
  }
};

template <class T> struct TakePicked {
  Pick pick;
  const T* x;
  T* y;
  HD void operator()(Index o, Index c) const { y[o * pick.n * pick.inner + c] = x[pick.place(o, c)]; }
};
template <class T> struct AddPicked {
  Pick pick;
  const T* x;
  T* y;
  HD void operator()(Index o, Index c) const { y[o * pick.n * pick.inner + c] += x[pick.place(o, c)]; }
};
// Where nothing is named twice.
template <class T> struct AddToPicked {
  Pick pick;
  const T* x;
  T* y;
  HD void operator()(Index o, Index c) const { y[pick.place(o, c)] += x[o * pick.n * pick.inner + c]; }
};
struct PickedPlaces {
  Pick pick;
  Index* y;
  HD void operator()(Index o, Index c) const { y[o * pick.n * pick.inner + c] = pick.place(o, c); }
};

template <class Body> void each_pick(Device& device, Index count, const Body& body) {
  const Index columns = body.pick.n * body.pick.inner;
  launch_grid(device, columns ? count / columns : 0, columns, body);
}

// y[.., index[i..], ..] += x[i..]
void add_to_picked(const Tensor& x, const Tensor& index, int axis, Tensor& y) {
  const Pick pick(index, y.shape(), axis);
  if (pick.n == 1 || x.device().is_cpu()) {
    return dispatch_float("scatter_add", x.dtype(), [&]<class T>() {
      const AddToPicked<T> body{pick, x.data<T>(), y.data_mut<T>()};
      if (pick.n == 1) return each_pick(x.device(), x.numel(), body);
      const Index columns = pick.n * pick.inner;  // one after the other
      for (Index i = 0; i < x.numel(); ++i) body(i / columns, i % columns);
    });
  }
  Tensor places = empty({x.numel()}, DType::i64, x.device());
  each_pick(x.device(), x.numel(), PickedPlaces{pick, places.data_mut<Index>()});
  add_rows(x, places, y);
}

struct Gather final : Op {
  int axis;
  Constant index;
  Gather(int a, Tensor i) : axis(a), index(std::move(i)) {}
  const char* name() const override { return "gather"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return gathered(in[0], axis, index.get(name())); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    add_to_picked(dy, index.get(name()), axis, dx.into(0));
  }
};

struct ScatterAdd final : Op {
  int axis;
  Constant index;
  ScatterAdd(int a, Tensor i) : axis(a), index(std::move(i)) {}
  const char* name() const override { return "scatter_add"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    Tensor y = in[0].clone();
    add_to_picked(in[1], index.get(name()), axis, y);
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    if (dx.wants(0)) dx.add(0, dy);
    if (!dx.wants(1)) return;
    Tensor& to = dx.into(1);
    dispatch_float("scatter_add", dy.dtype(), [&]<class T>() {
      const Pick pick(index.get(name()), dy.shape(), axis);
      each_pick(dy.device(), to.numel(), AddPicked<T>{pick, dy.data<T>(), to.data_mut<T>()});
    });
  }
};

// Neither in 0..n-1 nor `ignored`.
template <class I> struct Outside {
  const I* values;
  Index n, ignored;
  bool ignores;
  HD bool operator()(Index i) const {
    const Index v = Index(values[i]);
    return !((v >= 0 && v < n) || (ignores && v == ignored));
  }
};

template <class T> struct OneHot {
  const Index* index;
  Index classes;
  T* y;
  HD void operator()(Index r, Index c) const { y[r * classes + c] = T(index[r] == c); }
};

int check_pick(std::string_view op, const Tensor& x, int axis, const Tensor& index) {
  axis = checked_axis(op, x.shape(), axis);
  if (index.rank() != x.rank() || index.shape().with(axis, 1) != x.shape().with(axis, 1)) {
    fail(op, "index " + index.describe() + " and " + x.describe() + " must agree but for axis " + std::to_string(axis));
  }
  check_same_device(op, x, index);
  check_indices(op, "index", index, x.shape()[axis]);
  return axis;
}

}  // namespace

Tensor as_index(std::string_view op, const Tensor& indices) {
  if (!indices) fail(op, "the index tensor is undefined");
  if (indices.dtype() == DType::i32) return indices.to(DType::i64);
  if (indices.dtype() == DType::i64) return indices;
  fail(op, "needs indices of type i32 or i64, got " + indices.describe() + "; convert with to(DType::i64)");
}

void check_indices(std::string_view op, std::string_view what, const Tensor& indices, Index n, const Index* ignored) {
  dispatch_index(op, indices.dtype(), [&]<class I>() {
    const Outside<I> outside{indices.data<I>(), n, ignored ? *ignored : 0, ignored != nullptr};
    const Index i = find_first(indices.device(), indices.numel(), outside);
    if (i < 0) return;
    const Tensor value = indices.untaped_view({1}, i).cpu();
    fail(op, std::string(what) + " " + std::to_string(value.data<I>()[0]) + " at [" + std::to_string(i) + "] of " +
                 indices.describe() + " is outside 0.." + std::to_string(n - 1));
  });
}

Tensor gathered(const Tensor& x, int axis, const Tensor& index) {
  Tensor y = empty(index.shape(), x.dtype(), x.device());
  dispatch(y.dtype(), [&]<class T>() {
    each_pick(y.device(), y.numel(), TakePicked<T>{Pick(index, x.shape(), axis), x.data<T>(), y.data_mut<T>()});
  });
  return y;
}

Tensor embedding(At weight, const Tensor& indices) {
  if (!weight.tensor || weight->rank() != 2) fail("embedding", "needs a weight [V,D], got " + weight->describe());
  const Tensor index = as_index("embedding", indices);
  check_same_device("embedding", weight, index);
  check_indices("embedding", "index", index, weight->shape()[0]);
  return apply(Embedding(index), weight);
}

Tensor index_select(At x, int axis, const Tensor& indices) {
  axis = checked_axis("index_select", x->shape(), axis);
  const Tensor index = as_index("index_select", indices);
  if (index.rank() != 1) fail("index_select", "needs indices [K], got " + index.describe());
  check_same_device("index_select", x, index);
  check_indices("index_select", "index", index, x->shape()[axis]);
  // The axis first, the others as one row; then back.
  const Tensor moved = axis == 0 ? x.tensor : transpose(x, 0, axis);
  const Shape rest = moved.shape().without(0);
  const Tensor table = moved.reshape({moved.shape()[0], rest.numel()}, x.line);
  const Tensor picked = embedding(At(table, x.line), index);
  const Tensor y = picked.reshape(Shape{index.numel()}.joined(rest), x.line);
  return axis == 0 ? y : transpose(At(y, x.line), 0, axis);
}

Tensor gather(At x, int axis, const Tensor& index) {
  const Tensor i = as_index("gather", index);
  axis = check_pick("gather", x, axis, i);
  return apply(Gather(axis, i), x);
}

Tensor scatter_add(At x, int axis, const Tensor& index, const Tensor& source) {
  const Tensor i = as_index("scatter_add", index);
  axis = check_pick("scatter_add", x, axis, i);
  if (source.shape() != i.shape() || source.dtype() != x->dtype()) {
    fail("scatter_add",
         "source " + source.describe() + " does not fit index " + i.describe() + " and " + x->describe());
  }
  check_same_device("scatter_add", x, source);
  return apply(ScatterAdd(axis, i), x, source);
}

Tensor one_hot(const Tensor& indices, Index classes, DType dtype) {
  const Tensor index = as_index("one_hot", indices);
  check_indices("one_hot", "index", index, classes);
  Tensor y = empty(index.shape().joined({classes}), dtype, index.device());
  dispatch(dtype, [&]<class T>() {
    launch_grid(y.device(), index.numel(), classes, OneHot<T>{index.data<Index>(), classes, y.data_mut<T>()});
  });
  return y;
}

}  // namespace gradus
