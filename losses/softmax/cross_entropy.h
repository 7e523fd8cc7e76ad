// Cross entropy between the targets and the softmax of the logits.                     [A002, A008, A011-A014; C30, C31]
//
//   L = -sum_c q_c log p_c,   p = softmax(z)                    z [N,C] logits; one L per row
//
// Every variant is a choice of q:
//   hard label t                  q_c = [c = t]
//   soft target                   q_c = t_c, which need not sum to 1
//   label smoothing eps           q_c = (1 - eps) (above) + eps / C
//   class weights                 q_c = w_c (above)
//   ignored row                   q = 0
//
// Derivation. With lse = log sum_k e^{z_k}, log p_c = z_c - lse, so
//   L = sum_c q_c (lse - z_c)
//   dlse/dz_j = e^{z_j} / sum_k e^{z_k} = p_j
//   dL/dz_j = Q p_j - q_j,   Q = sum_c q_c                      for a hard label: p_j - [j = t]
//   dL/dq_c = lse - z_c = -log p_c
//
// Safe form. With m = z_k the greatest logit, lse - m = log(1 + sum_{j != k} e^{z_j - m}): nothing overflows, and when
// p_k is so near 1 that 1 - p_k = 1e-20, L is 1e-20 and not 0. Where q_c = 0 the term is 0, whatever z_c: 0 log 0 = 0.
//
// Promises. L >= 0 for q >= 0. A shift of a row's logits changes nothing; the gradient of a row sums to 0 (hard or smoothed
//   or q summing to Q). Finite wherever the true value is, in f32 too. Ignored rows count nowhere, also when their logits
//   are NaN. No row left: L = 0, gradient 0. Non-finite logits: NaN in, NaN out; a debug tape names the place.
// Elsewhere. PyTorch F.cross_entropy: same names, defaults and values, but NaN when all rows are ignored, and an ignored
//   row or a -inf logit with a zero target poisons the batch.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CrossEntropyOptions {
  Tensor weight = {};                     // [C], one factor per class; undefined: all 1
  Index ignore_index = -100;              // rows with this label are left out; hard labels only
  Reduction reduction = Reduction::mean;  // hard labels: sum / sum_rows w_t over rows kept;  soft: sum / N
  double label_smoothing = 0;             // eps in [0,1]
  Form form = Form::closed;
};

// logits [N,C]; target: labels int [N], or probabilities [N,C] of the logits' type, differentiable too.  -> [] or [N]
Tensor cross_entropy(At logits, const Tensor& target, CrossEntropyOptions = {});

Losses cross_entropy_losses();  // cross_entropy, soft_cross_entropy

}  // namespace gradus
