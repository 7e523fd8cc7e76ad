#include "ops/regularize.h"

#include "ops/elementwise.h"

namespace gradus {
namespace {

template <class T> struct Drop {
  std::uint64_t seed, first;
  double p;
  const T* x;
  T* y;
  bool add;
  HD void operator()(Index i) const {
    const bool kept = uniform_at(seed, first + std::uint64_t(i)) >= p;
    const T v = kept ? x[i] * T(1 / (1 - p)) : T(0);
    y[i] = add ? y[i] + v : v;
  }
};

struct Dropout final : Op {
  double p;
  std::uint64_t seed, first;
  Dropout(double rate, std::uint64_t s, std::uint64_t f) : p(rate), seed(s), first(f) {}
  const char* name() const override { return "dropout"; }
  Keep keep() const override { return Keep::nothing; }
  void run(const Tensor& x, Tensor& y, bool add) const {
    dispatch_float("dropout", x.dtype(), [&]<class T>() {
      launch(x.device(), x.numel(), Drop<T>{seed, first, p, x.data<T>(), y.data_mut<T>(), add});
    });
  }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape(), in[0].dtype(), in[0].device());
    run(in[0], y, false);
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    auto [sum, started] = dx.sum(0);
    run(dy, sum, started);
  }
};

// y = x        dy/dx = c
struct ScaleGradient {
  static constexpr auto name = "scale_gradient";
  static constexpr Keep keep = Keep::nothing;
  double c;
  template <class T> HD T forward(T x) const { return x; }
  template <class T> HD T backward(T, T) const { return T(c); }
};

}  // namespace

Tensor dropout(At x, double p, Rng& rng) {
  if (!(p >= 0 && p < 1)) fail("dropout", "needs 0 <= p < 1, got " + std::to_string(p));
  if (p == 0) return x;
  return apply(Dropout(p, rng.seed(), rng.take(std::uint64_t(x->numel()))), x);
}

Tensor stop_gradient(const Tensor& x) { return x.detach(); }
Tensor scale_gradient(At x, double c) { return apply(Unary{ScaleGradient{c}}, x); }

}  // namespace gradus
