#include "losses/combine/generalised_mean.h"

#include <algorithm>
#include <cmath>

#include "losses/combine/tasks.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

// Below this the mean is the geometric one to the last bit: log M changes by gamma Var(l) / 2 only.
constexpr double geometric_below = 1e-20;

// ---- on the tape, for losses above 0 and a gamma that is not tiny

Tensor definition(const Tensor& losses, double gamma) {
  const double K = double(losses.numel());
  if (std::isinf(gamma)) {
    const Tensor still = losses.detach(), extreme = gamma > 0 ? max(still, 0) : min(still, 0);
    const Tensor tied = equal(still, extreme).to(losses.dtype());  // [K]
    return sum(losses * tied) / sum(tied);
  }
  const Tensor l = log(losses);
  if (std::abs(gamma) < geometric_below) return exp(mean(l));
  return exp((logsumexp(gamma * l, 0) - std::log(K)) / gamma);
}

// ---- one node

// y = M = L_c e^s,  s = log1p( (1/K) sum_i expm1(gamma d_i) ) / gamma,  d_i = l_i - l_c
template <class T> struct PowerMean {
  const T* losses;
  Index tasks;
  double gamma;
  T* y;
  double* facts;  // L_c, s, and the number of losses equal to L_c
  template <class Team> HD void operator()(Index, Team team) const {
    const T* L = losses;
    const Index K = tasks;
    const double power = gamma, side = power < 0 ? -1 : 1;
    const Index k = team.template argmax<double>(K, [=](Index i) { return side * double(L[i]); });
    const double top = double(L[k]), c = vmath::log(top);
    const auto d = [=](Index i) { return double(L[i]) == top ? 0. : vmath::log(double(L[i])) - c; };
    const double ties = team.template sum<double>(K, [=](Index i) { return double(double(L[i]) == top); });
    double s = 0;
    if (side * power < geometric_below) {
      s = team.template sum<double>(K, d) / double(K);
    } else if (side * power < vmath::infinity<double>) {
      const double part = team.template sum<double>(K, [=](Index i) { return vmath::exp(power * d(i)); }) / double(K);
      const double loss = team.template sum<double>(K, [=](Index i) { return vmath::expm1(power * d(i)); }) / double(K);
      s = (part < 0.5 ? vmath::log(part) : vmath::log1p(loss)) / power;
    }
    if (team.leads()) {
      *y = T(top == 0 ? 0. : top * vmath::exp(s));
      facts[0] = top;
      facts[1] = s;
      facts[2] = ties;
    }
  }
};

// dy/dL_i = (1/K) (L_i / M)^{gamma - 1} = (1/K) e^{(gamma - 1) (d_i - s)}
template <class T> struct PowerMeanSlope {
  const T *dy, *losses;
  Index tasks;
  double gamma;
  const double* facts;
  T* dx;
  HD void operator()(Index i) const {
    const double L = double(losses[i]), top = facts[0], s = facts[1], ties = facts[2];
    const bool tied = L == top;
    const double d = tied ? 0. : vmath::log(L) - vmath::log(top);
    double slope = 0;
    if (gamma == 1 || ties == double(tasks)) {
      slope = 1 / double(tasks);
    } else if (gamma == vmath::infinity<double> || gamma == -vmath::infinity<double>) {
      slope = tied ? 1 / ties : 0.;
    } else if (L > 0 || (tied && gamma <= -geometric_below)) {
      slope = vmath::exp((gamma - 1) * (d - s)) / double(tasks);
    }
    dx[i] += T(double(dy[0]) * slope);
  }
};

struct GeneralisedMean final : Op {
  double gamma;
  Tensor facts;  // [3] f64
  explicit GeneralisedMean(double g) : gamma(g) {}
  const char* name() const override { return "generalised_mean"; }

  Tensor forward(In in) override {
    const Tensor& L = in[0];
    Tensor y = empty({}, L.dtype(), L.device());
    facts = empty({3}, DType::f64, L.device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch_rows(y.device(), 1, L.numel(),
                  PowerMean<T>{L.data<T>(), L.numel(), gamma, y.data_mut<T>(), facts.data_mut<double>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch(dy.device(), in[0].numel(),
             PowerMeanSlope<T>{dy.data<T>(), in[0].data<T>(), in[0].numel(), gamma, facts.data<double>(),
                               dx.into(0).template data_mut<T>()});
    });
  }
};

}  // namespace

Tensor generalised_mean(At losses, GeneralisedMeanOptions o) {
  check_tasks("generalised_mean", losses);
  check_at_least("generalised_mean", "a loss", losses, 0);
  if (std::isnan(o.gamma)) fail("generalised_mean", "gamma must lie in [-inf, inf], got NaN");
  if (losses->numel() == 0) return sum(losses);
  return o.form == Form::definition ? definition(losses, o.gamma) : apply(GeneralisedMean(o.gamma), losses);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> mean_samples(Rng& rng) {
  const auto at = [&](const char* what, Index K, double gamma) {
    return LossSample{what, {{"losses", sample_losses(K, rng)}}, {{"gamma", gamma}}};
  };
  const auto extreme = [](const char* what, const std::vector<double>& losses, double gamma) {
    return LossSample{what, {{"losses", tensor(losses, DType::f64)}}, {{"gamma", gamma}}, true};
  };
  const std::vector<double> seed = {2.3, 150, 50}, zeros_among = {0, 2, 0, 5, 1};
  std::vector<LossSample> samples = {
      at("arithmetic", 3, 1),
      at("geometric", 5, 0),
      at("harmonic", 4, -1),
      at("quadratic", 7, 2),
      at("square root", 2, .5),
      at("nearly geometric", 3, 1e-2),
      at("one task", 1, 3),
      {"max", {{"losses", tensor({1, 3, 2}, DType::f64)}}, {{"gamma", vmath::infinity<double>}}},
      {"min", {{"losses", tensor({1, 3, 2}, DType::f64)}}, {{"gamma", -vmath::infinity<double>}}},
      {"gamma 200", {{"losses", tensor({2.3, 150, 50}, DType::f64)}}, {{"gamma", 200.}}},
      {"gamma -200", {{"losses", tensor({2.3, 150, 50}, DType::f64)}}, {{"gamma", -200.}}},
      {"no task", {{"losses", zeros({0}, DType::f64)}}},
  };
  for (const double gamma :
       {-vmath::infinity<double>, -200., -1., -1e-9, 0., 1e-20, 1e-6, .5, 1., 3., 200., vmath::infinity<double>}) {
    samples.push_back(extreme("(2.3, 150, 50)", seed, gamma));
    samples.push_back(extreme("losses of 1e-30", {1e-30, 3e-30, 1e-30}, gamma));
    samples.push_back(extreme("zeros among them", zeros_among, gamma));
    samples.push_back(extreme("all 0", {0, 0}, gamma));
  }
  samples.push_back(extreme("1e-30 and 1e30", {1e-30, 1, 1e30}, .01));
  samples.push_back(extreme("gamma 1e9", {1, 1.0000001, .5}, 1e9));
  return samples;
}

}  // namespace

Losses generalised_mean_losses() {
  return {{.name = "generalised_mean",
           .family = Family::combine,
           .formula = "((1/K) sum_i L_i^gamma)^(1/gamma)",
           .seeds = "A130",
           .task = "two or three tasks on one trunk",
           .inputs = {{"losses", "[K]"}},
           .options = {{"gamma", 1.0}},
           .run =
               [](const Arguments& a) {
                 return generalised_mean(a["losses"], {.gamma = a.number("gamma"), .form = a.form});
               },
           .samples = mean_samples}};
}

}  // namespace gradus
