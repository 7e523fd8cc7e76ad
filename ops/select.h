// Choosing: comparisons, where, masked_fill, maximum, minimum.
//
// Note [Safe where]. where(c, a, b) computes both branches and then selects, so a NaN in the branch that is not taken does
// not reach y. In the gradient it does: for y = where(x > 0, sqrt(x), 0) at x = 0, the sqrt receives the gradient 0, its
// derivative is infinite, and 0 * inf = NaN arrives at x. The remedy is to make the branch safe before it computes:
//   safe = where(x > 0, x, 1);   y = where(x > 0, sqrt(safe), 0)
// A debug tape stops at such a step and says so.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// Masks: u8, 1 where the relation holds. Operands broadcast, of any one type; no gradient.
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
Tensor equal(const Tensor& a, const Tensor& b);
Tensor not_equal(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& mask);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);

// y = a where mask else b        dy/da = mask        dy/db = 1 - mask.   mask is u8; all three broadcast.
Tensor where(const Tensor& mask, At a, const Tensor& b);
// y = value where mask else x        dy/dx = 1 - mask
Tensor masked_fill(At x, const Tensor& mask, double value);
// y = max(a, b)        dy/da = 1 if a > b, 1/2 if a = b, else 0, as in PyTorch
Tensor maximum(At a, At b);
// y = min(a, b)        dy/da = 1 if a < b, 1/2 if a = b, else 0
Tensor minimum(At a, At b);

}  // namespace gradus
