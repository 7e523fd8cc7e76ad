// y = x W^T + b        x [..,I] -> [..,O]
//
// Starts as in PyTorch: weight and bias uniform in +-1/sqrt(I), which keeps the size of y near that of x.
#pragma once
#include "models/init.h"
#include "models/module.h"
#include "ops/matmul.h"

namespace gradus {

struct LinearOptions {
  bool bias = true;
};

class Linear final : public Module {
 public:
  Tensor weight;  // [O,I]
  Tensor bias;    // [O], or undefined

  Linear(Index in_features, Index out_features, Rng&& rng, LinearOptions options = {}) {
    check_size("Linear", "in_features", in_features);
    check_size("Linear", "out_features", out_features);
    const double bound = 1 / std::sqrt(double(in_features));
    weight = uniform_parameter({out_features, in_features}, bound, rng);
    if (options.bias) bias = uniform_parameter({out_features}, bound, rng);
  }
  void list(Parts& parts) override { parts.add("weight", weight), parts.add("bias", bias); }
  Tensor operator()(At x) const { return linear(x, weight, bias); }
};

}  // namespace gradus
