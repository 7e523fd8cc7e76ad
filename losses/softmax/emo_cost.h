// The costs of EMO (losses/softmax/emo.h): cosines to labels, what a class costs, who is near.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// cos(e_t, e_j): the unit row of each label, gathered, times all unit rows.
Tensor cosines_to_labels(const Tensor& emb, const Tensor& labels);  // [C,D], i64 [N] -> [N,C]
// 1 - cosine, and exactly 0 at the label; 1 there if its embedding is 0.
Tensor emo_costs(const Tensor& cosines, const Tensor& labels);  // [N,C], i64 [N] -> [N,C]
// u8 [N,C]: 1 at the label and its k nearest, the lower index first where cosines tie. O(C) a row.
Tensor nearest_to_labels(const Tensor& cosines, const Tensor& labels, Index k);

}  // namespace gradus
