#include "models/mlp.h"

#include "ops/math.h"

namespace gradus {

Tensor activate(At x, Activation activation) {
  switch (activation) {
    case Activation::relu: return relu(x);
    case Activation::gelu: return gelu(x);
    case Activation::gelu_tanh: return gelu(x, Gelu::tanh);
    case Activation::silu: return silu(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::tanh: break;
  }
  return tanh(x);
}

Mlp::Mlp(const std::vector<Index>& sizes, Rng&& rng, MlpOptions options)
    : activation(options.activation), dropout(options.dropout, rng.split()) {
  if (sizes.size() < 2) fail("Mlp", "needs at least two sizes, input and output, got " + std::to_string(sizes.size()));
  for (std::size_t k = 1; k < sizes.size(); ++k) {
    layers.emplace_back(sizes[k - 1], sizes[k], rng.split(), LinearOptions{options.bias});
  }
}

Tensor Mlp::operator()(At x) {
  Tensor h = layers[0](x);
  for (std::size_t k = 1; k < layers.size(); ++k) h = layers[k](dropout(activate(h, activation)));
  return h;
}

}  // namespace gradus
