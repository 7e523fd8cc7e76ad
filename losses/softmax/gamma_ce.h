// gamma cross entropy: between -log p_t and 1 - p_t, robust against wrong labels.      [A034-A036; B032-B036, C37, C38]
//
//   L = phi(p_t),  phi(p) = -log(g + (1 - g) p) / (1 - g),  p = softmax(z)        z [N,C] logits, t label, g in [0,1]
//   L = sum_c q_c phi(p_c)       soft targets or label smoothing: q_c = (1 - eps) t_c + eps / C, as in cross_entropy
//
// g = 0 is cross entropy; g -> 1 gives 1 - p_t, the error rate of a label drawn from p. L <= -log g / (1 - g), so one
// wrong label costs a bounded amount.
//
// Derivation. phi is minus the integral of 1 / (g + (1 - g) p), the weight with which gamma-CE passes on the gradient
// of p; with l = log p,
//   dphi/dl = -p / (g + (1 - g) p)
//   dL/dz_j = p_t / (g + (1 - g) p_t) (p_j - [j = t])             cross entropy, times the share of p_t in the mix
//   soft:  s_c = q_c dphi/dl_c,   dL/dz_j = s_j - p_j sum_c s_c,   dL/dq_c = phi(p_c)
//
// Safe form. phi = -log1p(-(1 - g)(1 - p)) / (1 - g) where g or p is near 1, with 1 - p = -expm1(l);
//   phi = -logaddexp(log g, log(1 - g) + l) / (1 - g) where p is small;   dphi/dl = -e^{l + (1 - g) phi}.
//   For soft targets in f32, g should be 0 or above 1e-37.
//
// Promises. L >= 0 and finite for every g in [0,1], both ends included, in f32 too. A row's gradient sums to 0. No row
//   left: 0. It does not calibrate: gamma-CE is not proper. Its best p for the truth pi is
//   (pi_k (1 + (K - 1) g) - g) / (1 - g), clipped: sharper than pi (C38). From nothing (p_t = 1/K) the gradient is only
//   p_t / g of that of cross entropy: begin with g << 1/K and let it grow; g is an argument of each call.
// Elsewhere. TaiLr has this gradient too, as a detached and clamped weight on -log p_t: its value is another one.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct GammaCeOptions {
  double gamma = 0.2;                     // in [0,1]
  Index ignore_index = -100;              // rows with this label are left out; hard labels only
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows kept
  double label_smoothing = 0;             // eps in [0,1]
  Form form = Form::closed;
};

// logits [N,C]; target: labels int [N], or probabilities [N,C] of the logits' type, differentiable too.  -> [] or [N]
Tensor gamma_ce(At logits, const Tensor& target, GammaCeOptions = {});

Losses gamma_ce_losses();  // gamma_ce, gamma_ce_soft

}  // namespace gradus
