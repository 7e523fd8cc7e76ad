// layer_norm, norm and l2_normalize, along the last axis.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// y = weight (x - mean) / sqrt(var + eps) + bias, var with divisor D        x [..,D], weight and bias [D] or undefined
Tensor layer_norm(At x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);

// y = |x|        dx = dy x / |x|, 0 at 0        [..,D] -> [..]; exact for tiny and huge rows too
Tensor norm(At x);

// y = x / |x|; a zero row stays zero, with gradient zero. (PyTorch divides by max(|x|, 1e-12) instead.)
Tensor l2_normalize(At x);

}  // namespace gradus
