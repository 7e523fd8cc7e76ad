// Labels of rows: their checks, what a mean over them divides by, and the tables that definitions make of them.
//
// A row whose label is ignore_index is left out. Labels are i64 or i32 [N]; everything is computed where they lie.
#pragma once
#include "losses/reduction.h"

namespace gradus {

// Errors of `op`: logits that are not [N,C], a target that is not one label for each row; a vector that is not [C].
void check_labelled_logits(std::string_view op, const Tensor& logits, const Tensor& target, Index ignore_index);
void check_class_vector(std::string_view op, std::string_view what, const Tensor& vector, const Tensor& logits);

// reduce_rows over labelled rows: the mean divides by how many count, or by their weights' sum; 0 when none is left.
Tensor reduce_labelled(At losses, Reduction reduction, const Tensor& target, Index ignore_index,
                       const Tensor& weight = {});

// Labels that can be looked up: ignored ones stand at class 0.
struct KeptLabels {
  Tensor labels;   // i64 [N]
  Tensor ignored;  // u8 [N,1], 1 where ignored
  KeptLabels(std::string_view op, const Tensor& target, Index ignore_index);
};

// For kernels: the weight of row r, 0 where its label is ignored.
template <class T> struct RowWeight {
  const Index* label;  // [N]
  const T* weight;     // [C] or null: all 1
  Index ignore;
  HD T operator()(Index r) const { return label[r] == ignore ? T(0) : weight ? weight[label[r]] : T(1); }
};

// w_t for each label, 0 where ignored; w = 1 when undefined.  [N]
Tensor label_weights(const Tensor& target, const Tensor& weight, Index ignore_index, DType dtype);
// w_t at the label of each row and 0 elsewhere; a row of 0 where ignored.  [N,C]
Tensor label_rows(const Tensor& target, Index classes, const Tensor& weight, Index ignore_index, DType dtype);

}  // namespace gradus
