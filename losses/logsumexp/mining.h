// Which comparisons and which samples a batch gives to a ranking loss.                     [A073, A074, A076; C20, C24]
//
// cosent_hardest restricts CoSENT to hard comparisons: each score is compared with the K highest of lower labels:
//   L = log(1 + sum_i sum_{j in H_i} e^{k (s_j - s_i)})
//   H_i = the K greatest s_j with y_j < y_i; of equal s the smaller j first
//
// Derivation. H_i is constant but where two scores swap ranks, so the gradient is that of CoSENT with fewer pairs. All
// i of one label share H, so both roles are sums by label, G labels with a list of at most K each:
//   dL/ds_i = k (lower_i - upper_i),  upper_i = sum_{j in H_i} e^{k (s_j - s_i)} / e^L
//   lower_j = the same sum over the i with j in H_i
// O(N log N + (N + G) K) time, O(N + G K) memory. The pairs are chosen on the CPU, from copies; sums and gradient are
// computed where the scores are (mining_device.h).
//
// Promises. Never above CoSENT, and within log(N / K) of it: dropped terms are no greater than those kept. K >= N:
//   CoSENT. Nothing to compare: 0, gradient 0. Finite in f32 for any k |s|.
// Elsewhere. Nothing under this name; miners of pytorch-metric-learning choose triplets.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CosentHardestOptions {
  double scale = 20;  // k
  Index top_k = 10;   // K
  Form form = Form::closed;
};

// scores [N], labels [N] of any type.  -> []
Tensor cosent_hardest(At scores, const Tensor& labels, CosentHardestOptions = {});

// For each row the `top_k` most similar rows of another label, the most similar first: positions in the batch, -1 where
// there are not so many. similarity [N,N], labels [N] integer.  -> i64 [N,top_k]
Tensor hardest_negatives(const Tensor& similarity, const Tensor& labels, Index top_k = 10);

// `batch_size` different positions in labels [n], the same number from each bucket of labels: below edges[0], from
// edges[0] to below edges[1], ... A remainder goes to the first buckets, what a short bucket lacks to the others.
// Drawn on the CPU, from a copy.  -> i64 [batch_size]
Tensor balanced_batch(const Tensor& labels, Index batch_size, Rng& rng, const std::vector<double>& edges = {0.3, 0.7});

Losses mining_losses();  // cosent_hardest

}  // namespace gradus
