// Multi-layer perceptron: linear layers with an activation, then dropout, between them; none after the last.
//
//   Mlp model({64, 128, 10}, Rng(7));        // relu between, [..,64] -> [..,10]
#pragma once
#include "models/dropout.h"
#include "models/linear.h"

namespace gradus {

enum class Activation { relu, gelu, gelu_tanh, silu, sigmoid, tanh };  // gelu_tanh: gelu's tanh form

Tensor activate(At x, Activation activation);

struct MlpOptions {
  Activation activation = Activation::relu;
  double dropout = 0;
  bool bias = true;
};

class Mlp final : public Module {
 public:
  std::vector<Linear> layers;
  Activation activation;
  Dropout dropout;

  // sizes: input, hidden ..., output; two sizes make a single linear layer.
  Mlp(const std::vector<Index>& sizes, Rng&& rng, MlpOptions options = {});
  void list(Parts& parts) override { parts.add("layers", layers), parts.add("dropout", dropout); }
  Tensor operator()(At x);
};

}  // namespace gradus
