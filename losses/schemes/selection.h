// Choosing which rows to learn from: small-loss selection for noisy labels, by two networks.
//                                                                                                        [A166, A167]
// Networks fit clean labels before noisy ones, so rows of small loss are likelier clean. Of N rows k = floor(keep N)
// are kept, at least one; which they are is a constant.
//
// co_teaching (Han et al. 2018). Each network learns from the rows that its peer finds easy, so that it does not feed
// on its own mistakes. With S_a the k rows of least CE of network a:
//   L = 1/k [ sum_{i in S_2} CE(z1_i, y_i) + sum_{i in S_1} CE(z2_i, y_i) ]
// The networks share no weights: the gradient of the sum is each one's own.
//
// jocor (Wei et al. 2020). Both learn from the rows on which their joint loss is least, and are pulled together:
//   l_i = (1 - lambda) (CE1 + CE2) + lambda J
//   J = KL(p1 || p2) + KL(p2 || p1) = sum_c (p1 - p2) d,   d = log p1 - log p2
//   L = 1/k sum_{i in S} l_i,   S the k rows of least l
// Derivation. dKL(p1 || p2)/dz1_j = p1_j (d_j - K), K = KL(p1 || p2), and dKL(p2 || p1)/dz1_j = p1_j - p2_j, so
//   dJ/dz1_j = p1_j (d_j - K) + p1_j - p2_j, and the same with 1 and 2 exchanged.
// d_j - K = (d_j - d_m) - sum_c p1_c (d_c - d_m) with m the likeliest class: then nothing cancels when p1_m is near 1.
//
// Promises. keep = 1 and lambda = 0 of jocor are the two plain losses. Ties go to the lower row, NaN counts as
//   greatest. No rows: 0.
// Elsewhere. The authors' co-teaching divides a mean by k once more (bhanML/Co-teaching#9): steps too small by k.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CoTeachingOptions {
  double keep = 0.8;                      // in (0,1]: 1 less the share of noisy labels, see keep_rate()
  Reduction reduction = Reduction::mean;  // mean: over the rows kept; none: [N], 0 where not kept
  Form form = Form::closed;
};
// logits1, logits2 [N,C], target int [N] -> [] or [N]
Tensor co_teaching(At logits1, const Tensor& logits2, const Tensor& target, CoTeachingOptions = {});

struct JocorOptions {
  double keep = 0.8;
  double lambda = 0.1;  // in [0,1], weight of the agreement
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};
Tensor jocor(At logits1, const Tensor& logits2, const Tensor& target, JocorOptions = {});

// 1 - noise min(epoch / gradual, 1): all rows at first, the clean share from epoch `gradual` on (Han et al. 2018).
double keep_rate(double epoch, double noise, double gradual = 10);

// The `count` least of losses [N] as a mask of 1 and 0, of the losses' type; a constant.
Tensor least_mask(const Tensor& losses, Index count, Form form = Form::closed);

Losses selection_losses();  // co_teaching, jocor

}  // namespace gradus
