#include "losses/combine/learned.h"

#include "losses/combine/tasks.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// ---- softmax_weighted

// y = sum_i p_i L_i = L_k + sum_i p_i (L_i - L_k),  p_i = e^{w_i - w_k} / Z,  w_k the greatest
template <class T> struct SoftmaxSum {
  const T *losses, *weights;
  Index tasks;
  T* y;
  double* facts;  // w_k, Z, L_k, y - L_k
  template <class Team> HD void operator()(Index, Team team) const {
    const T *L = losses, *w = weights;
    const Index K = tasks;
    const Index k = team.template argmax<T>(K, [=](Index i) { return w[i]; });
    const double top = double(w[k]), base = double(L[k]);
    const double Z = team.template sum<double>(K, [=](Index i) { return vmath::exp(double(w[i]) - top); });
    const double rest =
        team.template sum<double>(K, [=](Index i) { return vmath::exp(double(w[i]) - top) * (double(L[i]) - base); });
    if (team.leads()) {
      *y = T(base + rest / Z);
      facts[0] = top;
      facts[1] = Z;
      facts[2] = base;
      facts[3] = rest / Z;
    }
  }
};

// dy/dL_i = p_i        dy/dw_i = p_i (L_i - y)
template <class T, bool OfLoss> struct SoftmaxSumSlope {
  const T *dy, *losses, *weights;
  const double* facts;
  T* dx;
  HD void operator()(Index i) const {
    const double p = vmath::exp(double(weights[i]) - facts[0]) / facts[1];
    const double slope = OfLoss ? p : p * ((double(losses[i]) - facts[2]) - facts[3]);
    dx[i] += T(double(dy[0]) * slope);
  }
};

// in: losses [K], w [K].  y: []
struct SoftmaxWeighted final : Op {
  Tensor facts;  // [4] f64
  const char* name() const override { return "softmax_weighted"; }

  Tensor forward(In in) override {
    const Tensor &L = in[0], &w = in[1];
    Tensor y = empty({}, L.dtype(), L.device());
    facts = empty({4}, DType::f64, L.device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch_rows(y.device(), 1, L.numel(),
                  SoftmaxSum<T>{L.data<T>(), w.data<T>(), L.numel(), y.data_mut<T>(), facts.data_mut<double>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *L = in[0].data<T>(), *w = in[1].data<T>();
      const double* f = facts.data<double>();
      const Index K = in[0].numel();
      if (dx.wants(0)) {
        launch(dy.device(), K, SoftmaxSumSlope<T, true>{g, L, w, f, dx.into(0).template data_mut<T>()});
      }
      if (dx.wants(1)) {
        launch(dy.device(), K, SoftmaxSumSlope<T, false>{g, L, w, f, dx.into(1).template data_mut<T>()});
      }
    });
  }
};

// ---- uncertainty

// y = sum_i L_i / (2 sigma_i^2) + log sigma_i
// dy/dL_i = 1 / (2 sigma_i^2)        dy/dsigma_i = (1 - L_i / sigma_i^2) / sigma_i
struct BySigma {
  static constexpr auto name = "uncertainty_sigma";
  HD double value(double L, double s) const { return L / s / s / 2 + vmath::log(s); }
  HD double by_loss(double, double s) const { return 0.5 / s / s; }
  HD double by_weight(double L, double s) const { return (1 - L / s / s) / s; }
};

// y = sum_i e^{-s_i} L_i + s_i
// dy/dL_i = e^{-s_i}        dy/ds_i = 1 - L_i e^{-s_i}
struct ByLogVariance {
  static constexpr auto name = "uncertainty_logvar";
  HD static double scaled(double L, double s) {
    const double half = vmath::exp(-0.5 * s);
    return half * L * half;
  }
  HD double value(double L, double s) const { return scaled(L, s) + s; }
  HD double by_loss(double, double s) const { return vmath::exp(-s); }
  HD double by_weight(double L, double s) const { return 1 - scaled(L, s); }
};

}  // namespace

Tensor softmax_weighted(At losses, const Tensor& weights, LearnedWeightOptions o) {
  check_tasks("softmax_weighted", losses, "weights", weights);
  if (losses->numel() == 0) return sum(losses);
  if (o.form == Form::definition) return sum(softmax(weights) * losses);
  return apply(SoftmaxWeighted{}, losses, weights);
}

Tensor uncertainty_sigma(At losses, const Tensor& sigma, LearnedWeightOptions o) {
  check_tasks("uncertainty_sigma", losses, "sigma", sigma);
  check_above("uncertainty_sigma", "sigma", sigma, 0);
  if (o.form == Form::definition) return sum(losses / (2 * square(sigma)) + log(sigma));
  return apply(TermSum(BySigma{}), losses, sigma);
}

Tensor uncertainty_logvar(At losses, const Tensor& log_vars, LearnedWeightOptions o) {
  check_tasks("uncertainty_logvar", losses, "log_vars", log_vars);
  if (o.form == Form::definition) return sum(exp(-log_vars) * losses + log_vars);
  return apply(TermSum(ByLogVariance{}), losses, log_vars);
}

// ---- for the table of losses

namespace {

LossSample sample(const char* what, const Tensor& losses, const char* name, const Tensor& learned,
                  bool extreme = false) {
  return {.what = what, .inputs = {{"losses", losses}, {name, learned}}, .extreme = extreme};
}
Tensor numbers(const std::vector<double>& values) { return tensor(values, DType::f64); }

std::vector<LossSample> softmax_samples(Rng& rng) {
  const auto w = [&](Index K) { return randn({K}, rng, DType::f64); };
  return {
      sample("3 tasks", sample_losses(3, rng), "weights", w(3)),
      sample("equal weights, 6 tasks", sample_losses(6, rng), "weights", ones({6}, DType::f64)),
      sample("one task", sample_losses(1, rng), "weights", w(1)),
      sample("no task", numbers({}), "weights", numbers({})),
      sample("weights of 1e4", numbers({2.3, 150, 50}), "weights", numbers({1e4, -1e4, 9999}), true),
      sample("p = 1 - 1e-30", numbers({2.3, 150, 50}), "weights", numbers({69, 0, -1}), true),
      sample("losses of 1e30", numbers({1e30, 1e-30, 3}), "weights", numbers({-60, 1, 0}), true),
  };
}

std::vector<LossSample> sigma_samples(Rng& rng) {
  return {
      sample("3 tasks", sample_losses(3, rng), "sigma", sample_losses(3, rng)),
      sample("5 tasks", sample_losses(5, rng), "sigma", sample_losses(5, rng)),
      sample("one task", sample_losses(1, rng), "sigma", sample_losses(1, rng)),
      sample("losses of 0", numbers({0, 0}), "sigma", sample_losses(2, rng)),
      sample("no task", numbers({}), "sigma", numbers({})),
      sample("sigma^2 = 1e-38", numbers({1e-37, 3e-37}), "sigma", numbers({1e-19, 2e-19}), true),
      sample("sigma^2 = 1e44", numbers({1e30}), "sigma", numbers({1e22}), true),
  };
}

std::vector<LossSample> logvar_samples(Rng& rng) {
  const auto s = [&](Index K) { return randn({K}, rng, DType::f64); };
  return {
      sample("3 tasks", sample_losses(3, rng), "log_vars", s(3)),
      sample("variance 1, 4 tasks", sample_losses(4, rng), "log_vars", zeros({4}, DType::f64)),
      sample("one task", sample_losses(1, rng), "log_vars", s(1)),
      sample("no task", numbers({}), "log_vars", numbers({})),
      sample("s = 85 and -85", numbers({1e30, 1e-30}), "log_vars", numbers({85, -85}), true),
  };
}

}  // namespace

Losses learned_losses() {
  return {{.name = "softmax_weighted",
           .family = Family::combine,
           .formula = "sum_i softmax(w)_i L_i",
           .seeds = "A131",
           .task = "the easiest of several tasks",
           .inputs = {{"losses", "[K]"}, {"weights", "[K]"}},
           .options = {},
           .run = [](const Arguments& a) { return softmax_weighted(a["losses"], a["weights"], {.form = a.form}); },
           .samples = softmax_samples},
          {.name = "uncertainty_sigma",
           .family = Family::combine,
           .formula = "sum_i L_i / (2 sigma_i^2) + log sigma_i",
           .seeds = "A134",
           .task = "several tasks on one trunk, weights learned",
           .inputs = {{"losses", "[K]"}, {"sigma", "[K]"}},
           .options = {},
           .run = [](const Arguments& a) { return uncertainty_sigma(a["losses"], a["sigma"], {.form = a.form}); },
           .samples = sigma_samples},
          {.name = "uncertainty_logvar",
           .family = Family::combine,
           .formula = "sum_i e^{-s_i} L_i + s_i",
           .seeds = "A135",
           .task = "several tasks on one trunk, weights learned",
           .inputs = {{"losses", "[K]"}, {"log_vars", "[K]"}},
           .options = {},
           .run = [](const Arguments& a) { return uncertainty_logvar(a["losses"], a["log_vars"], {.form = a.form}); },
           .samples = logvar_samples}};
}

}  // namespace gradus
