#include "ops/rope.h"

#include "ops/elementwise.h"
#include "ops/index.h"

namespace gradus {
namespace {

template <class T> struct Rotate {
  const T *x, *cosine, *sine;  // [..,T,D], [T,D/2], [T,D/2]
  Index time, half;
  T sign;
  bool add;
  T* y;
  HD void operator()(Index row, Index i) const {
    const Index at = row * 2 * half + 2 * i, angle = row % time * half + i;
    const T c = cosine[angle], s = sign * sine[angle], a = x[at], b = x[at + 1];
    y[at] = (add ? y[at] : T(0)) + (a * c - b * s);
    y[at + 1] = (add ? y[at + 1] : T(0)) + (a * s + b * c);
  }
};

struct Rope final : Op {
  Constant positions;  // i64 [T]
  double base;
  Rope(Tensor p, double b) : positions(std::move(p)), base(b) {}
  const char* name() const override { return "rope"; }
  Keep keep() const override { return Keep::nothing; }

  // Angles in double, for large positions lose digits in f32.
  void run(const Tensor& x, Tensor& y, double sign, bool add) const {
    const Index time = x.size(-2), half = x.size(-1) / 2;
    Tensor cosine = empty({time, half}, x.dtype(), x.device()), sine = empty({time, half}, x.dtype(), x.device());
    dispatch_float("rope", x.dtype(), [&]<class T>() {
      T *c = cosine.data_mut<T>(), *s = sine.data_mut<T>();
      const Index* p = positions.get(name()).data<Index>();
      for (Index i = 0; i < half; ++i) {
        const double theta = std::pow(base, -double(i) / double(half));
        for (Index t = 0; t < time; ++t) {
          c[t * half + i] = T(std::cos(double(p[t]) * theta));
          s[t * half + i] = T(std::sin(double(p[t]) * theta));
        }
      }
      launch_grid(x.device(), half ? x.numel() / (2 * half) : 0, half,
                  Rotate<T>{x.data<T>(), c, s, time, half, T(sign), add, y.data_mut<T>()});
    });
  }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape(), in[0].dtype(), in[0].device());
    run(in[0], y, 1, false);
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    auto [sum, started] = dx.sum(0);
    run(dy, sum, -1, started);
  }
};

}  // namespace

Tensor rope(At x, const Tensor& positions, double base) {
  if (x->rank() < 2 || x->size(-1) % 2) fail("rope", "needs [..,T,D] with an even D, got " + x->describe());
  if (!(base > 0)) fail("rope", "needs a positive base, got " + std::to_string(base));
  const Tensor index = positions ? as_index("rope", positions) : arange(x->size(-2), DType::i64);
  if (index.shape() != Shape{x->size(-2)}) {
    fail("rope", "needs one position per row: " + index.describe() + " for " + x->describe());
  }
  return apply(Rope(index, base), x);
}

}  // namespace gradus
