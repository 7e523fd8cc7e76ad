// Entropy of the predictions: how undecided each row is, in nats.                                    [A001, A022; B021]
//
//   H = -sum_c p_c log p_c,   p = softmax(z)                    z [N,C] logits; one H per row
//
// Derivation. df/dp_c = -(log p_c + 1), and dp_c/dz_j = p_c ([c = j] - p_j). The 1 falls out because sum_c dp_c = 0:
//   dH/dz_j = -p_j (log p_j + H)
//
// Safe form. log p as in divergence_rows.h: where one class is sure, H is its 1e-20 and not 0. 0 log 0 = 0.
//
// Promises. 0 <= H <= log C, log C exactly at equal logits; a shift of a row changes nothing, and its gradient sums to
//   0. One class: 0. No rows: an empty tensor. A sure row (logits of 1e4) has H = 0 and gradient 0.
// Elsewhere. PyTorch torch.distributions.Categorical(logits=z).entropy(): same values.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct EntropyOptions {
  Reduction reduction = Reduction::none;  // mean: over rows
  Form form = Form::closed;
};

Tensor entropy(At logits, EntropyOptions = {});  // [N,C] -> [N] or []

Losses entropy_losses();  // entropy

}  // namespace gradus
