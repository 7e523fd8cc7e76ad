// broadcast_to repeats, sum_to adds up: each is the other's gradient.
#pragma once
#include "engine/tape.h"

namespace gradus {

// y = x repeated along axes where x has size 1 or no axis, NumPy's rule      dx = dy summed over the repeats
Tensor broadcast_to(At x, const Shape& shape);
// y = x summed over the axes where `shape` has size 1 or no axis             dx = dy repeated
Tensor sum_to(At x, const Shape& shape);

// The same without recording, for the backward passes of other ops.
Tensor repeated_to(const Tensor& x, const Shape& shape);
Tensor summed_to(const Tensor& x, const Shape& shape);

}  // namespace gradus
