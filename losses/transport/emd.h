// The exact cost of moving one mass onto another: optimal transport of small problems.              [A040, A041, A043]
//
//   L = min_P <P, C>    P >= 0,  P 1 = a,  P^T 1 = b        a [n], b [m] masses of equal total, C [n,m] cost
//
// A linear program over plans (Kantorovich); with n = m and equal masses a permutation is among the best plans (Monge).
//
// Derivation. Dual: max a.u + b.v with u_i + v_j <= C_ij. A plan is optimal if P_ij > 0 only where u_i + v_j = C_ij.
//   dL/dC = P, the best plan: for fixed P, <P, C> is linear in C, and at the minimum dP counts for nothing at first order.
//   Where several plans are best, L has a corner in C and P is one of its subgradients.
//
// The definition is the linear program itself, solved by the simplex method. The closed form sends each a_i along shortest
// paths (Dijkstra) in the residual costs C_ij - u_i - v_j >= 0 to the nearest b_j that still wants mass: O(n m) a path.
//
// Promises. Exact but for rounding of f64, for f32 inputs too. A mass of 0 moves nothing. C + x 1^T + 1 y^T changes L by
//   a.x + b.y and leaves P. Totals that differ by more than 1e-5 of them are an error that names both; less is taken for
//   rounding, and b is scaled. No mass at all: L = 0. Masses carry no gradient.
//   Reads masses and costs on the CPU and solves there, whatever the device; the plan goes back to it for the gradient.
// Elsewhere. POT ot.emd2: same value and gradient in C. mlpack's EMD is something else.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct EmdOptions {
  Form form = Form::closed;
};

Tensor emd(const Tensor& a, const Tensor& b, At cost, EmdOptions = {});                  // [n], [m], [n,m] -> []
Tensor emd_plan(const Tensor& a, const Tensor& b, const Tensor& cost, EmdOptions = {});  // -> [n,m], no gradient

Losses emd_losses();  // emd

}  // namespace gradus
