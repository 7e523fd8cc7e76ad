// n-gram models: the baseline that a language model has to beat. They count, and know nothing else.
//
// Order k predicts a symbol from the k symbols before it: order 0 is the unigram, which looks at nothing, order 1 the
// bigram, and so on. Long contexts are exact but rarely seen, short ones the reverse, so Witten-Bell smoothing mixes
// every length: where the context h has been followed n times, by T different symbols, c(x) times by x,
//
//   p(x | h) = (c(x) + T p(x | h without its first symbol)) / (n + T)
//
// Where many different symbols have followed, another new one is likely, and the shorter context gets more say: T
// counts its weight. Below order 0 every symbol of the vocabulary has probability 1 / V, so no text is impossible.
//
// Reference: I. Witten and T. Bell, The zero-frequency problem, IEEE Transactions on Information Theory 37(4), 1991.
#pragma once
#include <unordered_map>
#include <vector>

#include "engine/tensor.h"

namespace gradus {

class Ngram {
 public:
  // Counts the ids 0..vocabulary_size-1 of a training text, [T] i64.
  Ngram(const Tensor& train, Index vocabulary_size, int order);

  // Probability of the last of these ids after those before it (of which at most `order` matter).
  double probability(const Tensor& ids) const;

  // Mean of -log2 p(symbol | context) over a text, [T] i64: with a CharVocabulary, bits per character. Perplexity is 2
  // to this power, and a cross entropy in nats is it times ln 2.
  double bits_per_symbol(const Tensor& ids) const;

 private:
  // A context that occurred, as a node of a tree: the child along x is the context one symbol longer, with x last.
  struct Node {
    Index count = 0;      // of the context itself
    Index followed = 0;   // n: how often some symbol came next
    Index different = 0;  // T: how many different ones
  };
  using ContextId = std::uint32_t;
  static constexpr ContextId root = 0, none = ContextId(-1);

  // The contexts of length 0, 1, ... order that end here; `none` for one that was never seen.
  using Contexts = std::vector<ContextId>;
  Contexts start() const;
  void step(Contexts& contexts, Index symbol) const;
  void count(Contexts& contexts, Index symbol);
  double probability(const Contexts& contexts, Index symbol) const;

  ContextId child(ContextId node, Index symbol) const;
  void check(const Tensor& ids) const;

  Index vocabulary_size_;
  int order_;
  std::vector<Node> nodes_;
  std::unordered_map<std::uint64_t, ContextId> children_;  // by node and symbol
};

}  // namespace gradus
