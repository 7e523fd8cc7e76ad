// Ops that move elements: transpose, permute, slice, cat, stack, pad, flip. reshape, x[i] and rows are members of Tensor.
// Gradients move the same elements back; pad and slice are each other's gradient, and so are cat and slice.
#pragma once
#include "engine/tape.h"

namespace gradus {

Tensor permute(At x, std::vector<int> order);                             // axis k of y is axis order[k] of x
Tensor transpose(At x, int axis0, int axis1);                             // two axes swapped
Tensor slice(At x, int axis, Index begin, Index end);                     // x[begin:end] along one axis
Tensor pad(At x, int axis, Index before, Index after, double value = 0);  // along one axis
Tensor cat(std::span<const Tensor> tensors, int axis = 0, UserLine = user_line());
Tensor cat(std::initializer_list<Tensor> tensors, int axis = 0, UserLine = user_line());
Tensor stack(std::span<const Tensor> tensors, int axis = 0, UserLine = user_line());
Tensor stack(std::initializer_list<Tensor> tensors, int axis = 0, UserLine = user_line());
Tensor flatten(At x, int first = 0, int last = -1);  // axes first..last become one
Tensor unsqueeze(At x, int axis);                    // an axis of size 1 before `axis`
Tensor squeeze(At x, int axis);                      // an axis of size 1 removed

// Without a gradient.
Tensor permuted(const Tensor& x, const std::vector<int>& order);

}  // namespace gradus
