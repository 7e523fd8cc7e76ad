// Limits on gradients, between backward and the optimizer's step.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// |g| over all gradients together: sqrt of the sum of squares, in double. Parameters without a gradient add nothing.
double grad_norm(const std::vector<Tensor>& parameters);

// g *= min(1, max_norm / (|g| + 1e-6)); returns |g| as it was.
// A norm that is not finite is an error that names the parameter, and nothing is written: scaling by it would turn every
// gradient into NaN. (PyTorch does so silently unless error_if_nonfinite is set.)
double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm);

// Every element of every gradient is moved into [-clip_value, clip_value]; NaN stays NaN.
void clip_grad_value(const std::vector<Tensor>& parameters, double clip_value);

}  // namespace gradus
