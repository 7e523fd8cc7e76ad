// Triplet loss under a learnt distance, of Mahalanobis.                                          [A053, A055]
//
//   loss = max(0, d(a,p) - d(a,n) + margin),   d(u,v) = sqrt((u - v)^T M (u - v)),   M = L L^T
//
// M = L L^T is positive semidefinite whatever L is, so d needs no constraint: gradient descent on L can go anywhere. M = 1 is
// the Euclidean distance; L of K < D columns sees only K directions, and d is 0 between points that differ in the others.
//
// Derivation. With x = u - v as a row, d = |x L|:
//   dd/dx = (x L / d) L^T,   dd/dL = x^T (x L / d)
// Over the batch both are matrix products: stack the gaps of all a,p and all a,n as X [2N,D], then W = X L [2N,K],
// G = (dloss/dd) W / d, and dX = G L^T, dL = X^T G.
//
// Promises. As triplet.h. d = 0, also in a direction that L does not see: subgradient 0. Replacing L by L Q, Q orthogonal,
//   changes nothing.
// Elsewhere. metric-learn trains such an L (LMNN, NCA); PyTorch's triplet_margin_with_distance_loss takes d as a function,
//   and a plain sqrt in it gives NaN at d = 0.
#pragma once
#include "losses/distance/triplet.h"

namespace gradus {

// anchor, positive, negative [N,D], L [D,K] -> [] or [N]
Tensor triplet_mahalanobis(At anchor, const Tensor& positive, const Tensor& negative, const Tensor& L,
                           TripletOptions = {});

Losses mahalanobis_losses();  // triplet_mahalanobis

}  // namespace gradus
