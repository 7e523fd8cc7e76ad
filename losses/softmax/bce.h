// Binary cross entropy: one yes-or-no question per element, the answer a logit or a probability.  [A015-A017; C44-C49]
//
//   l = -(w y log p + (1 - y) log(1 - p)),   p = s(x) = 1 / (1 + e^-x)        y in [0,1], w = pos_weight, 1 without it
//
// It is the softmax cross entropy of two classes with logits (x, 0).
//
// Derivation. -log s(x) = log(1 + e^-x) = softplus(-x) and 1 - s(x) = s(-x), so
//   l = w y softplus(-x) + (1 - y) softplus(x)
//   dsoftplus(x)/dx = s(x)
//   dl/dx = (1 - y) s(x) - w y s(-x)                            without w: s(x) - y
//   dl/dy = w softplus(-x) - softplus(x)                        without w: -x
//   dl/dp = (1 - y) / (1 - p) - y / p                           when p is what is given
//
// Safe form. softplus(x) = max(x, 0) + log(1 + e^-|x|). From probabilities, log(1 - p) is log1p(-p). A term whose
// factor is 0 is 0, whatever stands behind it: 0 log 0 = 0.
//
// Promises. l >= 0 for y in [0,1] and w >= 0. |dl/dx| <= max(1, w): it fades only where the answer is right, while l
//   itself has no bound. Logits of any size are finite in f32. bce_probs with p = 0 for a certain yes is infinite,
//   because it is: nothing is clamped; take the logits. No elements: 0, gradient 0.
// Elsewhere. PyTorch binary_cross_entropy_with_logits: same names, defaults and values. Its binary_cross_entropy clamps
//   the logarithms at -100, flashlight and mlpack take them bare.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct BceOptions {
  Tensor pos_weight = {};                 // [C], C the last axis: a factor on the yes side; undefined: all 1
  Reduction reduction = Reduction::mean;  // over all elements
  Form form = Form::closed;
};

// Targets are differentiable, pos_weight is a constant.
Tensor bce_with_logits(At logits, const Tensor& targets, BceOptions = {});  // [..], [..] -> [] or [..]

struct BceProbsOptions {
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

Tensor bce_probs(At p, const Tensor& targets, BceProbsOptions = {});  // [..], [..] -> [] or [..]

Losses bce_losses();  // bce_with_logits, bce_probs

}  // namespace gradus
