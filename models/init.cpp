#include "models/init.h"

#include "ops/math.h"

namespace gradus {

Tensor uniform_parameter(Shape shape, double bound, Rng& rng) {
  return ((rand(shape, rng) * 2.0 - 1.0) * bound).requires_grad_();
}

Tensor normal_parameter(Shape shape, double std, Rng& rng) { return (randn(shape, rng) * std).requires_grad_(); }

Tensor constant_parameter(Shape shape, double value) { return full(shape, value).requires_grad_(); }

void check_size(std::string_view op, std::string_view what, Index size) {
  if (size < 1) fail(op, std::string(what) + " must be at least 1, got " + std::to_string(size));
}

}  // namespace gradus
