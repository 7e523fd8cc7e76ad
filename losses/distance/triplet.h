// Triplet loss: an anchor should be nearer to its positive than to its negative, by a margin.        [A053, A055; C29]
//
//   L = max(0, d(a,p) - d(a,n) + margin)                  a, p, n [N,D]; one L per row
//
//   triplet               d(u,v) = |u - v|
//   triplet_cosine        d(u,v) = 1 - cos(u,v)
//   triplet_mahalanobis   d(u,v) = sqrt((u - v)^T M (u - v)),  M = L L^T: file mahalanobis.h
//
// Derivation. The hinge passes the gradient or stops it:
//   dL/dd(a,p) = 1 and dL/dd(a,n) = -1 where d(a,p) - d(a,n) + margin >= 0, else both 0
//   d|u - v|/du = (u - v) / |u - v|         unit length however far the points are: p and n are pulled with force 1
//   dcos(u,v)/du = (v/|v| - cos u/|u|) / |u|
//
// Safe form. |u - v| is computed from the differences, scaled where squares would overflow or vanish; 1 - cos as
// |u/|u| - v/|v||^2 / 2, which keeps its digits for nearly parallel vectors. No epsilon: at d = 0 the subgradient is 0, and
// a zero vector has cosine 0 and gradient 0.
//
// Promises. >= 0. The gradients of a row sum to 0 (triplet). triplet does not change when all points move or turn together,
//   triplet_cosine when vectors are scaled. a = p = n: the loss is the margin and the gradient 0: such a row does not learn.
// Elsewhere. PyTorch triplet_margin_loss: same hinge and margin, but |u - v + 1e-6|, which is neither symmetric nor 0 for
//   equal points. A plain sqrt(sum d^2) has a NaN gradient at equal points, also where the hinge is closed
//   (sentence-transformers#4033).
#pragma once
#include "losses/loss.h"

namespace gradus {

struct TripletOptions {
  double margin = 1;                      // >= 0
  Reduction reduction = Reduction::mean;  // mean divides by N
  Form form = Form::closed;
};

// anchor, positive, negative [N,D] -> [] or [N]
Tensor triplet(At anchor, const Tensor& positive, const Tensor& negative, TripletOptions = {});
Tensor triplet_cosine(At anchor, const Tensor& positive, const Tensor& negative, TripletOptions = {});

Losses triplet_losses();  // triplet, triplet_cosine

}  // namespace gradus
