// argmax, argsort and sort along one axis. Indices have no gradient; sorted values are constants here too.
// Ties: the first index wins; sorting is stable. NaN is the maximum (and the minimum), and sorts last.
#pragma once
#include "engine/tensor.h"

namespace gradus {

Tensor argmax(const Tensor& x, int axis);                            // i64
Tensor argsort(const Tensor& x, int axis, bool descending = false);  // i64
struct Sorted {
  Tensor values, indices;
};
Sorted sort(const Tensor& x, int axis, bool descending = false);

// argsort of indices i64 [K] that all lie in 0..n-1: on a GPU as many passes as n has bytes.
Tensor argsort_indices(const Tensor& indices, Index n);

}  // namespace gradus
