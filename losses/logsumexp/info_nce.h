// InfoNCE: each query should find its own key among all keys of the batch.                      [A071, A072, A080; C13]
//
//   L_i = -log( e^{cos(q_i, k_i) / t} / sum_j e^{cos(q_i, k_j) / t} )         q, k [N,D], t the temperature
//
// A cross entropy whose classes are the other samples: N classes, label i. symmetric adds the direction from keys to
// queries and takes the mean of both, which is the loss of CLIP.
//
// Derivation. With x_ij = cos(q_i, k_j) / t, L_i = log sum_j e^{x_ij} - x_ii, so dL_i/dcos_ij = (p_ij - [j = i]) / t:
// see info_nce_rows.h. The cosines are one matrix product of the normalised rows; of more than 4096 rows
// they are computed by blocks of rows, in both passes, and never all at once.
//
// False negatives. Where two rows are the same thing, k_j is no wrong answer for q_i. ids name the things: keys with
// the id of the query, other than its own, are left out of the sum.
//
// Promises. L_i >= 0; all cosines equal: log N; N = 1: 0. A zero vector has cosine 0 with all, and gradient 0. Lengths
//   do not count. It is CoSENT of one anchor: scores cos(q_i, .), label 1 for k_i and 0 for the others, scale 1 / t.
// Elsewhere. MoCo and pytorch-metric-learning: t = 0.07, the default here. sentence-transformers
//   MultipleNegativesRankingLoss: scale 20, which is t = 0.05, and duplicates stay in as negatives.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct InfoNceOptions {
  double temperature = 0.07;
  bool symmetric = false;
  Tensor ids = {};                        // [N] integer; undefined: all keys are different things
  Reduction reduction = Reduction::mean;  // over the N queries
  Form form = Form::closed;
};

// q, k [N,D].  -> [] or [N]
Tensor info_nce(At q, const Tensor& k, const InfoNceOptions& = {});

// The same from a similarity matrix [N,N], own keys on the diagonal.
Tensor info_nce_of_similarity(At similarity, const InfoNceOptions& = {});

Losses info_nce_losses();  // info_nce

}  // namespace gradus
