#include "losses/schemes/bald.h"

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// ---- as the derivation starts

Tensor entropy_of(At p) {
  const Tensor positive = greater(p, zeros({}, p->dtype(), p->device()));
  return -sum(p * log(where(positive, p, ones({}, p->dtype(), p->device()))), {-1});
}

Tensor definition(At probs) { return entropy_of(mean(probs, {0})) - mean(entropy_of(probs), {0}); }  // [N]

// ---- as the derivation ends

struct Samples {
  Index K, N, C;
};

// log(p / m), accurate where p is near m; 0 at p = 0
HD inline double log_ratio(double p, double m) {
  const double x = (p - m) / m;
  return p == 0 ? 0.0 : x > -0.5 && x < 0.5 ? vmath::log1p(x) : vmath::log(p) - vmath::log(m);
}
template <class T> HD double mean_probability(const T* p, const Samples& s, Index n, Index c) {
  double m = 0;
  for (Index k = 0; k < s.K; ++k) m += double(p[(k * s.N + n) * s.C + c]);
  return m / double(s.K);
}

// I_n = 1/K sum_kc p log(p / m) - p + m
template <class T> struct BaldValue {
  const T* p;
  Samples s;
  T* y;
  HD void operator()(Index n) const {
    double total = 0;
    for (Index c = 0; c < s.C; ++c) {
      const double m = mean_probability(p, s, n, c);
      for (Index k = 0; k < s.K; ++k) {
        const double v = double(p[(k * s.N + n) * s.C + c]);
        total += v * log_ratio(v, m) - v + m;
      }
    }
    y[n] = T(total / double(s.K));
  }
};

// dI_n/dp_kc = log(p / m) / K
template <class T> struct BaldGradient {
  const T *dy, *p;
  Samples s;
  T* dp;
  HD void operator()(Index n, Index c) const {
    const double m = mean_probability(p, s, n, c), g = double(dy[n]) / double(s.K);
    for (Index k = 0; k < s.K; ++k) {
      const Index i = (k * s.N + n) * s.C + c;
      dp[i] += T(g * log_ratio(double(p[i]), m));
    }
  }
};

struct Bald final : Op {
  const char* name() const override { return "bald"; }
  static Samples sizes(const Tensor& p) { return {p.size(0), p.size(1), p.size(2)}; }
  Tensor forward(In in) override {
    const Samples s = sizes(in[0]);
    Tensor y = empty({s.N}, in[0].dtype(), in[0].device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch(y.device(), s.N, BaldValue<T>{in[0].data<T>(), s, y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Samples s = sizes(in[0]);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch_grid(dy.device(), s.N, s.C, BaldGradient<T>{dy.data<T>(), in[0].data<T>(), s, dx.into(0).data_mut<T>()});
    });
  }
};

}  // namespace

Tensor bald(At probs, BaldOptions o) {
  if (!probs.tensor || probs->rank() != 3 || probs->size(0) == 0 || probs->size(2) == 0) {
    fail("bald", "needs probabilities [K,N,C] of K >= 1 posterior samples" +
                     (probs.tensor ? ", got " + probs->describe() : std::string()));
  }
  return o.form == Form::definition ? definition(probs) : apply(Bald(), probs);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> bald_samples(Rng& rng) {
  const auto probs = [&](Index K, Index N, Index C) {
    return Inputs{{"probs", softmax(randn({K, N, C}, rng, DType::f64))}};
  };
  return {
      {"3 samples, 4 rows, 5 classes", probs(3, 4, 5)},
      {"2 samples, 7 rows, 2 classes", probs(2, 7, 2)},
      {"one sample: 0", probs(1, 2, 3)},
      {"one class: 0", probs(4, 3, 1)},
      {"no rows", probs(2, 0, 3)},
      {.what = "samples that nearly agree",
       .inputs = {{"probs", tensor({0.5, 0.5, 0.5001, 0.4999}, {2, 1, 2}, DType::f64)}},
       .extreme = true},
      {.what = "p of 0 and 1e-36",
       .inputs = {{"probs", tensor({1, 0, 0, 1e-36, 0.25, 0.75}, {2, 1, 3}, DType::f64)}},
       .extreme = true},
  };
}

}  // namespace

Losses bald_losses() {
  return {{.name = "bald",
           .family = Family::scheme,
           .formula = "H(mean_k p_k) - mean_k H(p_k)",
           .seeds = "A162 A165 B043 B044",
           .task = "active learning",
           .inputs = {{"probs", "[K,N,C]"}},
           .options = {},
           .run = [](const Arguments& a) { return bald(a["probs"], {.form = a.form}); },
           .samples = bald_samples}};
}

}  // namespace gradus
