#include "losses/schemes/self_paced.h"

#include <cmath>

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as the derivation ends

// y = min(x, lambda)        dy/dx = [x < lambda]
struct HardPace {
  static constexpr auto name = "self_paced_hard";
  static constexpr Keep keep = Keep::inputs;
  double lambda;
  template <class T> HD T forward(T x) const { return x >= T(lambda) ? T(lambda) : x; }
  template <class T> HD T backward(T x, T) const { return T(x < T(lambda)); }
};

// y = x - x^2 / (2 lambda) on [0, lambda]        dy/dx = 1 - x / lambda there, 1 below, 0 above
struct LinearPace {
  static constexpr auto name = "self_paced_linear";
  static constexpr Keep keep = Keep::inputs;
  double lambda;
  template <class T> HD T forward(T x) const {
    return x >= T(lambda) ? T(lambda / 2) : x < 0 ? x : x - x * (x / T(2 * lambda));
  }
  template <class T> HD T backward(T x, T) const { return x >= T(lambda) ? T(0) : x < 0 ? T(1) : 1 - x / T(lambda); }
};

// ---- as it starts: v l + f(v) with v held

Tensor paced_definition(At l, const SelfPacedOptions& o) {
  const Tensor v = self_paced_weights(l, o), rest = 1 - v;
  if (o.lambda == INFINITY) return v * l;
  return v * l + (o.pace == Pace::hard ? o.lambda * rest : o.lambda / 2 * square(rest));
}

void check_paced(const Tensor& losses, const SelfPacedOptions& o) {
  if (!losses || !is_floating(losses.dtype())) fail("self_paced", "needs losses, f32 or f64");
  if (!(o.lambda > 0)) fail("self_paced", "lambda must be positive, got " + std::to_string(o.lambda));
}

}  // namespace

Tensor self_paced(At losses, SelfPacedOptions o) {
  check_paced(losses, o);
  const Tensor y = o.form == Form::definition ? paced_definition(losses, o)
                   : o.pace == Pace::hard     ? apply(Unary(HardPace{o.lambda}), losses)
                                              : apply(Unary(LinearPace{o.lambda}), losses);
  return reduce_elements(At(y, losses.line), o.reduction);
}

Tensor self_paced_weights(const Tensor& losses, SelfPacedOptions o) {
  check_paced(losses, o);
  const Tensor l = losses.detach();
  if (o.pace == Pace::hard) return less(l, full({}, o.lambda, l.dtype(), l.device())).to(l.dtype());
  return clamp(1 - l / o.lambda, 0, 1);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> paced_samples(Rng& rng) {
  const Tensor l = tensor({0.2, 1.7, 0.9, 0.4, 3, 0.7}, {6}, DType::f64);
  return {
      {"hard", {{"losses", l}}, {{"lambda", 0.8}}},
      {"linear, none",
       {{"losses", l.reshape({2, 3})}},
       {{"lambda", 1.5}, {"weights", "linear"}, {"reduction", "none"}}},
      {"linear, sum",
       {{"losses", square(randn({3, 5}, rng, DType::f64))}},
       {{"weights", "linear"}, {"reduction", "sum"}}},
      {"all are too hard", {{"losses", l + 10}}},
      {"lambda without end", {{"losses", l}}, {{"lambda", INFINITY}, {"weights", "linear"}}},
      {"nothing", {{"losses", zeros({0}, DType::f64)}}},
      {.what = "losses of 1e-30 to 1e30",
       .inputs = {{"losses", tensor({1e-30, 1e30, 0.999}, {3}, DType::f64)}},
       .options = {{"weights", "linear"}, {"reduction", "none"}},
       .extreme = true},
  };
}
std::vector<LossSample> weight_samples(Rng& rng) {
  std::vector<LossSample> samples = paced_samples(rng);
  for (LossSample& s : samples) s.options.erase("reduction");
  return samples;
}

const OptionSpec lambda_option = {"lambda", 1.0}, weights_option = {"weights", "hard", {"hard", "linear"}};

SelfPacedOptions paced_options(const Arguments& a) {
  return {
      .lambda = a.number("lambda"), .pace = a.text("weights") == "hard" ? Pace::hard : Pace::linear, .form = a.form};
}

}  // namespace

Losses self_paced_losses() {
  return {{.name = "self_paced",
           .family = Family::scheme,
           .formula = "min_v v l + f(v)",
           .seeds = "A159",
           .task = "easy rows first, noisy labels",
           .inputs = {{"losses", "[...]"}},
           .options = {lambda_option, weights_option, reduction_option()},
           .run =
               [](const Arguments& a) {
                 SelfPacedOptions o = paced_options(a);
                 o.reduction = a.reduction();
                 return self_paced(a["losses"], o);
               },
           .samples = paced_samples},
          {.name = "self_paced_weights",
           .family = Family::scheme,
           .formula = "[l < lambda] or max(0, 1 - l / lambda)",
           .seeds = "A159",
           .task = "easy rows first, noisy labels",
           .inputs = {{"losses", "[...]", Kind::constant}},
           .options = {lambda_option, weights_option},
           .run = [](const Arguments& a) { return self_paced_weights(a["losses"], paced_options(a)); },
           .samples = weight_samples,
           .has_definition = false}};
}

}  // namespace gradus
