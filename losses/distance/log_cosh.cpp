#include "losses/distance/log_cosh.h"

#include "losses/distance/checks.h"
#include "ops/math.h"

namespace gradus {
namespace {

constexpr double log_2 = 0.69314718055994530942;

Tensor definition(const Tensor& d) { return log((exp(d) + exp(-d)) / 2); }

// y = log cosh(pred - target)
// dy/dpred = tanh(pred - target) = -dy/dtarget
struct LogCosh {
  static constexpr auto name = "log_cosh";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T pred, T target) const {
    const T d = pred - target, a = d < 0 ? -d : d;
    const T s = vmath::expm1(a) * vmath::exp(-a / 2);  // 2 sinh(a / 2)
    const T near = vmath::log1p(s * s / 2), far = a + vmath::log1p(vmath::exp(-2 * a)) - T(log_2);
    return a < 1 ? near : far;
  }
  template <class T> HD T backward_a(T pred, T target, T) const { return vmath::tanh(pred - target); }
  template <class T> HD T backward_b(T pred, T target, T) const { return -vmath::tanh(pred - target); }
};

std::vector<LossSample> log_cosh_samples(Rng& rng) {
  const auto pair = [&](const Shape& shape) -> Inputs {
    return {{"pred", 2 * randn(shape, rng, DType::f64)}, {"target", randn(shape, rng, DType::f64)}};
  };
  return {
      {"vector, mean", pair({7})},
      {"matrix, none", pair({3, 5}), {{"reduction", "none"}}},
      {"one number, sum", pair({}), {{"reduction", "sum"}}},
      {"no elements", pair({0, 3})},
      {.what = "differences of 1e4, 1e-4 and 0",
       .inputs = {{"pred", tensor({1e4, 1e-4, 2}, DType::f64)}, {"target", tensor({0, 0, 2}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
  };
}

}  // namespace

Tensor log_cosh(At pred, const Tensor& target, LogCoshOptions o) {
  check_same_shape("log_cosh", pred, target);
  const Tensor elements =
      o.form == Form::definition ? definition(pred - target) : apply_binary(LogCosh{}, pred, target);
  return reduce_elements(At(elements, pred.line), o.reduction);
}

Losses log_cosh_losses() {
  return {{.name = "log_cosh",
           .family = Family::distance,
           .formula = "log cosh(pred - target)",
           .seeds = "neighbour",
           .task = "regression with outliers, smooth everywhere",
           .inputs = {{"pred", "[...]"}, {"target", "[...]"}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return log_cosh(a["pred"], a["target"], {.reduction = a.reduction(), .form = a.form});
               },
           .samples = log_cosh_samples}};
}

}  // namespace gradus
