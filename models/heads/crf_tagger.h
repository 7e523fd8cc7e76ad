// BIO tagging, the baseline that cannot nest: a tag for each token, with a linear-chain CRF over them.    [A101, A188]
//
//   tag 0: outside (O);  1 + 2 h: begins an entity of type h (B);  2 + 2 h: goes on with one (I)
//
// A token has one tag, so of two spans that overlap only one can be written down: bio_tags says which it dropped. The
// formulas of the CRF stand in losses/logsumexp/crf.h.
#pragma once
#include "engine/tape.h"
#include "losses/logsumexp/crf.h"
#include "losses/metrics/span_f1.h"
#include "models/linear.h"

namespace gradus {

class CrfTagger final : public Module {
 public:
  Linear emission;                 // D -> tags
  Tensor transitions, start, end;  // [C,C], [C], [C]; start at 0, as if there were none

  CrfTagger(Index width, Index tags, Rng&& rng)
      : emission(width, tags, rng.split()),
        transitions(constant_parameter({tags, tags}, 0)),
        start(constant_parameter({tags}, 0)),
        end(constant_parameter({tags}, 0)) {}
  void list(Parts& parts) override {
    parts.add("emission", emission), parts.add("transitions", transitions);
    parts.add("start", start), parts.add("end", end);
  }
  Tensor operator()(At hidden) const { return emission(hidden); }              // [N,T,D] -> [N,T,C]
  Tensor loss(At hidden, const Tensor& tags, const Tensor& mask = {}) const {  // tags int [N,T] -> []
    return crf_nll(emission(hidden), tags, transitions, start, end, {.mask = mask});
  }
  Tensor decode(const Tensor& hidden, const Tensor& mask = {}) const {  // -> i64 [N,T]
    const NoGrad no_grad;
    return crf_decode(emission(hidden), transitions, start, end, mask);
  }
};

// i64 [N,T]. Longer spans are written first; one that overlaps a written span goes to `dropped`, when given.
Tensor bio_tags(std::vector<Span> spans, Index N, Index T, std::vector<Span>* dropped = nullptr,
                Device& device = default_device());
// An I that follows no B or I of its type begins a span, as seqeval's lenient mode has it; so does one after a masked
// token. Reads the tags on the CPU. tags int [N,T], mask [N,T] or undefined
std::vector<Span> spans_of_bio(const Tensor& tags, const Tensor& mask = {});

}  // namespace gradus
