// CoSENT ranks scores by their labels: every pair that the labels order, the scores should order too.
//                                                                        [A060-A070, A075, A077; C08-C19, C21-C23]
//
//   L = log(1 + sum_{y_i > y_j} e^{k (s_j - s_i)})              s [N] scores, y [N] labels, k > 0 scale
//
// Read it as a smooth max(0, worst violation): 0 <= L / k - max(0, max (s_j - s_i)) <= log(1 + pairs) / k. And as a
// bound of the ranking error: L >= log(1 + inversions). k is an inverse temperature: with one sample on top of all
// others L is InfoNCE at temperature 1 / k.
//
// Derivation. One log-sum-exp over 0 and all ordered pairs, so one denominator, 1 + S = e^L. A score is in it twice:
//   upper_i = sum_{j: y_j < y_i} e^{k (s_j - s_i)} / e^L        i should win these
//   lower_i = sum_{j: y_j > y_i} e^{k (s_i - s_j)} / e^L        i should lose these
//   dL/ds_i = k (lower_i - upper_i),   dL/dk = sum_i s_i (lower_i - upper_i)
// The weights of the pairs sum to 1 - e^{-L}: what is ordered well stops pushing.
//
// Cost. Sorted by label both sums are exclusive prefix log-sum-exps: O(N log N) time, O(N) memory. The pair matrix of
// the definition takes O(N^2) of both. On a GPU the sort and the sums are a few kernels (cosent_device.h). The loss of a
// batch is not the sum of the losses of its parts: accumulating gradients over small batches drops the comparisons
// between them.
//
// Promises. Only the order of labels counts; equal labels are never compared, so all labels equal: 0, gradient 0.
//   A shift of all scores changes nothing; gradients sum to 0 and their sizes to at most 2 k (1 - e^{-L}). Finite in
//   f32 for any k |s|, and exact to the last digits: differences are taken in double. NaN scores that are compared:
//   NaN out. A learned k grows without limit on data that is ordered well: bound it, or let it decay.
// Elsewhere. sentence-transformers CoSENTLoss and bert4torch: same value, scale 20, O(N^2) time and memory, and a mask
//   of -1e12 that half precision cannot hold.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CosentOptions {
  double scale = 20;  // k
  Form form = Form::closed;
};

// scores [N], labels [N] of any type.  -> []
Tensor cosent(At scores, const Tensor& labels, CosentOptions = {});

// scores_r = cos(u_r, v_r); a zero vector has score 0. u, v [N,D], labels [N].  -> []
Tensor cosent_embeddings(At u, const Tensor& v, const Tensor& labels, CosentOptions = {});

// The scale is a tensor [] > 0 and receives a gradient too.  -> []
Tensor cosent_scaled(At scores, const Tensor& labels, const Tensor& scale, Form form = Form::closed);

// scale = softplus(raw) + 10: always above 10, and raw = 9.99995 is a scale of 20. raw [].  -> []
Tensor cosent_learnable_scale(At scores, const Tensor& labels, const Tensor& raw, Form form = Form::closed);

// A scale for scores as spread as these: alpha / their standard deviation (divisor N - 1). scores [N], not all equal;
// reads them on the CPU.
double cosent_initial_scale(const Tensor& scores, double alpha = 4);

// Cosine schedule: `high` at epoch 0, `low` at epoch `epochs`, the middle half way. Starts sharp and ends soft.
double cosent_scale_schedule(double epoch, double epochs, double low = 10, double high = 50);

Losses cosent_losses();  // cosent, cosent_embeddings, cosent_learnable_scale

}  // namespace gradus
