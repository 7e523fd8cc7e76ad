// The Wasserstein distance of two clouds of points on a line: transport without a linear program.               [A042]
//
//   W_p^p = min_P sum_ij P_ij |x_i - y_j|^p                   x [n], y [m] points, weights wx, wy; p = 1 or 2
//         = integral_0^1 |F^-1(t) - G^-1(t)|^p dt             F^-1, G^-1 quantile functions: mass never crosses over
//
// Derivation. Sort both; walk along t from 0 to 1: between two jumps of the cumulated weights the walk pairs one x with
//   one y, mass dt. At most n + m - 1 pairs, O(n log n + m log m).
//     d(W^p)/dx_i = sum over its pairs of dt p |x_i - y_j|^{p-1} sign(x_i - y_j),   dW = d(W^p) / (p W^{p-1})
//
// The definition is the first line, by the linear program of emd.h. Points are subtracted and summed in f64.
//
// Promises. Weights may have any positive total; they are divided by it. Ties are a corner with subgradient 0 for p = 1, and
//   W_2 = 0 has gradient 0. A common shift of x and y changes nothing; W_p >= |mean x - mean y|. A point of weight 0 has
//   gradient 0.
// Elsewhere. scipy wasserstein_distance: p = 1. POT wasserstein_1d: W_p^p, which is power = true here.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct Wasserstein1dOptions {
  Index p = 1;         // 1 or 2
  bool power = false;  // W_p^p, without the root
  Tensor wx = {};      // [n] weights of x; undefined: equal
  Tensor wy = {};      // [m]
  Form form = Form::closed;
};

Tensor wasserstein_1d(At x, const Tensor& y, Wasserstein1dOptions = {});  // [n], [m] -> []

Losses wasserstein_losses();  // wasserstein_1d

}  // namespace gradus
