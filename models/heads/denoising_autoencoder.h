// Denoising auto-encoder: rebuild the clean x from a damaged one.                                         [A139, A140]
//
//   x' = x + noise z, z normal, then each coordinate 0 with probability `drop`      L = mean |decode(encode(x')) - x|^2
//
// With a code as wide as x and no damage the identity would do; the damage makes the code learn how coordinates belong
// together. Evaluating damages nothing. The damage is drawn from `rng`, which checkpoints save.
// Source. Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008.
#pragma once
#include <cmath>

#include "losses/distance/regression.h"
#include "models/mlp.h"
#include "ops/arithmetic.h"

namespace gradus {

struct DenoisingOptions {
  double noise = 0.3, drop = 0;
  Activation activation = Activation::tanh;
};

class DenoisingAutoencoder final : public Module {
 public:
  Mlp encoder, decoder;
  DenoisingOptions options;
  Rng rng;

  // sizes: input, hidden ..., code; the decoder is their mirror image.
  DenoisingAutoencoder(const std::vector<Index>& sizes, Rng&& generator, DenoisingOptions o = {})
      : encoder(sizes, generator.split(), {.activation = o.activation}),
        decoder({sizes.rbegin(), sizes.rend()}, generator.split(), {.activation = o.activation}),
        options(o),
        rng(generator.split()) {
    if (!(o.noise >= 0 && std::isfinite(o.noise)))
      fail("DenoisingAutoencoder", "needs finite noise >= 0, got " + std::to_string(o.noise));
    if (!(o.drop >= 0 && o.drop < 1))
      fail("DenoisingAutoencoder", "needs 0 <= drop < 1, got " + std::to_string(o.drop));
  }
  void list(Parts& parts) override {
    parts.add("encoder", encoder), parts.add("decoder", decoder), parts.add("rng", rng);
  }
  Tensor damaged(const Tensor& x) {  // what is left is not rescaled, unlike in dropout
    Tensor y = options.noise > 0 ? x + options.noise * randn(x.shape(), rng, x.dtype(), x.device()) : x;
    return options.drop > 0 ? dropout(y, options.drop, rng) * (1 - options.drop) : y;
  }
  Tensor operator()(At x) { return decoder(activate(encoder(x), options.activation)); }         // [N,I] -> [N,I]
  Tensor loss(const Tensor& x) { return mse((*this)(training ? damaged(x) : x), x.detach()); }  // -> []
};

}  // namespace gradus
