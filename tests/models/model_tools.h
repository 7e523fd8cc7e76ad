// What the tests of models share.
#pragma once
#include <doctest/doctest.h>

#include "engine/grad_check.h"
#include "models/module.h"

// Central differences in f64 through the whole model: by x, when it is not integer, and by every parameter. The checker runs
// the function on copies of its inputs, so each run puts the copies where the model looks for its parameters.
template <class Model> void check_gradients(Model& model, const gradus::Tensor& x) {
  using namespace gradus;
  model.to(DType::f64);
  std::vector<Tensor> inputs = model.parameters();
  inputs.push_back(x);
  const auto f = [&](const std::vector<Tensor>& in) {
    const auto slots = model.parts().parameters;
    for (std::size_t k = 0; k < slots.size(); ++k) *slots[k].part = in[k];
    return model(in.back());
  };
  const GradCheckResult result = grad_check(f, inputs);
  INFO(result.message);
  CHECK(result.passed);
}

inline std::vector<std::string> names_of(const std::vector<gradus::Tensor>& tensors) {
  std::vector<std::string> names;
  for (const auto& x : tensors) names.push_back(x.name());
  return names;
}

inline bool same_bits(const std::vector<gradus::Tensor>& a, const std::vector<gradus::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k].shape() != b[k].shape() || a[k].to_vector() != b[k].to_vector()) return false;
  }
  return true;
}
