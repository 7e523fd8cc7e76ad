#include "ops/index.h"

#include "engine/tape.h"
#include "ops/launch.h"
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
  // Rows are added in the order of the indices; threads split the columns, so the order is always the same.
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    Tensor& to = dx.into(0);
    const Index width = to.shape()[1], count = index.get(name()).numel();
    dispatch_float("embedding", dy.dtype(), [&]<class T>() {
      const T* from = dy.data<T>();
      const Index* rows = index.get(name()).data<Index>();
      T* out = to.data_mut<T>();
      parallel_for(width, std::max<Index>(16, serial_below / std::max<Index>(1, count)), [=](Index begin, Index end) {
        for (Index r = 0; r < count; ++r) {
#pragma omp simd
          for (Index c = begin; c < end; ++c) out[rows[r] * width + c] += from[r * width + c];
        }
      });
    });
  }
};

// Calls f(i, j): element i of `index` names element j of x. Both are seen as [outer, n, inner] around the axis.
template <class F> void each_pick(const Tensor& index, const Shape& x, int axis, const F& f) {
  const Index inner = index.shape().product(axis + 1, index.rank()), n = index.shape()[axis], x_n = x[axis];
  const Index* pick = index.data<Index>();
  for (Index i = 0; i < index.numel(); ++i) f(i, (i / (n * inner) * x_n + pick[i]) * inner + i % inner);
}

struct Gather final : Op {
  int axis;
  Constant index;
  Gather(int a, Tensor i) : axis(a), index(std::move(i)) {}
  const char* name() const override { return "gather"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    Tensor y = empty(index.get(name()).shape(), in[0].dtype(), in[0].device());
    dispatch(y.dtype(), [&]<class T>() {
      const T* from = in[0].data<T>();
      T* out = y.data_mut<T>();
      each_pick(index.get(name()), in[0].shape(), axis, [=](Index i, Index j) { out[i] = from[j]; });
    });
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    Tensor& to = dx.into(0);
    dispatch_float("gather", dy.dtype(), [&]<class T>() {
      const T* from = dy.data<T>();
      T* out = to.data_mut<T>();
      each_pick(index.get(name()), to.shape(), axis, [=](Index i, Index j) { out[j] += from[i]; });
    });
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
    dispatch_float("scatter_add", y.dtype(), [&]<class T>() {
      const T* from = in[1].data<T>();
      T* out = y.data_mut<T>();
      each_pick(index.get(name()), y.shape(), axis, [=](Index i, Index j) { out[j] += from[i]; });
    });
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    if (dx.wants(0)) dx.add(0, dy);
    if (!dx.wants(1)) return;
    Tensor& to = dx.into(1);
    dispatch_float("scatter_add", dy.dtype(), [&]<class T>() {
      const T* from = dy.data<T>();
      T* out = to.data_mut<T>();
      each_pick(index.get(name()), dy.shape(), axis, [=](Index i, Index j) { out[i] += from[j]; });
    });
  }
};

int check_pick(std::string_view op, const Tensor& x, int axis, const Tensor& index) {
  axis = checked_axis(op, x.shape(), axis);
  if (index.rank() != x.rank() || index.shape().with(axis, 1) != x.shape().with(axis, 1)) {
    fail(op, "index " + index.describe() + " and " + x.describe() + " must agree but for axis " + std::to_string(axis));
  }
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
    const I* values = indices.data<I>();
    for (Index i = 0; i < indices.numel(); ++i) {
      if ((values[i] >= 0 && Index(values[i]) < n) || (ignored && Index(values[i]) == *ignored)) continue;
      fail(op, std::string(what) + " " + std::to_string(values[i]) + " at [" + std::to_string(i) + "] of " +
                   indices.describe() + " is outside 0.." + std::to_string(n - 1));
    }
  });
}

Tensor embedding(At weight, const Tensor& indices) {
  if (!weight.tensor || weight->rank() != 2) fail("embedding", "needs a weight [V,D], got " + weight->describe());
  const Tensor index = as_index("embedding", indices);
  check_indices("embedding", "index", index, weight->shape()[0]);
  return apply(Embedding(index), weight);
}

Tensor index_select(At x, int axis, const Tensor& indices) {
  axis = checked_axis("index_select", x->shape(), axis);
  const Tensor index = as_index("index_select", indices);
  if (index.rank() != 1) fail("index_select", "needs indices [K], got " + index.describe());
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
  return apply(ScatterAdd(axis, i), x, source);
}

Tensor one_hot(const Tensor& indices, Index classes, DType dtype) {
  const Tensor index = as_index("one_hot", indices);
  check_indices("one_hot", "index", index, classes);
  Tensor y = zeros(index.shape().joined({classes}), dtype);
  for (Index i = 0; i < index.numel(); ++i) set_value(y, i * classes + index.data<Index>()[i], 1);
  return y;
}

}  // namespace gradus
