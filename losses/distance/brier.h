// Brier score: the squared error of the softmax against the one-hot label.                       [A018; B018, C46]
//
//   L = sum_c (p_c - [c = t])^2 = (1 - p_t)^2 + sum_{c != t} p_c^2         p = softmax(z), z [N,C]; one L per row
//
// Derivation. Over labels with frequencies pi the mean of L is sum_c (p_c - pi_c)^2 + a constant: its least value is at
// p = pi, so the score is proper, and squared error does suit many classes (C46). The absolute error does not: its optimum
// puts everything on the most frequent class.
// With d = p - onehot(t) and dp_k/dz_j = p_k ([k = j] - p_j),
//   dL/dz_j = 2 p_j (d_j - sum_k p_k d_k)
// At the label, d_t - sum_k p_k d_k = -(1 - p_t)^2 - sum_{c != t} p_c^2 = -L, so dL/dz_t = -2 p_t L. Where p_t is nearly 0
// the gradient is too: a badly wrong row hardly learns. Cross entropy does not have that fault.
//
// Safe form. 1 - p_t = -expm1(log p_t) keeps its digits where p_t is nearly 1; so does 1 - p_k of the greatest p_k.
//
// Promises. 0 <= L <= 2. A shift of a row's logits changes nothing; its gradient sums to 0. No rows: 0.
// Elsewhere. Brier 1950 sums over classes, as here; mse(softmax(z), onehot) is L / C; scikit-learn halves it for two
//   classes.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct BrierOptions {
  Reduction reduction = Reduction::mean;  // mean divides by N
  Form form = Form::closed;
};

Tensor brier(At logits, const Tensor& target, BrierOptions = {});  // [N,C], labels int [N] -> [] or [N]

Losses brier_losses();  // brier

}  // namespace gradus
