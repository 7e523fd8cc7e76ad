// softmax and log_softmax along one axis.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// y_j = e^{x_j} / sum_k e^{x_k}        dx_j = y_j (dy_j - sum_k dy_k y_k)
// A row of -inf only is an error of the question, not of the answer: it gives NaN, as in PyTorch.
Tensor softmax(At x, int axis = -1);
// y_j = x_j - log sum_k e^{x_k}        dx_j = dy_j - e^{y_j} sum_k dy_k
Tensor log_softmax(At x, int axis = -1);

}  // namespace gradus
