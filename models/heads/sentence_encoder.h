// One vector for a sentence: a transformer over its tokens, then pooling; and two such towers for pairs.      [A061, A080, A190]
//
//   mean   sum_t m_t h_t / sum_t m_t        max   greatest of the kept tokens, each coordinate        cls   h_0
//
// A sentence whose tokens are all masked has the vector 0. TwoTowers maps both sides to one width; its vectors go to
// info_nce (CLIP: symmetric) or cosent_embeddings.
#pragma once
#include "models/transformer.h"

namespace gradus {

enum class Pooling { mean, max, cls };

// hidden [N,T,D], mask [N,T] or undefined -> [N,D]
Tensor pool(At hidden, const Tensor& mask, Pooling pooling);

class SentenceEncoder final : public Module {
 public:
  Transformer transformer;  // causal or not as its options say; set causal = false for an encoder
  Pooling pooling;

  SentenceEncoder(const TransformerOptions& options, Rng&& rng, Pooling how = Pooling::mean)
      : transformer(options, rng.split()), pooling(how) {}
  void list(Parts& parts) override { parts.add("transformer", transformer); }
  // ids int [N,T], mask u8 [N,T] or undefined -> [N,D]
  Tensor operator()(const Tensor& ids, const Tensor& mask = {}) {
    return pool(transformer.hidden(ids, mask), mask, pooling);
  }
};

class TwoTowers final : public Module {
 public:
  SentenceEncoder left, right;
  Linear left_projection, right_projection;  // to the common width, no bias

  TwoTowers(const TransformerOptions& left_options, const TransformerOptions& right_options, Index width, Rng&& rng,
            Pooling how = Pooling::mean)
      : left(left_options, rng.split(), how),
        right(right_options, rng.split(), how),
        left_projection(left_options.width, width, rng.split(), {.bias = false}),
        right_projection(right_options.width, width, rng.split(), {.bias = false}) {}
  void list(Parts& parts) override {
    parts.add("left", left), parts.add("right", right);
    parts.add("left_projection", left_projection), parts.add("right_projection", right_projection);
  }
  struct Pair {
    Tensor left, right;  // [N,width] each
  };
  Pair operator()(const Tensor& left_ids, const Tensor& right_ids, const Tensor& left_mask = {},
                  const Tensor& right_mask = {}) {
    return {left_projection(left(left_ids, left_mask)), right_projection(right(right_ids, right_mask))};
  }
};

}  // namespace gradus
