// Two clouds of points on a line on a GPU: each point, in ascending order, finds by itself whom it meets.
//
// With F_k the weight of the first k + 1 points of one cloud and G_l that of the other, point k owns (F_{k-1}, F_k] of the
// mass and meets every l whose (G_{l-1}, G_l] overlaps it, with the overlap for mass. These are the pairs of the walk along
// both clouds; nothing is scattered, for each point sums its own.
#pragma once
#include "engine/tensor.h"

namespace gradus {

struct Cloud {
  Tensor order, points, upper;  // i64, f64, f64: places in ascending order, the points, F
};

struct Clouds {
  Clouds() = default;
  Clouds(const Tensor& x, const Tensor& y, const Tensor& wx, const Tensor& wy, Index p, bool power);

  Cloud of[2];
  Index p = 1;
  bool power = false;
  Tensor value;  // f64 [1]: W_p, or W_p^p

  // Adds dy dvalue/dx (side 0) or dy (side 1).
  void gradient(int side, const Tensor& dy, Tensor& sum) const;
};

}  // namespace gradus
