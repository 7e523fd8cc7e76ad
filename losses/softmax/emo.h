// EMO, earth mover's distance of a prediction from its label: wrong classes cost what they are apart.    [A044-A049]
//
//   L = sum_i p_i c_it,   p = softmax(z),   c_it = 1 - cos(e_i, e_t)       z [N,C] logits, e [C,D] embeddings, t labels
//
// A plan that moves p onto the one class t has no choice: everything goes to t. So the optimal transport is this sum.
//
// Derivation. With unit rows u_i = e_i / |e_i|, L = 1 - <sum_i p_i u_i, u_t>; with dp_i/dz_j = p_i ([i = j] - p_j)
//   dL/dz_j = p_j (c_jt - L)
// Classes cheaper than the loss so far are pulled up, dearer ones pushed down. It is NOT 1 - cos(sum_i p_i u_i, e_t):
// the two agree only where the mean of the unit vectors has length 1 itself (C01).
//
//   emo          e is fixed, its costs are constants
//   emo_dynamic  e is live: dL/dc_jt = p_j goes on to both e_j and e_t
//   emo_topk     c_it as above for t and its k nearest neighbours by cosine (ties: the lower index), 1 for all others:
//                L = 1 - sum_{i in {t} + kNN(t)} p_i cos(e_i, e_t)
//   emo_soft     targets q [N,C] and the independent coupling: L = sum_ij p_i q_j c_ij, which is
//                sum_j q_j - <sum_i p_i u_i, sum_j q_j u_j>: an upper bound of the optimal transport, not 0 at p = q
//   Other costs: expected_cost (losses/softmax/emo_expected_cost.h).
//
// Cost. u_t is gathered: O(N C D) time in one product, O(N C + C D) memory; no one-hot matrix and no C x C costs.
//
// Promises. 0 <= L <= 2. c_tt is exactly 0, so a right answer beyond doubt costs its 1e-20. An embedding of 0 has
//   cosine 0: all its costs are 1. The scale of an embedding does not count. The gradient of a row sums to 0 and
//   VANISHES at every corner of the simplex, the wrong ones too (C03): begin with cross entropy, or mix it in. Ignored
//   rows count nowhere.
// Elsewhere. DRSY/EMO adds q_y to L, multiplies a dense one-hot matrix by e, and hides 1e-15 in a division.
#pragma once
#include "losses/loss.h"
#include "losses/softmax/emo_expected_cost.h"

namespace gradus {

struct EmoOptions {
  Index ignore_index = -100;              // rows with this label are left out
  Reduction reduction = Reduction::mean;  // over rows kept
  Form form = Form::closed;
};

// logits [N,C], emb [C,D], target int [N] -> [] or [N]
Tensor emo(At logits, const Tensor& emb, const Tensor& target, EmoOptions = {});
Tensor emo_dynamic(At logits, const Tensor& emb, const Tensor& target, EmoOptions = {});

struct EmoTopkOptions {
  Index k = 10;  // neighbours beside the label itself; C - 1 and more keep all
  Index ignore_index = -100;
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

Tensor emo_topk(At logits, const Tensor& emb, const Tensor& target, EmoTopkOptions = {});

// target_probs [N,C], differentiable
Tensor emo_soft(At logits, const Tensor& emb, const Tensor& target_probs, ExpectedCostOptions = {});

Losses emo_losses();  // emo, emo_dynamic, emo_topk, emo_soft

}  // namespace gradus
