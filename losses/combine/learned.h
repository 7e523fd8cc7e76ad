// Task weights that are trained along with the network.   [A131, A134, A135; B129, B130, B132-B135, C64, C72-C74, D22]
//
//   softmax_weighted      L = sum_i p_i L_i,  p = softmax(w)             L_i [K] losses, w [K] learned
//   uncertainty_sigma     L = sum_i L_i / (2 sigma_i^2) + log sigma_i    sigma [K] > 0 learned
//   uncertainty_logvar    L = sum_i e^{-s_i} L_i + s_i                   s = log sigma^2 [K] learned: twice the above
//
// Derivation.
//   softmax_weighted      dL/dL_i = p_i                dL/dw_i = p_i (L_i - L)
//   uncertainty_sigma     dL/dL_i = 1 / (2 sigma^2)    dL/dsigma_i = (1 - L_i / sigma_i^2) / sigma_i
//   uncertainty_logvar    dL/dL_i = e^{-s_i}           dL/ds_i = 1 - L_i e^{-s_i}
//
// softmax_weighted does not balance. Its w-gradient is negative exactly for losses below the weighted mean, so all
// weight flows to the smallest loss, and stays there: it belongs where one wants the best of several, not all of them.
//
// Uncertainty weighting. For a regression with Gaussian noise, exactly
//   -log N(y; f, sigma^2) = (y - f)^2 / (2 sigma^2) + log sigma + log(2 pi) / 2
// The first term keeps sigma from 0, the logarithm keeps it from infinity. The best sigma^2 is L_i, where the sum is
// 1/2 + log(L_i) / 2: below 0 for small losses, and without bound as L_i goes to 0. That is no fault. The direction
// there is grad L_i / (2 L_i), half of live_norm (normalised.h). For cross entropy the factor would be 1 / sigma^2,
// which approximates a tempered softmax. A negative loss has no best sigma: it runs to 0.
//
// Safe form. softmax_weighted counts from the task k of the greatest weight, L = L_k + sum_i p_i (L_i - L_k), so slopes
// keep their digits where p_k = 1 - 1e-30. e^{-s} L is (e^{-s/2} L) e^{-s/2}: finite where the product is.
//
// Promises. softmax_weighted lies between min and max L_i; a shift of w changes nothing and dL/dw sums to 0.
//   No tasks: 0. sigma <= 0 is an error; s is free.
// Elsewhere. LibMTL UW: s/2 + L / (2 e^s), starts at s = -0.5, our uncertainty_logvar halved.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct LearnedWeightOptions {
  Form form = Form::closed;
};

Tensor softmax_weighted(At losses, const Tensor& weights, LearnedWeightOptions = {});     // [K], [K] -> []
Tensor uncertainty_sigma(At losses, const Tensor& sigma, LearnedWeightOptions = {});      // [K], [K] -> []
Tensor uncertainty_logvar(At losses, const Tensor& log_vars, LearnedWeightOptions = {});  // [K], [K] -> []

Losses learned_losses();  // softmax_weighted, uncertainty_sigma, uncertainty_logvar

}  // namespace gradus
