// A wrong gradient usually looks like its cause.
#pragma once
#include <string>
#include <vector>

#include "engine/shape.h"

namespace gradus {

// The gradient of one input, for one upstream gradient dy.
struct Mismatch {
  std::vector<double> analytic, numeric;
  std::vector<double> analytic_for_twice_dy;
  Shape shape;
};

// "twice as large as it should be everywhere: a missing 1/N, or counted twice?"
std::string guess_cause(const Mismatch& mismatch);

}  // namespace gradus
