#include "losses/check.h"

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "engine/grad_check.h"

namespace gradus {
namespace {

const double nothing = std::nan("");

std::vector<std::string> real_inputs(const LossInfo& info, const LossSample& sample) {
  std::vector<std::string> names;
  for (const InputSpec& spec : info.inputs) {
    if (spec.kind == Kind::real && sample.inputs.contains(spec.name)) names.push_back(spec.name);
  }
  return names;
}

Inputs copies(const Inputs& inputs, DType dtype) {
  Inputs out;
  for (const auto& [name, x] : inputs) {
    if (x) out[name] = is_floating(x.dtype()) ? x.to(dtype).clone() : x;
  }
  return out;
}

// The greatest difference, relative to the greatest entry or `floor`; NaN counts as infinite, equal infinities as equal.
double distance(const std::vector<double>& a, const std::vector<double>& b, double floor) {
  double gap = a.size() == b.size() ? 0 : INFINITY, scale = floor;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]);
    gap = d <= gap ? gap : std::isnan(d) ? INFINITY : d;
    if (std::isfinite(b[i])) scale = std::max(scale, std::abs(b[i]));
  }
  return gap == 0 ? 0 : gap / scale;
}

double distance(const Evaluated& a, const Evaluated& b, double floor) {
  double worst = distance(a.value, b.value, floor);
  for (const auto& [name, dx] : a.gradients) worst = std::max(worst, distance(dx, b.gradients.at(name), floor));
  return worst;
}

double gradient_distance(const Evaluated& a, const Evaluated& b) {
  if (a.gradients.empty()) return nothing;
  double worst = 0;
  for (const auto& [name, dx] : a.gradients) worst = std::max(worst, distance(dx, b.gradients.at(name), 1));
  return worst;
}

// The closed form in f32 against f64, from the same inputs and the same upstream gradient.
double f32_error(const LossInfo& info, const LossSample& sample, std::uint64_t seed) {
  LossSample rounded = sample;
  rounded.inputs = copies(copies(sample.inputs, DType::f32), DType::f64);
  const Evaluated narrow = evaluate(info, rounded, Form::closed, DType::f32, seed),
                  wide = evaluate(info, rounded, Form::closed, DType::f64, seed);
  return distance(narrow, wide, sample.extreme ? 1e-37 : 1);
}

// f(inputs) for grad_check, whose inputs are the real ones in their order.
TensorFunction as_function(const LossInfo& info, const LossSample& sample, Form form) {
  return [&info, &sample, form, names = real_inputs(info, sample)](const std::vector<Tensor>& x) {
    Inputs inputs = sample.inputs;
    for (std::size_t i = 0; i < names.size(); ++i) inputs[names[i]] = x[i];
    const Arguments moving = arguments_for(info, inputs, sample.options, form);
    if (!info.frozen) return info.run(moving);
    return info.frozen(moving, arguments_for(info, sample.inputs, sample.options, form));
  };
}

// What the loss says its gradient is, against the gradient of its frozen form: only there the two could differ.
double frozen_distance(const LossInfo& info, const LossSample& sample, const Evaluated& said, std::uint64_t seed) {
  LossInfo plain = info;
  plain.run = [&](const Arguments& a) {
    return info.frozen(a, arguments_for(info, sample.inputs, sample.options, a.form));
  };
  return distance(said, evaluate(plain, sample, Form::closed, DType::f64, seed), 1);
}

void check_forms(const LossInfo& info, const LossSample& sample, std::uint64_t seed, LossCheck& check) {
  const Evaluated closed = evaluate(info, sample, Form::closed, DType::f64, seed);
  if (info.has_definition) {
    const Evaluated open = evaluate(info, sample, Form::definition, DType::f64, seed);
    check.value = distance(closed.value, open.value, 1);
    check.gradient = gradient_distance(closed, open);
    if (!(check.value <= forms_tolerance)) check.message = "definition and closed form differ in value";
    if (check.gradient > forms_tolerance) check.message = "definition and closed form differ in gradient";
  }
  if (closed.gradients.empty()) return;
  if (info.frozen && !(frozen_distance(info, sample, closed, seed) <= forms_tolerance)) {
    check.message = "the gradient is not that of the frozen form";
  }
  std::vector<Tensor> x;
  for (const std::string& name : real_inputs(info, sample)) x.push_back(sample.inputs.at(name));
  const auto numeric = [&](Form form, const char* what) {
    const auto result = grad_check(as_function(info, sample, form), x, {.tolerance = numeric_tolerance, .seed = seed});
    if (!result.passed) check.message = std::string(what) + result.message;
    check.kinks = result.kinks;
    return result.worst;
  };
  if (info.has_definition) check.numeric_definition = numeric(Form::definition, "definition: ");
  check.numeric_closed = numeric(Form::closed, "closed form: ");
}

}  // namespace

Evaluated evaluate(const LossInfo& info, const LossSample& sample, Form form, DType dtype, std::uint64_t seed) {
  Inputs inputs = copies(sample.inputs, dtype);
  const auto names = real_inputs(info, sample);
  for (const std::string& name : names) inputs[name].requires_grad_();
  Tape tape;
  const Tensor y = info.run(arguments_for(info, inputs, sample.options, form));
  Evaluated out{y.to_vector(), {}};
  if (names.empty()) return out;
  Rng rng(seed);
  const Tensor upstream = randn(y.shape(), rng, DType::f32, y.device()).to(y.dtype());
  if (Tape::holding(y)) {
    BackwardPass pass(tape);
    pass.seed(y, upstream);
    pass.finish();
  }
  for (const std::string& name : names) {
    const Tensor& x = inputs[name];
    out.gradients[name] = (x.grad() ? x.grad() : zeros(x.shape(), dtype, x.device())).to_vector();
  }
  return out;
}

std::vector<LossCheck> check_loss(const LossInfo& info, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<LossCheck> checks;
  for (const LossSample& sample : info.samples(rng)) {
    LossCheck check{sample.what, nothing, nothing, nothing, nothing};
    if (!sample.extreme) check_forms(info, sample, seed, check);
    check.f32 = f32_error(info, sample, seed);
    if (!(check.f32 <= f32_tolerance)) check.message = "f32 is not near f64";
    check.passed = check.message.empty();
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace gradus
