// Task losses divided by a reference of their own, so that units cancel.     [A126, A127, A128; B123, B124, C61, C62]
//
//   L = sum_i L_i / r_i                                                       L_i [K] losses, r_i constants
//
//   init_norm    r_i = L_i at the start of training: progress in percent
//   prior_norm   r_i = the best loss of a constant prediction:  H(p) = -sum_c p_c log p_c for a classifier with class
//                frequencies p,  Var(y) = mean (y - mean y)^2 for a regression to y
//   live_norm    r_i = sg(L_i), the loss itself with its gradient stopped
//
// Derivation. r is constant, so dL/dL_i = 1 / r_i. For live_norm the value is always the number of tasks, and the
// gradient is sum_i grad L_i / L_i = grad sum_i log L_i: descent on the product of the losses. Without the stop,
// L_i / L_i = 1 has gradient 0. So the value of live_norm says nothing of progress: log the losses themselves.
//
// Why H and Var. min_q -sum_c p_c log q_c is at q = p and is H(p); min_c mean (y - c)^2 is at the mean and is Var(y).
//
// Promises. A factor on L_i, and with it on r_i, changes nothing; live_norm ignores any factor. A constant added to L_i
//   turns the direction of live_norm (gradient_balance.h does not turn). A task that is over has term 0 and
//   gradient 0: a live loss of 0, H = 0 for a single class, Var = 0 for labels all equal. An initial loss of 0 is an
//   error. A negative live loss would be pushed upwards: 1 / L_i < 0.
// Elsewhere. live_norm has the direction of the geometric mean, LibMTL's GLS (generalised_mean.h, gamma = 0).
#pragma once
#include "losses/loss.h"

namespace gradus {

struct NormalisedOptions {
  Form form = Form::closed;
};

Tensor init_norm(At losses, const Tensor& init, NormalisedOptions = {});  // [K], [K] -> []
// losses [2] classification, regression; class_probs [C] sum to 1; y [N]  -> []
Tensor prior_norm(At losses, const Tensor& class_probs, const Tensor& y, NormalisedOptions = {});
Tensor live_norm(At losses, NormalisedOptions = {});  // [K] -> []

Losses normalised_losses();  // init_norm, prior_norm, live_norm

}  // namespace gradus
