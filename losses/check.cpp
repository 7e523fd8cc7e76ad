#include "losses/check.h"

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "engine/grad_check.h"

namespace gradus {
namespace {

struct Evaluated {
  std::vector<double> value, gradient;  // gradient: of all inputs, one after the other
};

Evaluated evaluate(const LossSample& sample, Form form, std::uint64_t seed) {
  Tape tape;
  std::vector<Tensor> inputs;
  for (const Tensor& x : sample.inputs) inputs.push_back(x.clone().requires_grad_());
  const Tensor y = sample.loss(inputs, form);
  Rng rng(seed);
  BackwardPass pass(tape);
  pass.seed(y, randn(y.shape(), rng, DType::f64));
  pass.finish();
  Evaluated out{y.to_vector(), {}};
  for (const Tensor& x : inputs) {
    const auto dx = (x.grad() ? x.grad() : zeros(x.shape(), DType::f64)).to_vector();
    out.gradient.insert(out.gradient.end(), dx.begin(), dx.end());
  }
  return out;
}

// The greatest difference, relative to the greatest entry or 1; NaN counts as infinite.
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double gap = a.size() == b.size() ? 0 : INFINITY, scale = 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::abs(a[i] - b[i]);
    gap = d <= gap ? gap : std::isnan(d) ? INFINITY : d;
    scale = std::max(scale, std::abs(a[i]));
  }
  return gap / scale;
}

}  // namespace

std::vector<LossCheck> check_loss(const LossInfo& info, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<LossCheck> checks;
  for (const LossSample& sample : info.samples(rng)) {
    const auto as_function = [&](Form form) {
      return [&sample, form](const std::vector<Tensor>& inputs) { return sample.loss(inputs, form); };
    };
    const Evaluated closed = evaluate(sample, Form::closed, seed), open = evaluate(sample, Form::definition, seed);
    const GradCheckOptions options{.tolerance = numeric_tolerance, .seed = seed};
    const auto numeric_closed = grad_check(as_function(Form::closed), sample.inputs, options);
    const auto numeric_open = grad_check(as_function(Form::definition), sample.inputs, options);

    LossCheck check{.what = sample.what,
                    .value = distance(closed.value, open.value),
                    .gradient = distance(closed.gradient, open.gradient),
                    .numeric_closed = numeric_closed.worst,
                    .numeric_definition = numeric_open.worst,
                    .kinks = numeric_closed.kinks};
    const bool forms_agree = check.value <= forms_tolerance && check.gradient <= forms_tolerance;
    check.passed = forms_agree && numeric_closed.passed && numeric_open.passed;
    if (!forms_agree) check.message = "definition and closed form differ";
    if (!numeric_open.passed) check.message = "definition: " + numeric_open.message;
    if (!numeric_closed.passed) check.message = "closed form: " + numeric_closed.message;
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace gradus
