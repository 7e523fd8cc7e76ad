#include "tutorials/datasets/ngram.h"

#include <algorithm>
#include <cmath>

namespace gradus {
namespace {

std::uint64_t key(std::uint32_t node, Index symbol) { return std::uint64_t(node) << 32 | std::uint64_t(symbol); }

}  // namespace

Ngram::Ngram(const Tensor& train, Index vocabulary_size, int order)
    : vocabulary_size_(vocabulary_size), order_(order), nodes_(1) {
  if (order < 0 || order > 16) fail("Ngram", "order is " + std::to_string(order) + "; take 0 (unigram) to 16");
  check(train);
  Contexts contexts = start();
  for (Index symbol : train.span<Index>()) count(contexts, symbol);
}

double Ngram::probability(const Tensor& ids) const {
  check(ids);
  Contexts contexts = start();
  for (Index symbol : ids.span<Index>().first(std::size_t(ids.numel() - 1))) step(contexts, symbol);
  return probability(contexts, ids.span<Index>().back());
}

double Ngram::bits_per_symbol(const Tensor& ids) const {
  check(ids);
  double bits = 0;
  Contexts contexts = start();
  for (Index symbol : ids.span<Index>()) {
    bits -= std::log2(probability(contexts, symbol));
    step(contexts, symbol);
  }
  return bits / double(ids.numel());
}

// Before the first symbol only the empty context is known.
Ngram::Contexts Ngram::start() const {
  Contexts contexts(std::size_t(order_) + 1, none);
  contexts[0] = root;
  return contexts;
}

// The context of length k that ends in `symbol` is the one of length k - 1 that ended before it, one symbol longer.
void Ngram::step(Contexts& contexts, Index symbol) const {
  for (std::size_t k = contexts.size() - 1; k > 0; --k) {
    contexts[k] = contexts[k - 1] == none ? none : child(contexts[k - 1], symbol);
  }
}

void Ngram::count(Contexts& contexts, Index symbol) {
  for (ContextId context : contexts) {
    if (context == none) continue;
    auto [position, is_new] = children_.try_emplace(key(context, symbol), ContextId(nodes_.size()));
    if (is_new) {
      nodes_.emplace_back();
      ++nodes_[context].different;
    }
    ++nodes_[context].followed;
    ++nodes_[position->second].count;
  }
  step(contexts, symbol);
}

double Ngram::probability(const Contexts& contexts, Index symbol) const {
  double p = 1.0 / double(vocabulary_size_);
  for (ContextId context : contexts) {
    if (context == none || nodes_[context].followed == 0) break;  // then no longer one has been seen either
    const Node& h = nodes_[context];
    ContextId next = child(context, symbol);
    double seen = next == none ? 0 : double(nodes_[next].count);
    p = (seen + double(h.different) * p) / double(h.followed + h.different);
  }
  return p;
}

Ngram::ContextId Ngram::child(ContextId node, Index symbol) const {
  auto found = children_.find(key(node, symbol));
  return found == children_.end() ? none : found->second;
}

void Ngram::check(const Tensor& ids) const {
  if (ids.numel() == 0) fail("Ngram", "the text is empty; give one of at least one symbol");
  for (Index symbol : ids.span<Index>()) {
    if (symbol < 0 || symbol >= vocabulary_size_) {
      fail("Ngram", "symbol " + std::to_string(symbol) + " is outside the vocabulary of " +
                        std::to_string(vocabulary_size_) + "; encode the text with the vocabulary given here");
    }
  }
}

}  // namespace gradus
