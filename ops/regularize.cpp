#include "ops/regularize.h"

#include "ops/elementwise.h"

namespace gradus {
namespace {

// Elements 4g..4g+3 share one Philox block, a word each.
template <class T> struct Drop {
  std::uint64_t seed, first_block;
  std::uint32_t threshold;  // kept where the word is at least this: p of all words are below
  T scale;
  Index n;
  const T* x;
  T* y;
  bool add;
  HD void operator()(Index group) const {
    const Philox words = philox(seed, first_block + std::uint64_t(group));
    for (int k = 0; k < 4; ++k) {
      const Index i = 4 * group + k;
      if (i >= n) return;
      const T v = words[std::size_t(k)] >= threshold ? x[i] * scale : T(0);
      y[i] = add ? y[i] + v : v;
    }
  }
};

struct Dropout final : Op {
  double p;
  std::uint64_t seed, first_block;
  Dropout(double rate, std::uint64_t s, std::uint64_t block) : p(rate), seed(s), first_block(block) {}
  const char* name() const override { return "dropout"; }
  Keep keep() const override { return Keep::nothing; }
  void run(const Tensor& x, Tensor& y, bool add) const {
    dispatch_float("dropout", x.dtype(), [&]<class T>() {
      const auto threshold = std::uint32_t(p * 4294967296.0);
      launch(x.device(), (x.numel() + 3) / 4,
             Drop<T>{seed, first_block, threshold, T(1 / (1 - p)), x.numel(), x.data<T>(), y.data_mut<T>(), add});
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
  if (x->device().capturing()) {
    fail("dropout", "a captured step would drop the same elements at each replay; capture without dropout");
  }
  // A Philox block serves two positions of the generator (engine/random.h): start at an even one.
  rng.seek(rng.position() + rng.position() % 2);
  const std::uint64_t first = rng.take(std::uint64_t(x->numel() + 3) / 4 * 2);
  return apply(Dropout(p, rng.seed(), first / 2), x);
}

Tensor stop_gradient(const Tensor& x) { return x.detach(); }
Tensor scale_gradient(At x, double c) { return apply(Unary{ScaleGradient{c}}, x); }

}  // namespace gradus
