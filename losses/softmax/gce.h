// Generalised cross entropy: between -log p_t and 1 - p_t by a power, robust against wrong labels.
//
//   L = (1 - p_t^q) / q,   p = softmax(z)                        z [N,C] logits, t label, q in (0,1]; one L per row
//
// q -> 0 is cross entropy, q = 1 is 1 - p_t. L <= 1/q: one wrong label costs a bounded amount. gamma_ce joins the same
// ends by another curve.
//
// Derivation. With l = log p_t: L = (1 - e^{q l}) / q and dL/dl = -p_t^q, so
//   dL/dz_j = p_t^q (p_j - [j = t])                              cross entropy, times p_t^q
//
// Safe form. L = -expm1(q l) / q for any q, however small; the gradient has no p_t^{q - 1}, infinite at p_t = 0.
//
// Promises. 0 <= L <= 1/q. A row's gradient sums to 0. No row left: L = 0, gradient 0. Not proper: the best p is
//   pi_k^{1/(1-q)} up to its sum, sharper than the truth pi.
// Elsewhere. Zhang and Sabuncu 2018, q = 0.7. Keras CategoricalGeneralizedCrossEntropy has q = 0.5.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct GceOptions {
  double q = 0.7;                         // in (0,1]
  Index ignore_index = -100;              // rows with this label are left out
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows kept
  Form form = Form::closed;
};

// logits [N,C], labels int [N] -> [] or [N]
Tensor gce(At logits, const Tensor& target, GceOptions = {});

Losses gce_losses();  // gce

}  // namespace gradus
