// Starting values of parameters. A result is a leaf that requires a gradient.
#pragma once
#include "engine/random.h"

namespace gradus {

Tensor uniform_parameter(Shape shape, double bound, Rng& rng);  // uniform in [-bound, bound)
Tensor normal_parameter(Shape shape, double std, Rng& rng);     // normal with mean 0
Tensor constant_parameter(Shape shape, double value);

// Error "[linear] width must be at least 1, got 0".
void check_size(std::string_view op, std::string_view what, Index size);

}  // namespace gradus
