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

// Angle p_t theta_i, theta_i = base^(-i / half): in double, for large positions lose digits in f32.
struct Theta {
  double base;
  Index half;
  double* theta;
  HD void operator()(Index i) const { theta[i] = std::pow(base, -double(i) / double(half)); }
};
template <class T> struct Angles {
  const Index* positions;
  const double* theta;
  Index half;
  T *cosine, *sine;
  HD void operator()(Index t, Index i) const {
    const double angle = double(positions[t]) * theta[i];
    cosine[t * half + i] = T(std::cos(angle));
    sine[t * half + i] = T(std::sin(angle));
  }
};

struct Rope final : Op {
  Constant positions;  // i64 [T]
  double base;
  Rope(Tensor p, double b) : positions(std::move(p)), base(b) {}
  const char* name() const override { return "rope"; }
  Keep keep() const override { return Keep::nothing; }

  void run(const Tensor& x, Tensor& y, double sign, bool add) const {
    const Index time = x.size(-2), half = x.size(-1) / 2;
    Device& device = x.device();
    Tensor cosine = empty({time, half}, x.dtype(), device), sine = empty({time, half}, x.dtype(), device);
    Tensor theta = empty({half}, DType::f64, device);
    launch(device, half, Theta{base, half, theta.data_mut<double>()});
    dispatch_float("rope", x.dtype(), [&]<class T>() {
      T *c = cosine.data_mut<T>(), *s = sine.data_mut<T>();
      const Index* p = positions.get(name()).data<Index>();
      launch_grid(device, time, half, Angles<T>{p, theta.data<double>(), half, c, s});
      launch_grid(device, half ? x.numel() / (2 * half) : 0, half,
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
  const Tensor index = positions ? as_index("rope", positions) : arange(x->size(-2), DType::i64, x->device());
  if (index.shape() != Shape{x->size(-2)}) {
    fail("rope", "needs one position per row: " + index.describe() + " for " + x->describe());
  }
  check_same_device("rope", x, index);
  return apply(Rope(index, base), x);
}

}  // namespace gradus
