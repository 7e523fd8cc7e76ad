// One vector for a sentence: a transformer over its tokens, or their embeddings alone, then pooling; and two of them
// for pairs.                                                                                         [A061, A080, A190]
//
//   mean   sum_t m_t h_t / sum_t m_t        max   greatest of the kept tokens, each coordinate        cls   h_0
//
// A sentence whose tokens are all masked has the vector 0 (mean, max); cls asks no mask. TwoTowers maps both sides to
// one width; its vectors go to info_nce (CLIP: symmetric) or cosent_embeddings.
//
//   TwoTowers towers(options, options, 64, Rng(1));                    // TwoTowers<BagEncoder>: towers of bags
//   auto [u, v] = towers(questions, answers);                          // int [N,T], [N,S] -> [N,64] each
//   backward(info_nce(u, v, {.symmetric = true}));
#pragma once
#include "models/transformer.h"
#include "ops/distance.h"

namespace gradus {

enum class Pooling { mean, max, cls };

// hidden [N,T,D], mask [N,T] or undefined -> [N,D]. What stands at masked tokens does not count, even NaN (mean, max).
Tensor pool(At hidden, const Tensor& mask, Pooling pooling);

// The tokens see each other in both directions: causal is off and there are no logits, whatever the options say.
class SentenceEncoder final : public Module {
 public:
  using Options = TransformerOptions;
  Transformer transformer;
  Pooling pooling;

  SentenceEncoder(const Options& options, Rng&& rng, Pooling how = Pooling::mean)
      : transformer(without_logits(options), rng.split()), pooling(how) {}
  void list(Parts& parts) override { parts.add("transformer", transformer); }
  // ids int [N,T], mask u8 [N,T] or undefined -> [N,D]
  Tensor operator()(const Tensor& ids, const Tensor& mask = {}) {
    return pool(transformer.hidden(ids, mask), mask, pooling);
  }

 private:
  static Options without_logits(Options o) {
    o.causal = false, o.tied = true;
    return o;
  }
};

struct BagOptions {
  Index vocabulary = 0;  // must be given
  Index width = 128;
};

// A bag of words: knows which tokens there are, not their order. Fast, and hard to beat on short texts.
class BagEncoder final : public Module {
 public:
  using Options = BagOptions;
  Embedding token;
  Pooling pooling;

  BagEncoder(const Options& options, Rng&& rng, Pooling how = Pooling::mean)
      : token(options.vocabulary, options.width, rng.split()), pooling(how) {}
  void list(Parts& parts) override { parts.add("token", token); }
  Tensor operator()(const Tensor& ids, const Tensor& mask = {}) { return pool(token(ids), mask, pooling); }
};

template <class Left = SentenceEncoder, class Right = Left> class TwoTowers final : public Module {
 public:
  Left left;
  Right right;
  Linear left_projection, right_projection;  // to the common width, no bias

  TwoTowers(const typename Left::Options& left_options, const typename Right::Options& right_options, Index width,
            Rng&& rng, Pooling how = Pooling::mean)
      : left(left_options, rng.split(), how),
        right(right_options, rng.split(), how),
        left_projection(left_options.width, width, rng.split(), {.bias = false}),
        right_projection(right_options.width, width, rng.split(), {.bias = false}) {}
  void list(Parts& parts) override {
    parts.add("left", left), parts.add("right", right);
    parts.add("left_projection", left_projection), parts.add("right_projection", right_projection);
  }
  struct Pair {
    Tensor left, right;  // [N,width] and [M,width]
  };
  Pair operator()(const Tensor& left_ids, const Tensor& right_ids, const Tensor& left_mask = {},
                  const Tensor& right_mask = {}) {
    return {left_projection(left(left_ids, left_mask)), right_projection(right(right_ids, right_mask))};
  }
  // Cosines of all pairs, what info_nce_of_similarity takes after division by a temperature.  -> [N,M]
  Tensor similarity(const Tensor& left_ids, const Tensor& right_ids, const Tensor& left_mask = {},
                    const Tensor& right_mask = {}) {
    const Pair both = (*this)(left_ids, right_ids, left_mask, right_mask);
    return cosine_matrix(both.left, both.right);
  }
};

}  // namespace gradus
