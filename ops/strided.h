// y[i, j, ...] = x[i s_0 + j s_1 + ...]: one copy that serves permute (strides in another order) and broadcast (stride 0).
#pragma once
#include "engine/tensor.h"

namespace gradus {

// Fills y from x; strides[k] elements of x lie between neighbours along axis k of y.
void strided_copy(const Tensor& x, std::span<const Index> strides, Tensor& y);

}  // namespace gradus
