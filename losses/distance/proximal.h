// Losses that keep parameters near other parameters.                            [A143, A149; B140, C91]
//
//   proximal        lambda |theta - theta0|^2                               sum over all elements
//   proximal_meta   sum_i lambda |theta_i - theta0|^2                       one theta_i per task, one centre theta0
//   ewc             lambda/2 sum_k F_k (theta_k - theta*_k)^2               F the diagonal of the Fisher information
//
// Derivation, proximal_meta. Beside the losses of the tasks, sum_i L_i(theta_i) + lambda |theta_i - theta0|^2:
//   dL/dtheta_i = L_i' + 2 lambda (theta_i - theta0)
//   dL/dtheta0 = 2 lambda (N theta0 - sum_i theta_i)       0 where theta0 is the mean of the theta_i
// The penalty stands inside the sum: outside of it, i has no meaning (C91). lambda -> infinity forces one theta for all
// tasks, lambda -> 0 lets each go its own way. It is the tree loss of a star with theta0 in the middle.
//
// Derivation, ewc. Near the optimum theta* of an old task its log-likelihood falls off as
// 1/2 sum_k F_k (theta_k - theta*_k)^2, F_k = E[(d log p / dtheta_k)^2]: directions that mattered are held, the others are
// free for the new task.
//   dL/dtheta_k = lambda F_k (theta_k - theta*_k)
//
// Promises. >= 0 (F >= 0), 0 where nothing moved. theta and theta0 both receive gradients; detach() the one that is fixed.
//   theta* and F are constants. No elements: 0.
// Elsewhere. FedProx writes mu/2 |theta - theta0|^2: lambda = mu/2. L2 decay is proximal with theta0 = 0. Kirkpatrick et al.
//   2017 is ewc as it stands here.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct ProximalOptions {
  double lambda = 1;  // >= 0
  Form form = Form::closed;
};

Tensor proximal(At theta, const Tensor& theta0, ProximalOptions = {});       // [..], [..] -> []
Tensor proximal_meta(At theta, const Tensor& theta0, ProximalOptions = {});  // [K,..], [..] -> []
// theta_star and fisher carry no gradient.
Tensor ewc(At theta, const Tensor& theta_star, const Tensor& fisher, ProximalOptions = {});  // [..] each -> []

// The Fisher diagonal, F_k = mean_n g_nk^2, from the gradients of log p (or of -log p) of single samples. The square of a
// mean gradient is not it: at an optimum that is 0. A constant; no samples: 0.
Tensor fisher_diagonal(const Tensor& per_sample_gradients);  // [N,..] -> [..]

Losses proximal_losses();  // proximal, proximal_meta, ewc

}  // namespace gradus
