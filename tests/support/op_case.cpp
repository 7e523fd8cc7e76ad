#include "tests/support/op_case.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "engine/grad_check.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "tests/support/leak_guard.h"

namespace gradus {
namespace {

double to_f32(double v) { return double(float(v)); }

// ---- running f

// Fresh leaves with the values of the inputs; floating-point ones in `dtype`.
std::vector<Tensor> leaves_of(const std::vector<Tensor>& inputs, DType dtype) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : inputs) {
    leaves.push_back(is_floating(x.dtype()) ? x.to(dtype).clone().requires_grad_() : x);
  }
  return leaves;
}

struct Run {
  Tensor value;
  std::vector<Tensor> gradients;  // beside the inputs; undefined for integers, and where nothing arrives
};

// The gradient for a random upstream gradient, with f recorded `uses` times on one tape.
Run run(const TensorFunction& f, const std::vector<Tensor>& leaves, int uses = 1) {
  Tape tape;
  std::vector<Tensor> results;
  for (int use = 0; use < uses; ++use) results.push_back(f(leaves));
  const Tensor upstream = away_from_zero(results[0].shape(), 77).to(results[0].dtype());
  Run out{results[0].detach(), std::vector<Tensor>(leaves.size())};
  for (const int sweep : {1, 2}) {
    BackwardPass pass(tape, Retain::yes);
    for (const Tensor& y : results) pass.seed(y, upstream);
    pass.finish_without_grad();
    for (std::size_t k = 0; k < leaves.size(); ++k) {
      const Tensor gradient = leaves[k].requires_grad() ? pass.gradient(leaves[k]) : Tensor();
      if (sweep == 1) out.gradients[k] = gradient;
      if (sweep == 2 && gradient) CHECK(gradient.to_vector() == out.gradients[k].to_vector());
    }
  }
  return out;
}

// |a - b| is at most `tolerance` times the largest |b|, or times 1.
void check_close(const std::string& what, const Tensor& a, const Tensor& b, double tolerance) {
  REQUIRE(a.shape() == b.shape());
  double scale = 1, worst = 0;
  Index where = 0;
  for (Index i = 0; i < a.numel(); ++i) {
    const double va = value_at(a, i), vb = value_at(b, i);
    if (std::isfinite(vb)) scale = std::max(scale, std::abs(vb));
    const double error = va == vb || (std::isnan(va) && std::isnan(vb)) ? 0 : std::abs(va - vb);
    if (!(error <= worst)) worst = error, where = i;
  }
  CHECK_MESSAGE(worst <= tolerance * scale, what, " at ", index_text(a.shape(), where), ": ", value_at(a, where),
                " should be ", value_at(b, where));
}

Tensor zero_if_undefined(const Tensor& gradient, const Tensor& x) {
  return gradient ? gradient : zeros(x.shape(), x.dtype());
}

// ---- the checks

void check_value(const OpCase& c, const std::vector<Tensor>& inputs) {
  if (c.reference) check_close("value", c.f(inputs), c.reference(inputs), 1e-12);
}

void check_gradient(const OpCase& c, const std::vector<Tensor>& inputs) {
  const GradCheckResult result = grad_check(c.f, inputs);
  CHECK_MESSAGE(result.passed, result.message);
  CHECK(result.kinks == 0);
}

void check_each_node(const OpCase& c) {
  Tape tape(Debug::yes);
  const std::vector<Tensor> leaves = leaves_of(c.inputs, DType::f64);
  const Tensor y = c.f(leaves);
  const GradCheckResult result = check_tape(tape);
  CHECK_MESSAGE(result.passed, result.message);
}

void check_f32(const OpCase& c, const std::vector<Tensor>& inputs) {
  const Run narrow = run(c.f, leaves_of(inputs, DType::f32)), wide = run(c.f, leaves_of(inputs, DType::f64));
  CHECK(narrow.value.dtype() == DType::f32);
  check_close("f32 value", narrow.value, wide.value, c.f32_tolerance);
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!wide.gradients[k]) continue;
    CHECK(narrow.gradients[k].dtype() == DType::f32);
    check_close("f32 gradient " + std::to_string(k), narrow.gradients[k], wide.gradients[k], c.f32_tolerance);
  }
}

void check_used_twice(const OpCase& c) {
  const std::vector<Tensor> leaves = leaves_of(c.inputs, DType::f64);
  const Run once = run(c.f, leaves, 1), twice = run(c.f, leaves, 2);
  for (std::size_t k = 0; k < leaves.size(); ++k) {
    if (!once.gradients[k]) continue;
    Tensor both = once.gradients[k].clone();
    add_in_place(both, once.gradients[k]);
    check_close("gradient of two uses", twice.gradients[k], both, 1e-13);
  }
}

// f(x, x) for every two inputs that could be one tensor.
void check_aliased(const OpCase& c) {
  for (std::size_t k = 1; k < c.inputs.size(); ++k) {
    for (std::size_t j = 0; j < k; ++j) {
      const Tensor &a = c.inputs[j], &b = c.inputs[k];
      if (a.shape() != b.shape() || a.dtype() != b.dtype() || !is_floating(a.dtype())) continue;
      std::vector<Tensor> equal_values = c.inputs;
      equal_values[k] = a;
      const std::vector<Tensor> separate = leaves_of(equal_values, DType::f64);
      std::vector<Tensor> shared = separate;
      shared[k] = shared[j];
      const Run apart = run(c.f, separate), together = run(c.f, shared);
      check_close("value of f(x, x)", together.value, apart.value, 0);
      Tensor both = zero_if_undefined(apart.gradients[j], a).clone();
      add_in_place(both, zero_if_undefined(apart.gradients[k], a));
      check_close("gradient of f(x, x)", zero_if_undefined(together.gradients[j], a), both, 1e-12);
    }
  }
}

void check_threads(const OpCase& c, const std::vector<Tensor>& inputs) {
  const int threads = thread_count();
  const std::vector<Tensor> leaves = leaves_of(inputs, DType::f64);
  set_thread_count(1);
  const Run one = run(c.f, leaves);
  set_thread_count(2);
  const Run two = run(c.f, leaves);
  set_thread_count(threads);
  check_close("value with two threads", two.value, one.value, 0);
  for (std::size_t k = 0; k < leaves.size(); ++k) {
    if (one.gradients[k]) check_close("gradient with two threads", two.gradients[k], one.gradients[k], 0);
  }
}

}  // namespace

void check_op(const OpCase& c) {
  INFO(c.name);
  const LeakGuard guard;
  for (const std::vector<Tensor>& inputs : {c.inputs, c.large}) {
    if (inputs.empty()) continue;
    check_value(c, inputs);
    check_gradient(c, inputs);
    check_f32(c, inputs);
    check_threads(c, inputs);
  }
  check_each_node(c);
  check_used_twice(c);
  check_aliased(c);
}

Tensor tabulate(const Shape& shape, const std::function<double(Index i)>& f) {
  Tensor y = empty(shape, DType::f64);
  for (Index i = 0; i < y.numel(); ++i) set_value(y, i, f(i));
  return y;
}

double repeated_value(const Tensor& x, const Shape& shape, Index i) {
  Index at = 0, step = 1;
  for (int axis = -1; axis >= -shape.rank(); i /= shape[axis], --axis) {
    if (-axis > x.rank()) break;
    if (x.shape()[axis] != 1) at += i % shape[axis] * step;
    step *= x.shape()[axis];
  }
  return value_at(x, at);
}

std::vector<double> slopes(const Tensor& x, const std::function<Tensor(const Tensor&)>& f) {
  Tensor leaf = x.clone().requires_grad_();
  Tape tape;
  const Tensor y = f(leaf);
  BackwardPass pass(tape);
  pass.seed(y, ones(y.shape(), y.dtype(), y.device()));
  pass.finish_without_grad();
  return zero_if_undefined(pass.gradient(leaf), leaf).to_vector();
}

Tensor between(double low, double high, const Shape& shape, int seed) {
  Rng rng{std::uint64_t(seed)};
  return tabulate(shape, [&](Index) { return to_f32(low + (high - low) * rng.uniform()); });
}

Tensor away_from_zero(const Shape& shape, int seed) {
  Rng rng{std::uint64_t(seed)};
  return tabulate(shape, [&](Index) {
    const double u = 2.4 * rng.uniform() - 1.2;
    return to_f32(u < 0 ? u - 0.3 : u + 0.3);
  });
}

Tensor distinct(const Shape& shape, int seed) {
  Rng rng{std::uint64_t(seed)};
  const std::vector<Index> order = rng.permutation(shape.numel());
  const double middle = double(shape.numel() / 2) + 0.5;
  return tabulate(shape, [&](Index i) { return to_f32(0.15 * (double(order[std::size_t(i)]) - middle)); });
}

std::vector<OpCase> op_cases() {
  std::vector<OpCase> all;
  for (const auto& cases : {arithmetic_cases(), math_cases(), select_cases(), broadcast_cases(), reduce_cases(),
                            matmul_cases(), shape_ops_cases(), index_cases(), softmax_cases(), normalize_cases(),
                            distance_cases(), regularize_cases(), rope_cases(), attention_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

}  // namespace gradus
