// y = w (x - mean) / sqrt(var + eps) + b, along the last axis        x [..,D] -> [..,D]
//
// Starts with w = 1 and b = 0, as in PyTorch. A row of equal numbers has variance 0 and becomes b.
#pragma once
#include "models/init.h"
#include "models/module.h"
#include "ops/normalize.h"

namespace gradus {

class LayerNorm final : public Module {
 public:
  Tensor weight, bias;  // [D]
  double eps;

  explicit LayerNorm(Index width, double epsilon = 1e-5) : eps(epsilon) {
    check_size("LayerNorm", "width", width);
    weight = constant_parameter({width}, 1);
    bias = constant_parameter({width}, 0);
  }
  void list(Parts& parts) override { parts.add("weight", weight), parts.add("bias", bias); }
  Tensor operator()(At x) const { return layer_norm(x, weight, bias, eps); }
};

}  // namespace gradus
