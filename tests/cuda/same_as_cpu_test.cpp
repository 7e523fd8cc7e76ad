// Every op of the table and every loss: the numbers of the CPU, and the same bits each time. Losses are moved to the GPU by
// their inputs alone while the default device is the CPU, so whatever they make for themselves must be made where the
// inputs are; the cases of ops hold tensors of their own, so these are made anew for each device.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/check.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

struct DefaultDevice {
  Device& before = default_device();
  explicit DefaultDevice(Device& device) { set_default_device(device); }
  ~DefaultDevice() { set_default_device(before); }
  DefaultDevice(const DefaultDevice&) = delete;
};
std::vector<OpCase> cases_on(Device& device) {
  const DefaultDevice made_there(device);
  return op_cases();
}

// The greatest difference relative to the greatest finite entry, or to 1.
double distance(const Values& got, const Values& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double gap = 0, scale = 1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool same = got[i] == expected[i] || (std::isnan(got[i]) && std::isnan(expected[i]));
    const double d = same ? 0 : std::abs(got[i] - expected[i]);
    gap = d <= gap ? gap : std::isnan(d) ? INFINITY : d;
    if (std::isfinite(expected[i])) scale = std::max(scale, std::abs(expected[i]));
  }
  return gap / scale;
}

double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-12 : 2e-6; }

// Value and gradients of f at x, one after the other, from a random upstream gradient.
Values run(const TensorFunction& f, const std::vector<Tensor>& inputs, DType dtype, Device& device) {
  const DefaultDevice there(device);
  std::vector<Tensor> x;
  for (const Tensor& given : inputs) {
    const bool real = given && given.dtype() == DType::f64;
    x.push_back(!given ? given : real ? given.to(dtype).to(device).clone().requires_grad_() : given.to(device));
  }
  Tape tape;
  const Tensor y = f(x);
  Values all = y.to_vector();
  Rng rng(11);
  if (is_floating(y.dtype()) && tape.find(y) >= 0) {
    BackwardPass pass(tape);
    pass.seed(y, randn(y.shape(), rng, y.dtype()).to(y.device()));
    pass.finish();
  }
  for (const Tensor& each : x) {
    if (!each || !each.requires_grad() || !each.grad()) continue;
    for (const double v : each.grad().to_vector()) all.push_back(v);
  }
  return all;
}

LossSample moved(const LossSample& sample, Device& device) {
  LossSample there = sample;
  for (auto& [name, x] : there.inputs) {
    if (x) x = x.to(device);
  }
  return there;
}

Values flat(const Evaluated& e) {
  Values all = e.value;
  for (const auto& [name, dx] : e.gradients) all.insert(all.end(), dx.begin(), dx.end());
  return all;
}

// Sinkhorn's exponents are costs over epsilon: an epsilon of 1e-3 makes a rounding of 1e-16 one of 1e-13, in each iteration.
double condition(const LossSample& sample) {
  const auto epsilon = sample.options.find("epsilon");
  if (epsilon == sample.options.end()) return 1;
  const double* value = std::get_if<double>(&epsilon->second.value);
  return value && *value <= 1e-3 ? 10 : 1;
}

// In f32 the GPU may also be nearer to the truth than the CPU is: some losses sum in f64 there.
void check_agreement(const LossInfo& info, const LossSample& sample, DType dtype, const Values& gpu) {
  const Values cpu = flat(evaluate(info, sample, Form::closed, dtype));
  const double gap = distance(gpu, cpu), allowed = tolerance(dtype) * condition(sample);
  if (gap <= allowed || dtype == DType::f64) {
    CHECK(gap <= allowed);
    return;
  }
  LossSample rounded = sample;
  for (auto& [name, x] : rounded.inputs) {
    if (x && is_floating(x.dtype())) x = x.to(DType::f32).to(DType::f64);
  }
  const Values exact = flat(evaluate(info, rounded, Form::closed, DType::f64));
  CHECK(distance(gpu, exact) <= distance(cpu, exact));
}

}  // namespace

TEST_SUITE("cuda/same as CPU") {
  TEST_CASE("every op, in f64 and f32: the CPU's value and gradients, and the same bits twice") {
    const std::vector<OpCase> on_cpu = cases_on(Device::cpu()), on_gpu = cases_on(Device::cuda());
    std::size_t checked = 0;
    for (std::size_t k = 0; k < on_cpu.size(); ++k) {
      for (const DType dtype : {DType::f64, DType::f32}) {
        CAPTURE(on_cpu[k].name);
        CAPTURE(name_of(dtype));
        const Values cpu = run(on_cpu[k].f, on_cpu[k].inputs, dtype, Device::cpu());
        const Values gpu = run(on_gpu[k].f, on_gpu[k].inputs, dtype, Device::cuda());
        CHECK(distance(gpu, cpu) <= tolerance(dtype));
        CHECK(distance(run(on_gpu[k].f, on_gpu[k].inputs, dtype, Device::cuda()), gpu) == 0);
        ++checked;
      }
    }
    CHECK(checked > 200);
  }

  TEST_CASE("every loss, closed form, in f64 and f32: the CPU's value and gradients, and the same bits twice") {
    const DefaultDevice on_cpu(Device::cpu());
    Rng rng(1);
    std::size_t checked = 0;
    for (const LossInfo& info : all_losses()) {
      for (const LossSample& sample : info.samples(rng)) {
        const LossSample there = moved(sample, Device::cuda());
        for (const DType dtype : {DType::f64, DType::f32}) {
          CAPTURE(std::string(info.name));
          CAPTURE(sample.what);
          CAPTURE(name_of(dtype));
          const Values gpu = flat(evaluate(info, there, Form::closed, dtype));
          check_agreement(info, sample, dtype, gpu);
          const Values again = flat(evaluate(info, there, Form::closed, dtype));
          CHECK(distance(again, gpu) == 0);
          ++checked;
        }
      }
    }
    CHECK(checked > 900);
  }

  TEST_CASE("every loss, definition, in f64") {
    const DefaultDevice on_cpu(Device::cpu());
    Rng rng(1);
    for (const LossInfo& info : all_losses()) {
      if (!info.has_definition) continue;
      for (const LossSample& sample : info.samples(rng)) {
        if (sample.extreme) continue;
        CAPTURE(std::string(info.name));
        CAPTURE(sample.what);
        const Values cpu = flat(evaluate(info, sample, Form::definition)),
                     gpu = flat(evaluate(info, moved(sample, Device::cuda()), Form::definition));
        CHECK(distance(gpu, cpu) <= 1e-11);
      }
    }
  }
}
