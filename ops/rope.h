// Rotary position embedding (Su et al., "RoFormer", 2021): the pair (x_{2i}, x_{2i+1}) at position p turns by the angle
//   p theta_i,   theta_i = base^(-2i/D)
//   y_{2i} = x_{2i} cos - x_{2i+1} sin        y_{2i+1} = x_{2i} sin + x_{2i+1} cos
// A rotation's transpose is its inverse, so dx is dy turned by the opposite angle. For a query at m and a key at n the score
// <R_m q, R_n k> depends on n - m only.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// x [..,T,D], D even; positions int [T], or undefined for 0..T-1. Pairs are neighbours (interleaved).
Tensor rope(At x, const Tensor& positions = {}, double base = 10000);

}  // namespace gradus
