// Multi-label cross entropy with soft targets: log t and log(1 - t) enter as margins.                       [A108 A120]
//
//   L = log(1 + sum_c t_c e^{-s_c}) + log(1 + sum_c (1 - t_c) e^{s_c})          s [N,C] scores, t [N,C] in [0,1]
//
// Targets of 0 and 1 give multilabel_ce. Options bias, margin and mask as there.
//
// Derivation. P = log(1 + sum t e^{-s}), Q = log(1 + sum (1 - t) e^s), L = P + Q:
//   dL/ds_c = (1 - t_c) e^{s_c - Q} - t_c e^{-s_c - P}
//   dL/dt_c = e^{-s_c - P} - e^{s_c - Q}
// The optimum has t e^{-s} = (1 - t) e^s and, with it, P = Q: t = sigmoid(2 s), not sigmoid(s). Decode with 2 s.
//
// Safe form. t e^{-s} = e^{-s + log t} in log1p_sum_exp.h. A term of weight 0 is 0 whatever its score. At t = 0 and
//   t = 1 the gradient to t is the one-sided derivative, which is finite; where it leaves the range of the type it is
//   cut off at e^88 (f32) or e^709 (f64).
//
// Promises. L >= 0. Finite in f32 for scores of 1e4 and any t. The gradients to s and to t are finite unless s is NaN.
// Elsewhere. bert4keras takes log t with a mask: NaN gradient to targets of 0 and 1.
#pragma once
#include "losses/logsumexp/multilabel.h"

namespace gradus {

// scores [N,C], targets [N,C] in [0,1] of the scores' type, differentiable too              -> [] or [N]
Tensor multilabel_ce_soft(At scores, const Tensor& targets, MultilabelOptions = {});

Losses multilabel_soft_losses();  // multilabel_ce_soft

}  // namespace gradus
