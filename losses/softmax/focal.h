// Focal loss: cross entropy that turns away from rows it has already learnt.                 [A027-A030; C34, C35, C38]
//
//   L = -alpha_t (1 - p_t)^gamma log p_t,   p = softmax(z)         z [N,C] logits, t label, gamma >= 0; one L per row
//
// gamma = 0 is cross entropy with class weights alpha. At gamma = 2 a row with p_t = 0.99 weighs 1e-4.
//
// Derivation. With l = log p_t and dl/dz_j = [j = t] - p_j,
//   dL/dl = -alpha_t ((1 - p_t)^gamma - gamma l p_t (1 - p_t)^{gamma - 1})
//         = -alpha_t (1 - p_t)^gamma (1 + gamma p_t h),   h = -l / (1 - p_t)
//   dL/dz_j = dL/dl ([j = t] - p_j)
// h -> 1 as p_t -> 1: in this form no power is negative. The textbook form has (1 - p_t)^{gamma - 1}, which for gamma <
// 1 is infinity times 0 at p_t = 1 (C35).
//
// Safe form. (1 - p_t)^gamma = e^{gamma log(1 - e^l)}, with log(1 - e^l) by expm1 or log1p.
//
// Promises. L >= 0, finite wherever the true value is, for every gamma, in f32 too. A row's gradient sums to 0, but is
//   not bounded by 1 as that of cross entropy: two classes reach 1.129 at gamma = 2 and 1.315 at gamma = 5. No row
//   left: 0. Focal is not proper: its best p is flatter than the truth, (.5785,.4215) for (.7,.3) at gamma = 2, so it
//   is no Bregman divergence and its p_t no probability (A030). dL/dgamma = L log(1 - p_t) <= 0: descent on gamma runs
//   away, an adaptive gamma has to be a schedule (A029); gamma is an argument of each call.
// Elsewhere. Lin 2017 has the sigmoid form (focal_sigmoid). Keras CategoricalFocalCrossentropy clips p at 1e-7 and with
//   it the gradient of saturated rows. The LDAM repository takes p from an already weighted cross entropy, here alpha
//   never enters p.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct FocalOptions {
  double gamma = 2;
  Tensor alpha = {};                      // [C], one factor per class; undefined: all 1
  Index ignore_index = -100;              // rows with this label are left out
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows kept, whatever alpha
  Form form = Form::closed;
};

// logits [N,C], labels int [N] -> [] or [N]
Tensor focal(At logits, const Tensor& target, FocalOptions = {});

Losses focal_losses();  // focal

}  // namespace gradus
