#include "ops/broadcast.h"

#include "ops/reduce.h"
#include "ops/strided.h"

namespace gradus {
namespace {

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
  std::vector<Index> strides(std::size_t(y.rank()), 0);  // 0 where x repeats
  for (int k = 1; k <= x.rank(); ++k) {
    if (x.shape()[-k] != 1) strides[strides.size() - std::size_t(k)] = x.shape().product(x.rank() - k + 1, x.rank());
  }
  strided_copy(x, strides, y);
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
  return y.untaped_view(shape);
}

Tensor broadcast_to(At x, const Shape& shape) { return apply(BroadcastTo(shape), x); }
Tensor sum_to(At x, const Shape& shape) { return apply(SumTo(shape), x); }

}  // namespace gradus
