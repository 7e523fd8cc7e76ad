// The costs of EMO (losses/softmax/emo.h): labels and their rows, cosines to them, what a class costs, who is near.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// Which rows count. Ignored ones stand at class 0, so that every label can be looked up.
struct EmoLabels {
  Tensor labels;    // i64 [N]
  Tensor ignored;   // u8 [N,1], 1 where ignored
  double kept = 0;  // how many are not
  EmoLabels(const char* op, const Tensor& target, Index ignore_index);
};

// cos(e_t, e_j): the unit row of each label, gathered, times all unit rows.
Tensor cosines_to_labels(const Tensor& emb, const Tensor& labels);  // [C,D], i64 [N] -> [N,C]
// 1 - cosine, and exactly 0 at the label; 1 there if its embedding is 0.
Tensor emo_costs(const Tensor& cosines, const Tensor& labels);  // [N,C], i64 [N] -> [N,C]
// u8 [N,C]: 1 at the label and its k nearest, the lower index first where cosines tie. O(C) a row.
Tensor nearest_to_labels(const Tensor& cosines, const Tensor& labels, Index k);

}  // namespace gradus
