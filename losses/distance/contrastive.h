// Contrastive loss: similar pairs are drawn together, the others pushed out to a margin.                  [A055, A079]
//
//   L = c (y d^2 + (1 - y) max(0, margin - d)^2)       d = |x1 - x2|, y = 1 similar, 0 not;   c = 1, or 1/2 (half)
//
// Derivation. A spring of rest length 0 for similar pairs, and one that only pushes for the others:
//   dL/dx1 = 2 c (y d - (1 - y) max(0, margin - d)) (x1 - x2) / d = -dL/dx2
// For y = 1 that is 2 c (x1 - x2). For y = 0 it has length 2 c (margin - d), most at d = 0, where it has no direction: two
// different things at one point are never driven apart. The subgradient there is 0.
//
// Safe form. d as in triplet.h: from the differences, in range, no epsilon. Where y = 0 the term y d^2 is 0, however large d.
//
// Promises. >= 0; 0 where similar pairs coincide and the others are at least `margin` apart. y between 0 and 1 mixes the two
//   terms. Both have a continuous slope, but for d = 0. The gradients of x1 and x2 are opposite.
// Elsewhere. Hadsell, Chopra, LeCun 2006: the same with c = 1/2, but there Y = 0 means similar. sentence-transformers: y = 1
//   similar, c = 1/2, margin 0.5. pytorch-metric-learning: d and not d^2, averaged over the non-zero pairs.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct ContrastiveOptions {
  double margin = 1;                      // >= 0
  bool half = false;                      // c = 1/2
  Reduction reduction = Reduction::mean;  // mean divides by N
  Form form = Form::closed;
};

// x1, x2 [N,D]; y [N] in [0,1], of any type, without gradient.  -> [] or [N]
Tensor contrastive(At x1, const Tensor& x2, const Tensor& y, ContrastiveOptions = {});

Losses contrastive_losses();  // contrastive

}  // namespace gradus
