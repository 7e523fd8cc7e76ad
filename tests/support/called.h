// A loss called by its name, with an upstream gradient of choice: what tests of the whole table of losses share.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "engine/tape.h"
#include "ops/math.h"
#include "tests/support/loss_case.h"

namespace gradus {

struct Called {
  Shape shape;  // of the value
  Values value;
  std::map<std::string, Values> gradients;  // of all real inputs
  double item() const { return value.at(0); }
};

// `upstream` in row-major order; ones where it is empty.
inline Called called(const LossInfo& info, const Inputs& given, const Options& options = {},
                     const Values& upstream = {}, Form form = Form::closed, DType dtype = DType::f64) {
  Inputs inputs;
  for (const auto& [name, x] : given) inputs[name] = is_floating(x.dtype()) ? x.to(dtype).clone() : x;
  std::vector<std::string> real;
  for (const InputSpec& spec : info.inputs) {
    if (spec.kind == Kind::real && inputs.contains(spec.name)) real.push_back(spec.name);
  }
  for (const std::string& name : real) {
    if (is_floating(inputs[name].dtype())) inputs[name].requires_grad_();  // else arguments_for has its say
  }
  Tape tape;
  const Tensor y = info.run(arguments_for(info, inputs, options, form));
  if (Tape::holding(y)) {
    BackwardPass pass(tape);
    pass.seed(y, upstream.empty() ? ones(y.shape(), dtype) : tensor(upstream, y.shape(), dtype));
    pass.finish();
  }
  Called out{y.shape(), y.to_vector(), {}};
  for (const std::string& name : real) {
    const Tensor& x = inputs[name];
    out.gradients[name] = x.grad() ? x.grad().to_vector() : Values(std::size_t(x.numel()), 0.0);
  }
  return out;
}

inline Called called(const std::string& loss, const Inputs& inputs, const Options& options = {},
                     const Values& upstream = {}, DType dtype = DType::f64) {
  return called(find_loss(loss), inputs, options, upstream, Form::closed, dtype);
}

inline bool all_finite(const Values& v) {
  return std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); });
}
inline bool all_zero(const Values& v) {
  return std::all_of(v.begin(), v.end(), [](double x) { return x == 0; });
}
inline bool all_finite(const Called& c) {
  return all_finite(c.value) &&
         std::all_of(c.gradients.begin(), c.gradients.end(), [](const auto& g) { return all_finite(g.second); });
}
// Value 0 and gradient 0: what a batch with nothing to compare costs.
inline bool costs_nothing(const Called& c) {
  return all_zero(c.value) &&
         std::all_of(c.gradients.begin(), c.gradients.end(), [](const auto& g) { return all_zero(g.second); });
}

// The greatest difference, relative to the greatest finite entry of b or to `floor`; NaN counts as infinite.
inline double gap(const Values& a, const Values& b, double floor = 1) {
  double worst = a.size() == b.size() ? 0 : inf, scale = floor;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]);
    worst = std::isnan(d) ? inf : std::max(worst, d);
    if (std::isfinite(b[i])) scale = std::max(scale, std::abs(b[i]));
  }
  return worst == 0 ? 0 : worst / scale;
}
inline double gap(const Called& a, const Called& b, double floor = 1) {
  double worst = gap(a.value, b.value, floor);
  for (const auto& [name, dx] : a.gradients) worst = std::max(worst, gap(dx, b.gradients.at(name), floor));
  return worst;
}

// Calls f(info, sample) for every loss of the table and every sample of it that is not extreme.
template <class F> void on_every_sample(F f) {
  for (const LossInfo& info : all_losses()) {
    CAPTURE(std::string(info.name));
    Rng rng(11);
    for (LossSample& sample : info.samples(rng)) {
      CAPTURE(sample.what);
      std::erase_if(sample.inputs, [](const auto& in) { return !in.second; });
      if (!sample.extreme) f(info, sample);
    }
  }
}

inline bool has_option(const LossInfo& info, const std::string& name) {
  return std::any_of(info.options.begin(), info.options.end(), [&](const OptionSpec& o) { return o.name == name; });
}

inline Options with(Options options, const std::string& name, OptionValue value) {
  options.insert_or_assign(name, std::move(value));
  return options;
}

// n numbers in -1.2 .. 0.8
inline Values random_cotangent(std::size_t n) {
  Rng rng(5);
  Values c(n);
  for (double& v : c) v = 2 * rng.uniform() - 1.2;
  return c;
}

// The same numbers in another shape: entry i is entry i modulo the old size, axis by axis. Sizes of 0 are fine.
inline Tensor resized(const Tensor& x, const Shape& shape) {
  if (x.numel() == 0) return zeros(shape, x.dtype());
  Values out(std::size_t(shape.numel()), 0.0);
  for (Index i = 0; i < shape.numel(); ++i) {
    Index rest = i, from = 0, stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      from += rest % shape[axis] % x.shape()[axis] * stride;
      stride *= x.shape()[axis], rest /= shape[axis];
    }
    out[std::size_t(i)] = value_at(x, from);
  }
  return tensor(out, shape, x.dtype());
}

// Those of a sample with one letter of the shapes, "N" of "[N,C]", given another size.
inline Inputs with_size(const LossInfo& info, const Inputs& inputs, const std::string& letter, Index size) {
  Inputs out = inputs;
  for (const InputSpec& spec : info.inputs) {
    if (!inputs.contains(spec.name) || !inputs.at(spec.name)) continue;
    const std::string axes = spec.shape;
    Tensor& x = out[spec.name];
    int axis = 0;
    for (std::size_t begin = 1, end; begin < axes.size() - 1; begin = end + 1, ++axis) {
      end = std::min(axes.find(',', begin), axes.size() - 1);
      const std::string name = axes.substr(begin, end - begin);
      const std::size_t digits = name.find_first_not_of("0123456789");
      if (digits == std::string::npos || name.substr(digits) != letter) continue;
      const Index factor = digits ? std::stoll(name.substr(0, digits)) : 1;
      x = resized(x, x.shape().with(axis, size * factor));
    }
  }
  return out;
}

}  // namespace gradus
