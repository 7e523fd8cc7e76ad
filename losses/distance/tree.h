// Tree loss: the two ends of an edge should have near vectors.                                      [A142; B139, C90]
//
//   L = sum_e alpha_e |h_i - h_j|^2         e = (i,j) an edge, h [N,D] one vector per node, alpha [E] weights
//
// Derivation. With the weighted graph Laplacian, A_ij = A_ji = sum of the alpha of the edges between i and j:
//   Lap = diag(A 1) - A              sum_e alpha_e |h_i - h_j|^2 = tr(H^T Lap H)
//   dL/dH = 2 Lap H                  row i: 2 sum_j A_ij (h_i - h_j), the pull of the neighbours
//   dL/dalpha_e = |h_i - h_j|^2
// Lap has the eigenvalue 0 for the constant vector, so on a connected tree L = 0 exactly where all nodes have one vector.
// Alone the loss collapses to that; as a regulariser beside a task loss it smooths along the edges (C90).
//
// Promises. >= 0 for alpha >= 0. Moving or turning all vectors together changes nothing; the gradients of h sum to 0. The
//   direction and the order of edges do not matter, an edge twice counts twice, a loop (i,i) costs nothing. No edges: 0.
// Elsewhere. Label propagation and graph regularisation know it as the Dirichlet energy, often with a factor 1/2.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct TreeOptions {
  Reduction reduction = Reduction::sum;  // over edges; mean divides by E
  Form form = Form::closed;
};

// h [N,D]; edges int [E,2], nodes in 0..N-1; alpha [E], differentiable, undefined: all 1.  -> [] or [E]
Tensor tree(At h, const Tensor& edges, const Tensor& alpha = {}, TreeOptions = {});

Losses tree_losses();  // tree

}  // namespace gradus
