// What no op may do with any input: crash, read memory that nobody wrote, or mix types in silence. Every case of the table
// is run with undefined inputs, with inputs of other types, and with every one of its sizes set to 0.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "engine/backward.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

bool refuses(const OpCase& c, const std::vector<Tensor>& inputs) {
  try {
    c.f(inputs);
    return false;
  } catch (const Error& e) {
    CHECK(std::string(e.what()).front() == '[');  // "[op] text"
    return true;
  }
}

bool is_small(const OpCase& c) { return c.inputs[0].numel() < 200; }

// Leaves `value` in freed blocks of every size that the next computation could be given.
void dirty_the_pool(double value) {
  for (Index n = 1; n < 300; n += n < 40 ? 1 : 20) {
    const Tensor a = full({n}, value, DType::f64), b = full({n}, value, DType::f64);
  }
}

// Value and gradients of f, one after the other; empty when f refuses.
std::vector<double> outcome(const OpCase& c, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : inputs) leaves.push_back(is_floating(x.dtype()) ? x.clone().requires_grad_() : x);
  if (refuses(c, leaves)) return {};
  Tape tape;
  const Tensor y = c.f(leaves);
  BackwardPass pass(tape, Retain::yes);
  pass.seed(y, full(y.shape(), 0.75, y.dtype()));
  pass.finish_without_grad();
  std::vector<double> out = y.to_vector();
  for (const Tensor& x : leaves) {
    const Tensor dx = x.requires_grad() ? pass.gradient(x) : Tensor();
    if (!dx) continue;
    CHECK(dx.shape() == x.shape());
    for (const double v : dx.to_vector()) {
      out.push_back(v);
      if (y.numel() == 0) CHECK(v == 0);  // nothing came out, so nothing goes back
    }
  }
  return out;
}

bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  }
  return true;
}

}  // namespace

TEST_SUITE("bad input") {
  TEST_CASE("an undefined input is refused or optional") {
    for (const OpCase& c : op_cases()) {
      INFO(c.name);
      for (std::size_t k = 0; k < c.inputs.size(); ++k) {
        std::vector<Tensor> inputs = c.inputs;
        inputs[k] = Tensor();
        const bool optional = k > 0 && (c.name.starts_with("linear") || c.name.starts_with("layer_norm"));
        CHECK((refuses(c, inputs) || optional));
      }
    }
  }

  TEST_CASE("f32 and f64 do not mix, and integers are either moved or refused") {
    for (const OpCase& c : op_cases()) {
      if (!is_small(c)) continue;
      INFO(c.name);
      for (std::size_t k = 0; k < c.inputs.size(); ++k) {
        std::vector<Tensor> inputs = c.inputs;
        inputs[k] = c.inputs[k].to(DType::f32);
        if (inputs.size() > 1) CHECK(refuses(c, inputs));
        inputs[k] = c.inputs[k].to(DType::i64);
        refuses(c, inputs);
      }
    }
  }

  TEST_CASE("any size may be 0: refused, or a value and gradients that depend on the inputs only") {
    for (const OpCase& c : op_cases()) {
      if (!is_small(c)) continue;
      INFO(c.name);
      std::set<Index> sizes;
      for (const Tensor& x : c.inputs) sizes.insert(x.shape().begin(), x.shape().end());
      for (const Index size : sizes) {
        std::vector<Tensor> inputs;
        for (const Tensor& x : c.inputs) {
          Shape shape = x.shape();
          for (int axis = 0; axis < shape.rank(); ++axis)
            shape = shape.with(axis, shape[axis] == size ? 0 : shape[axis]);
          inputs.push_back(shape == x.shape() ? x : zeros(shape, x.dtype()));
        }
        dirty_the_pool(std::nan(""));
        const std::vector<double> once = outcome(c, inputs);
        dirty_the_pool(7);
        CHECK_MESSAGE(same(outcome(c, inputs), once), "size ", size);
      }
    }
  }
}
