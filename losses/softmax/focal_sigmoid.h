// Focal loss of yes-or-no questions: binary cross entropy, damped where the answer is already right.     [A015, A028]
//
//   l = a_t (1 - p_t)^gamma b,   b = -(y log p + (1 - y) log(1 - p)),   p = s(x) = 1 / (1 + e^-x)
//   p_t = p y + (1 - p)(1 - y)        a_t = alpha y + (1 - alpha)(1 - y), or 1 when alpha < 0
//
// Derivation. With q = 1 - p_t = (1 - y) p + y (1 - p),
//   dq/dx = (1 - 2y) p (1 - p)        db/dx = p - y
//   dl/dx = a_t q^gamma (gamma b (dq/dx) / q + db/dx)
// For y = 1, q = 1 - p and (dq/dx) / q = -p; for y = 0, q = p and (dq/dx) / q = 1 - p: the division is gone.
//
// Safe form. q^gamma = e^(gamma log q), log q = -softplus(x) for y = 1 and -softplus(-x) for y = 0. Nothing is
// subtracted from 1 and no power has a negative exponent, so gamma in (0,1) is finite at every logit. Soft targets take
// the log-sum-exp of both.
//
// Promises. gamma = 0 is bce_with_logits times a_t. l >= 0 for alpha <= 1. Answers right beyond doubt keep their
//   digits: l is 1e-30 and not 0. No elements: 0, gradient 0. Targets are constants.
// Elsewhere. torchvision sigmoid_focal_loss: same names, defaults and values but for the reduction, which is none
//   there; its gradient for gamma in (0,1) is NaN from logit 20 on: 1 - p_t rounds to 0, and 0^(gamma - 1) follows.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct FocalSigmoidOptions {
  double alpha = 0.25;                    // at most 1: weight of the yes side; below 0: no weights
  double gamma = 2;                       // >= 0
  Reduction reduction = Reduction::mean;  // over all elements
  Form form = Form::closed;
};

Tensor focal_sigmoid(At logits, const Tensor& targets, FocalSigmoidOptions = {});  // [..], [..] -> [] or [..]

Losses focal_sigmoid_losses();  // focal_sigmoid

}  // namespace gradus
