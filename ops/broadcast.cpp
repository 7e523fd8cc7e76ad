#include "ops/broadcast.h"

#include "ops/launch.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

// Element i of the large shape reads element small(i) of the small one: strides are 0 where it repeats.
struct Strides {
  int rank = 0;
  Index large[Shape::max_rank] = {}, small[Shape::max_rank] = {}, size[Shape::max_rank] = {};

  Strides(const Shape& from, const Shape& to) : rank(to.rank()) {
    Index step = 1, small_step = 1;
    for (int axis = rank - 1; axis >= 0; --axis) {
      const int own = axis - (rank - from.rank());
      const bool real = own >= 0 && from[own] != 1;
      size[axis] = to[axis];
      large[axis] = step;
      small[axis] = real ? small_step : 0;
      step *= to[axis];
      if (own >= 0) small_step *= from[own];
    }
  }
  HD Index operator()(Index i) const {
    Index at = 0;
    for (int axis = 0; axis < rank; ++axis) at += i / large[axis] % size[axis] * small[axis];
    return at;
  }
};

template <class T> struct Repeat {
  Strides small;
  const T* x;
  T* y;
  HD void operator()(Index i) const { y[i] = x[small(i)]; }
};

struct BroadcastTo final : Op {
  Shape shape;
  explicit BroadcastTo(Shape s) : shape(s) {}
  const char* name() const override { return "broadcast_to"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return repeated_to(in[0], shape); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override { dx.add(0, summed_to(dy, dx.shape(0))); }
};

struct SumTo final : Op {
  Shape shape;
  explicit SumTo(Shape s) : shape(s) {}
  const char* name() const override { return "sum_to"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override { return summed_to(in[0], shape); }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override { dx.add(0, repeated_to(dy, dx.shape(0))); }
};

}  // namespace

Tensor repeated_to(const Tensor& x, const Shape& shape) {
  if (broadcast("broadcast_to", x.shape(), shape) != shape) {
    fail("broadcast_to", x.describe() + " does not repeat to " + shape.text());
  }
  Tensor y = empty(shape, x.dtype(), x.device());
  dispatch(x.dtype(), [&]<class T>() {
    launch(x.device(), y.numel(), Repeat<T>{Strides(x.shape(), shape), x.data<T>(), y.data_mut<T>()});
  });
  return y;
}

Tensor summed_to(const Tensor& x, const Shape& shape) {
  if (broadcast("sum_to", shape, x.shape()) != x.shape())
    fail("sum_to", x.describe() + " does not sum to " + shape.text());
  const int extra = x.rank() - shape.rank();
  Tensor y = x;
  // One run of axes at a time, from the right, so that what is left to add gets smaller.
  for (int axis = x.rank() - 1; axis >= 0; --axis) {
    int first = axis;
    const auto repeated = [&](int k) { return k < extra || (shape[k - extra] == 1 && x.shape()[k] != 1); };
    if (!repeated(axis)) continue;
    while (first > 0 && repeated(first - 1)) --first;
    y = summed_over(y, first, axis + 1);
    axis = first;
  }
  return y.shape() == shape ? y : y.untaped_view(shape);
}

Tensor broadcast_to(At x, const Shape& shape) { return apply(BroadcastTo(shape), x); }
Tensor sum_to(At x, const Shape& shape) { return apply(SumTo(shape), x); }

}  // namespace gradus
