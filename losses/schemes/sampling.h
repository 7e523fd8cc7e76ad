// Long tails by sampling or by weights: every class its share.                                           [A039]
//
// oversampled_batch: first a class, each as likely, then a row of it. Rare rows come again and again, which overfits
// them: the baseline that re-weighted losses are held against.
// inverse_frequency_weights: the same balance as weights of a loss,
//   w_c = N / (K n_c)          over the K classes that have rows; 0 for an empty class
// so every class weighs N / K in all, and all rows together N.
//
// Promises. A batch has `size` rows, drawn with replacement; the same Rng gives the same batch.
// Elsewhere. scikit-learn class_weight="balanced": the same weights. PyTorch WeightedRandomSampler with them: this batch.
#pragma once
#include "engine/random.h"

namespace gradus {

// labels int [N] -> indices of rows
std::vector<Index> oversampled_batch(const Tensor& labels, Index size, Rng& rng);

Tensor inverse_frequency_weights(const Tensor& class_counts);  // [C] -> f64 [C]

}  // namespace gradus
