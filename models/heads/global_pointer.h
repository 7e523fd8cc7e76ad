// Heads that score every span (i,j) of a sentence for every type, so that entities may nest.
//                                                                      [A082-A091, A098, A099; B084-B087, C57, C58]
//   GlobalPointer            a query and a key of its own for each type     2 D d H numbers, 2 d H more with a bias
//   EfficientGlobalPointer   one query and key, types by words w_a of 4 d   2 D d + 4 d H
//     with a rank r          w = V U, U shared by all types                 2 D d + 4 d r + H r
//   ModulatedPointer         one query and key, type a sees q * m_a         2 D d + d H
//
// Modulation is of the query alone: with m on both sides the score is q diag(m^2) k, which forgets the sign of m and
// stops learning at m = 0 (C58). A rank for each type by itself would cost more than w itself (C57).
//
//   GlobalPointer head(128, 3, 64, Rng(1));
//   Tensor loss = head.loss(hidden, labels, mask);              // [N,T,D], [N,H,T,T], [N,T] -> []
//   std::vector<Span> found = head.spans(hidden, mask);         // scores above 0
//
// Formulas of scores and loss: losses/logsumexp/global_pointer.h. The loss keeps no map of scores.
#pragma once
#include "losses/logsumexp/global_pointer.h"
#include "losses/metrics/span_f1.h"
#include "models/linear.h"

namespace gradus {

struct SpanHeadOptions {
  bool rope = true, scale = true;
  Index window = -1;  // j - i <= window; -1: any
  Index rank = 0;     // of w in EfficientGlobalPointer; 0: w is [H,4d] itself
  bool bias = true;   // of GlobalPointer's projection; the other heads have none
};

// What the heads share: queries, keys and type terms in, everything else out.
class SpanHead : public Module {
 public:
  SpanHeadOptions options;

  Tensor operator()(At hidden) const;                                           // [N,T,D] -> [N,H,T,T], nothing masked
  Tensor loss(At hidden, const Tensor& labels, const Tensor& mask = {}) const;  // -> []
  // Spans that score above the threshold, begin <= end, within the mask and the window. Sorted.
  std::vector<Span> spans(const Tensor& hidden, const Tensor& mask = {}, double threshold = 0) const;

 protected:
  explicit SpanHead(const SpanHeadOptions& o) : options(o) {}
  struct Terms {
    Tensor q, k, start, end;  // [N,G,T,d], [N,H,T]; start and end may be undefined
  };
  virtual Terms terms(At hidden) const = 0;
};

class GlobalPointer final : public SpanHead {
 public:
  Linear projection;  // D -> 2 H d, type by type [q | k]
  Index types;

  GlobalPointer(Index width, Index types, Index head_width, Rng&& rng, SpanHeadOptions options = {});
  void list(Parts& parts) override { parts.add("projection", projection); }

 private:
  Terms terms(At hidden) const override;
};

class EfficientGlobalPointer final : public SpanHead {
 public:
  Linear query, key;  // D -> d, no bias
  Tensor w;           // [H,4d], or [H,r] when there is a rank
  Tensor shared;      // [r,4d], or undefined

  EfficientGlobalPointer(Index width, Index types, Index head_width, Rng&& rng, SpanHeadOptions options = {});
  void list(Parts& parts) override;

 private:
  Terms terms(At hidden) const override;
};

class ModulatedPointer final : public SpanHead {
 public:
  Linear query, key;  // D -> d, no bias
  Tensor modulation;  // [H,d], starts near 1

  ModulatedPointer(Index width, Index types, Index head_width, Rng&& rng, SpanHeadOptions options = {});
  void list(Parts& parts) override;

 private:
  Terms terms(At hidden) const override;
};

// Error of `op` unless hidden is [N,T,D] and the mask [N,T] or undefined.
void check_sentences(std::string_view op, const Tensor& hidden, const Tensor& mask = {});

}  // namespace gradus
