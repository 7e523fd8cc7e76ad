// Self-paced learning: rows enter the training when the model finds them easy enough.             [A159, A160]
//
//   weights v of rows with losses l minimise v l + f(v) on [0,1]                       Kumar 2010; linear: Jiang 2014
//     hard    f = lambda (1 - v)          v = [l < lambda]             F(l) = min(l, lambda)
//     linear  f = lambda (1 - v)^2 / 2    v = max(0, 1 - l / lambda)   F(l) = l - l^2 / (2 lambda), then lambda / 2
//
// Derivation. F(l) = min_v v l + f(v), so dF/dl = v (envelope theorem): a loss whose gradient is the weighted gradient,
// with none stopped. lambda grows in training and more rows enter; how, is the dynamic difficulty of A160.
//
// Promises. 0 <= F <= l for l >= 0; F grows with l and lambda. At l = lambda the row is out. lambda = inf: F = l. NaN
//   in, NaN out. Nothing given: 0. mean divides by all elements, chosen or not: the step grows as rows enter.
// Elsewhere. No library has it; written by hand it is usually (v * l).mean() with v detached: the same gradient.
#pragma once
#include "losses/loss.h"

namespace gradus {

enum class Pace { hard, linear };
struct SelfPacedOptions {
  double lambda = 1;  // > 0
  Pace pace = Pace::hard;
  Reduction reduction = Reduction::mean;  // mean: over all elements
  Form form = Form::closed;
};
Tensor self_paced(At losses, SelfPacedOptions = {});                     // [..] -> [] or [..]
Tensor self_paced_weights(const Tensor& losses, SelfPacedOptions = {});  // [..] -> [..], v

Losses self_paced_losses();  // self_paced, self_paced_weights

}  // namespace gradus
