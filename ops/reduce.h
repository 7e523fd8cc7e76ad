// Reductions over one axis, several axes or all: sum, mean, max, min, logsumexp, var.
//
// Axes count from the front, -1 is the last; no axes means all of them. keepdim leaves size 1 where an axis was.
// Sums run in a fixed order, so the result does not depend on the number of threads.
// Empty axes: sum 0, mean NaN as in PyTorch, logsumexp -inf; max, min and argmax are an error.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// y = sum x        dy/dx = 1
Tensor sum(At x);
Tensor sum(At x, std::vector<int> axes, bool keepdim = false);
// y = sum x / n        dy/dx = 1 / n
Tensor mean(At x);
Tensor mean(At x, std::vector<int> axes, bool keepdim = false);
// y = sum (x - mean)^2 / (n - correction)        dy/dx = 2 (x - mean) / (n - correction)
Tensor var(At x, int axis, int correction = 1, bool keepdim = false);

// y = x_k, k the first index of the extreme        dy/dx_j = [j = k]
Tensor max(At x, int axis, bool keepdim = false);
Tensor min(At x, int axis, bool keepdim = false);
// y = log sum_j e^{x_j} = m + log sum_j e^{x_j - m}, m = max x        dy/dx_j = e^{x_j - y}
// All -inf gives -inf with gradient 0; +inf gives +inf.
Tensor logsumexp(At x, int axis, bool keepdim = false);

// Not recorded, for backward passes: the axes first..last-1 summed, each left with size 1.
Tensor summed_over(const Tensor& x, int first, int last);

}  // namespace gradus
