// Optimal transport made smooth by an entropy, solved by scaling rows and columns in turn.                [A041, A050; C06]
//
//   min_P <P, C> + eps KL(P || a b^T)    P 1 = a, P^T 1 = b     a [n], b [m] masses of equal total, C [n,m] cost, eps > 0
//
// Derivation. Where the Lagrangian's derivative in P_ij is 0, P_ij = e^{(f_i + g_j - C_ij) / eps}: two vectors are the plan.
// Each constraint alone is solved in one step, from g = 0 on:
//   row step       f_i = eps log a_i - eps log sum_j e^{(g_j - C_ij) / eps}
//   column step    g_j = eps log b_j - eps log sum_i e^{(f_i - C_ij) / eps}
//   iteration      row step, then column step (first = column: from f = 0 on, the other way round)
//
// Three values of the plan after the last iteration:
//   sinkhorn              <P, C>                           gradient through all iterations
//   sinkhorn_regularised  <P, C> + eps KL(P || a b^T)      gradient P
//   sinkhorn_implicit     <P, C> once converged            gradient of the limit, no iteration is stored
//
// Derivation of the gradients in C, with w_ij = P_ij / a_i at the potentials of that step:
//   unrolled: a row step has df_i/dC_ij = w_ij, df_i/dg_j = -w_ij. The chain rule runs back; only potentials are kept.
//   regularised: at the minimum dP counts for nothing at first order, so dL/dC = P (envelope theorem).
//   implicit: P 1 = a and P^T 1 = b hold before and after, so  a_i df_i + sum_j P_ij dg_j = sum_j P_ij dC_ij, and the same
//     for columns. With alpha, beta the solution of this system for the right side sum_j P_ij C_ij, sum_i P_ij C_ij,
//       dL/dC_ij = P_ij (1 + (alpha_i + beta_j - C_ij) / eps)
//     alpha_i + beta_j is the least squares fit of C by a sum, with weights P: what it explains, the masses dictate.
//
// Safe form. Potentials are f64, and the greatest term is taken out of every sum that could leave the range of numbers
//   (sinkhorn_core.h), so eps = 1e-3 with costs of order 1 is as exact in f32 as eps = 1.
//
// Promises. The side updated last has its masses exactly, the other nearly: the error falls by a constant factor each
//   iteration, slower for smaller eps. The gradient of sinkhorn is that of the iterations as run, converged or not; the
//   gradients of the other two presume convergence, and there sinkhorn_implicit and sinkhorn agree. A mass of 0 gives
//   zeros in P and in the gradient. eps -> 0: emd. eps -> infinity: P -> a b^T. One-hot b: P is that column whatever eps,
//   from the second iteration on, with columns first from the first on. No mass at all: 0. Masses carry no gradient.
//   Memory: O(iterations (n + m)) kept for sinkhorn, O(n + m) for sinkhorn_implicit, P for sinkhorn_regularised.
// Elsewhere. POT ot.sinkhorn underflows at small eps and returns an earlier iterate (its sinkhorn_log does not);
//   geomloss SamplesLoss is the regularised value, debiased by default.
#pragma once
#include "losses/loss.h"

namespace gradus {

enum class First { row, column };

struct SinkhornOptions {
  double epsilon = 0.1;  // in the units of the cost
  Index iterations = 100;
  First first = First::row;  // which masses are matched first; the others are matched last, exactly
  Form form = Form::closed;
};

struct SinkhornImplicitOptions {
  double epsilon = 0.1;
  Index iterations = 1000;  // at most
  double tolerance = 1e-9;  // stops when sum_i |sum_j P_ij - a_i| <= tolerance * total mass
  Form form = Form::closed;
};

Tensor sinkhorn(const Tensor& a, const Tensor& b, At cost, SinkhornOptions = {});              // [n], [m], [n,m] -> []
Tensor sinkhorn_plan(const Tensor& a, const Tensor& b, At cost, SinkhornOptions = {});         // -> [n,m], no gradient
Tensor sinkhorn_regularised(const Tensor& a, const Tensor& b, At cost, SinkhornOptions = {});  // -> []
Tensor sinkhorn_implicit(const Tensor& a, const Tensor& b, At cost, SinkhornImplicitOptions = {});  // -> []

// Many problems with one cost, masses given by their logarithms, which carry a gradient like the cost.
Tensor sinkhorn_rows(At log_a, const Tensor& log_b, const Tensor& cost,
                     SinkhornOptions = {});  // [N,n], [N,m], [n,m] -> [N]

Losses sinkhorn_losses();  // sinkhorn, sinkhorn_plan, sinkhorn_regularised, sinkhorn_implicit

}  // namespace gradus
