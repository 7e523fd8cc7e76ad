// y = W[index]        index int [..] -> [..,D]
//
// Starts as in PyTorch: standard normal. An index outside 0..V-1 is an error that names its place.
#pragma once
#include "models/init.h"
#include "models/module.h"
#include "ops/index.h"

namespace gradus {

class Embedding final : public Module {
 public:
  Tensor weight;  // [V,D]

  Embedding(Index num_embeddings, Index embedding_dim, Rng&& rng) {
    check_size("Embedding", "num_embeddings", num_embeddings);
    check_size("Embedding", "embedding_dim", embedding_dim);
    weight = normal_parameter({num_embeddings, embedding_dim}, 1, rng);
  }
  void list(Parts& parts) override { parts.add("weight", weight); }
  Tensor operator()(At index) const { return embedding(At(weight, index.line), index); }
};

}  // namespace gradus
