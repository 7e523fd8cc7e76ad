#include "losses/distance/regression.h"

#include "losses/distance/checks.h"
#include "ops/math.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as functions of d = pred - target: the value on the tape, then value and slope of one element

// y = d^2
// dy/dd = 2 d
struct Mse {
  static constexpr auto name = "mse";
  Tensor definition(const Tensor& d) const { return square(d); }
  template <class T> HD T value(T d) const { return d * d; }
  template <class T> HD T slope(T d) const { return 2 * d; }
};

// y = |d|
// dy/dd = sign(d), 0 at 0
struct Mae {
  static constexpr auto name = "mae";
  Tensor definition(const Tensor& d) const { return abs(d); }
  template <class T> HD T value(T d) const { return d < 0 ? -d : d; }
  template <class T> HD T slope(T d) const { return d > 0 ? T(1) : d < 0 ? T(-1) : d; }  // NaN stays NaN
};

// y = d^2 / 2 up to delta, then delta (|d| - delta / 2)
// dy/dd = clamp(d, -delta, delta)
struct Huber {
  static constexpr auto name = "huber";
  double delta;
  Tensor definition(const Tensor& d) const {
    const Tensor far = abs(d), limit = full({}, delta, d.dtype(), d.device());
    return where(less_equal(far, limit), 0.5 * square(d), delta * (far - delta / 2));
  }
  template <class T> HD T value(T d) const {
    const T a = d < 0 ? -d : d, k = T(delta);
    return a <= k ? d * d / 2 : k * (a - k / 2);
  }
  template <class T> HD T slope(T d) const {
    const T k = T(delta);
    return d > k ? k : d < -k ? -k : d;
  }
};

// y = d^2 / (2 beta) up to beta, then |d| - beta / 2
// dy/dd = clamp(d / beta, -1, 1)
struct SmoothL1 {
  static constexpr auto name = "smooth_l1";
  double beta;  // > 0; 0 is mae
  Tensor definition(const Tensor& d) const {
    const Tensor far = abs(d), limit = full({}, beta, d.dtype(), d.device());
    return where(less(far, limit), square(d) * (0.5 / beta), far - beta / 2);
  }
  template <class T> HD T value(T d) const {
    const T a = d < 0 ? -d : d, k = T(beta);
    return a < k ? a * (a / k) / 2 : a - k / 2;
  }
  template <class T> HD T slope(T d) const {
    const T s = d / T(beta);
    return s > 1 ? T(1) : s < -1 ? T(-1) : s;
  }
};

// One node over both inputs: d = pred - target.
template <class F> struct OfDifference {
  static constexpr auto name = F::name;
  static constexpr Keep keep = Keep::inputs;
  F f;
  template <class T> HD T forward(T pred, T target) const { return f.value(pred - target); }
  template <class T> HD T backward_a(T pred, T target, T) const { return f.slope(pred - target); }
  template <class T> HD T backward_b(T pred, T target, T) const { return -f.slope(pred - target); }
};

template <class F> Tensor regression(F f, At pred, const Tensor& target, Reduction reduction, Form form) {
  check_same_shape(F::name, pred, target);
  const Tensor elements =
      form == Form::definition ? f.definition(pred - target) : apply_binary(OfDifference<F>{f}, pred, target);
  return reduce_elements(At(elements, pred.line), reduction);
}

}  // namespace

Tensor mse(At pred, const Tensor& target, RegressionOptions o) {
  return regression(Mse{}, pred, target, o.reduction, o.form);
}

Tensor mae(At pred, const Tensor& target, RegressionOptions o) {
  return regression(Mae{}, pred, target, o.reduction, o.form);
}

Tensor huber(At pred, const Tensor& target, HuberOptions o) {
  if (!(o.delta > 0)) fail("huber", "delta must be above 0, got " + std::to_string(o.delta));
  return regression(Huber{o.delta}, pred, target, o.reduction, o.form);
}

Tensor smooth_l1(At pred, const Tensor& target, SmoothL1Options o) {
  check_at_least("smooth_l1", "beta", o.beta, 0);
  if (o.beta == 0) return regression(Mae{}, pred, target, o.reduction, o.form);
  return regression(SmoothL1{o.beta}, pred, target, o.reduction, o.form);
}

// ---- for the table of losses

namespace {

const std::vector<InputSpec> pred_and_target = {{"pred", "[...]"}, {"target", "[...]"}};

// Differences of either sign and size, none near 0 and none near +-1, where these losses have their corners.
Tensor gaps(const Shape& shape, Rng& rng) {
  Tensor d = rand(shape, rng, DType::f64) * 0.7 + 0.2;
  for (Index i = 0; i < d.numel(); ++i) set_value(d, i, (i % 2 ? -1 : 1) * (value_at(d, i) + (i % 3 == 2 ? 1 : 0)));
  return d;
}

std::vector<LossSample> regression_samples(Rng& rng) {
  const auto pair = [&](const Shape& shape) -> Inputs {
    const Tensor target = randn(shape, rng, DType::f64);
    return {{"pred", target + gaps(shape, rng)}, {"target", target}};
  };
  return {
      {"vector, mean", pair({7})},
      {"matrix, none", pair({3, 5}), {{"reduction", "none"}}},
      {"three axes, sum", pair({2, 3, 4}), {{"reduction", "sum"}}},
      {"one number", pair({})},
      {"no elements", pair({0, 3})},
      {.what = "differences of 1e18, 1e-15 and 0",
       .inputs = {{"pred", tensor({1e18, 1e-15, 2}, {3}, DType::f64)}, {"target", tensor({0, 0, 2}, {3}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
  };
}

template <const char* option> std::vector<LossSample> samples_with(Rng& rng) {
  std::vector<LossSample> samples = regression_samples(rng);
  const Tensor target = randn({4, 2}, rng, DType::f64);
  const Inputs inputs = {{"pred", target + 0.4 * gaps({4, 2}, rng)}, {"target", target}};
  samples.push_back({"corner at 0.4", inputs, {{option, 0.4}}});
  samples.push_back({"corner at 30", inputs, {{option, 30.0}, {"reduction", "sum"}}});
  return samples;
}

constexpr char delta_option[] = "delta", beta_option[] = "beta";

}  // namespace

Losses regression_losses() {
  return {
      {.name = "mse",
       .family = Family::distance,
       .formula = "(pred - target)^2",
       .seeds = "A018",
       .task = "regression: means",
       .inputs = pred_and_target,
       .options = {reduction_option()},
       .run =
           [](const Arguments& a) { return mse(a["pred"], a["target"], {.reduction = a.reduction(), .form = a.form}); },
       .samples = regression_samples},
      {.name = "mae",
       .family = Family::distance,
       .formula = "|pred - target|",
       .seeds = "A019",
       .task = "regression with outliers: medians",
       .inputs = pred_and_target,
       .options = {reduction_option()},
       .run =
           [](const Arguments& a) { return mae(a["pred"], a["target"], {.reduction = a.reduction(), .form = a.form}); },
       .samples = regression_samples},
      {.name = "huber",
       .family = Family::distance,
       .formula = "d^2/2 if |d| <= delta else delta (|d| - delta/2)",
       .seeds = "A018 A019",
       .task = "regression with outliers, smooth at 0",
       .inputs = pred_and_target,
       .options = {{"delta", 1.0}, reduction_option()},
       .run =
           [](const Arguments& a) {
             return huber(a["pred"], a["target"],
                          {.delta = a.number("delta"), .reduction = a.reduction(), .form = a.form});
           },
       .samples = samples_with<delta_option>},
      {.name = "smooth_l1",
       .family = Family::distance,
       .formula = "d^2/(2 beta) if |d| < beta else |d| - beta/2",
       .seeds = "A018 A019",
       .task = "regression of boxes",
       .inputs = pred_and_target,
       .options = {{"beta", 1.0}, reduction_option()},
       .run =
           [](const Arguments& a) {
             return smooth_l1(a["pred"], a["target"],
                              {.beta = a.number("beta"), .reduction = a.reduction(), .form = a.form});
           },
       .samples = samples_with<beta_option>}};
}

}  // namespace gradus
