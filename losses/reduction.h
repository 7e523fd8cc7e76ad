// How many losses become one.
#pragma once
#include "engine/tensor.h"

namespace gradus {

enum class Reduction { mean, sum, none };

// losses [..] -> [] or [..].  mean divides by `divisor`, or is 0 with gradient 0 when the divisor is 0: a batch with nothing
// to count has loss 0, never NaN. (PyTorch gives NaN.)
Tensor reduce_rows(At losses, Reduction reduction, double divisor);
// mean divides by the number of elements.
Tensor reduce_elements(At losses, Reduction reduction);

}  // namespace gradus
