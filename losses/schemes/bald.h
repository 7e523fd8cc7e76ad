// BALD: how much the label of x would tell about the model. Scores unlabelled data for active learning.
//                                                                                     [A162, A165; B043, B044]
//   I = H(m) - 1/K sum_k H(p_k),   m = 1/K sum_k p_k        p [K,N,C]: K posterior samples (dropout, an ensemble)
//
// Derivation. Mutual information of label and parameters: total uncertainty less the mean uncertainty of each sample.
// As sum_k p_k = K m, it is the mean divergence from the consensus,
//   I = 1/K sum_k sum_c [ p_kc log(p_kc / m_c) - p_kc + m_c ]
//   dI/dp_kc = log(p_kc / m_c) / K
// Every bracket is >= 0 (it is m f(p/m), f(u) = u log u - u + 1): nothing large cancels, as entropies would.
//
// Entropy alone cannot tell a coin that all samples call fair (I = 0) from one on which they disagree (I = log 2): H(m)
// is log 2 for both.
//
// Promises. 0 <= I <= min(log K, log C); K = 1 or samples that agree give 0. 0 log 0 = 0; at p = 0 the derivative is
//   infinite and 0 is given. The order of the samples changes nothing. Computed in f64 inside.
// Elsewhere. baal: the same value as a difference of entropies, which loses the digits of a small I.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct BaldOptions {
  Form form = Form::closed;
};

Tensor bald(At probs, BaldOptions = {});  // [K,N,C] -> [N]

Losses bald_losses();  // bald

}  // namespace gradus
