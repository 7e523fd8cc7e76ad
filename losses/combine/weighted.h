// Sums of task losses with fixed weights.                                     [A123, A124, A125, A132, A141; B121, C63]
//
//   L = sum_i w_i L_i                                           L_i [K] the losses of the tasks, w [K] constants
//
//   weighted_sum   any w; none: all 1, the naive sum
//   simplex_sum    w = alpha with alpha_i >= 0 and sum alpha = 1: K - 1 degrees of freedom for the same set of optima
//   hierarchical   K = 4 levels of text, alpha L_char + beta L_word + gamma L_phrase + delta L_sentence
//
// Derivation. The sum is linear: dL/dL_i = w_i, so the gradient of the network is sum_i w_i grad L_i. What a task
// weighs in it is |w_i grad L_i|, not the share w_i L_i / L of the value: a constant added to L_i moves the value,
// never the update. Losses of different units should first be made comparable (normalised.h, learned.h,
// gradient_balance.h).
//
// Safe form. A task with weight 0 is switched off: its term is 0 also when its loss is infinite or NaN.
//
// Promises. Linear in the losses and in w. No tasks: 0. Weights are constants; to learn them see learned.h.
// Elsewhere. In PyTorch one writes (w * torch.stack(losses)).sum(), where 0 * inf is NaN. Keras: loss_weights.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct WeightedSumOptions {
  Tensor weights = {};  // [K]; undefined: all 1
  Form form = Form::closed;
};
// losses [K] -> [].  stack({l1, l2}) of ops/shape_ops.h makes losses from scalars, here and in this whole folder.
Tensor weighted_sum(At losses, WeightedSumOptions = {});

struct SimplexSumOptions {
  Form form = Form::closed;
};
Tensor simplex_sum(At losses, const Tensor& alpha, SimplexSumOptions = {});  // [K], [K] -> []

struct HierarchicalOptions {
  double alpha = 1, beta = 1, gamma = 1, delta = 1;  // of characters, words, phrases, sentences
  Form form = Form::closed;
};
Tensor hierarchical(At losses, HierarchicalOptions = {});  // [4] char, word, phrase, sentence -> []

Losses weighted_losses();  // weighted_sum, simplex_sum, hierarchical

}  // namespace gradus
