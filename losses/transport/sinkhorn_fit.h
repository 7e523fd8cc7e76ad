// The linear system of sinkhorn_implicit on a GPU, by conjugate gradients whose numbers never leave it.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// dC_ij = dy P_ij (1 + alpha_i + beta_j - s_ij), with alpha, beta the least squares fit of s by a sum, weights P:
//   r_i alpha_i + sum_j P_ij beta_j = sum_j P_ij s_ij        r = P 1, c = P^T 1
//   sum_i P_ij alpha_i + c_j beta_j = sum_i P_ij s_ij
// plan f64 [n,m] and its transpose, cost [n,m] with s = cost / epsilon, dy []. The result is f64 [n,m].
Tensor implicit_cost_gradient(const Tensor& plan, const Tensor& transposed, const Tensor& cost, double epsilon,
                              const Tensor& dy);

}  // namespace gradus
