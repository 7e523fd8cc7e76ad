// Metrics of numbers: root mean square error, mean angle, perplexity of a run.                          [A173]
//
//   rmse               sqrt(mean (pred - target)^2)
//   angular_error      mean over rows of the angle between u and v, in radians
//   perplexity_of_nll  exp( sum_b n_b L_b / sum_b n_b ): L_b the mean loss of batch b, n_b its tokens
//
// Safe forms. rmse divides by the greatest |d| before it squares: no overflow at 1e200, no underflow at 1e-200.
// The angle of unit vectors is 2 atan2(|u - v|, |u + v|) (Kahan): exact near 0 and pi, where acos of the cosine has
// lost half the digits, and NaN when the cosine rounds to beyond 1.
// The perplexity of a corpus is that of its mean loss: the mean of the batches' perplexities is greater (Jensen), and
// equal weights for unequal batches are another number.
//
// Promises. Nothing given: rmse and angle 0, perplexity 1. A zero vector has no direction: its angle is pi/2, as its
//   cosine is 0. Lengths of u and v do not count. NaN in, NaN out. f64 inside,
//   on the CPU whatever the device.
// Elsewhere. scikit-learn root_mean_squared_error: the same value.
#pragma once
#include "losses/loss.h"

namespace gradus {

double rmse(const Tensor& pred, const Tensor& target, Form form = Form::closed);   // [..], [..]
double angular_error(const Tensor& u, const Tensor& v, Form form = Form::closed);  // [N,D], [N,D]
// nll [n]; tokens [n], or undefined: equal weights
double perplexity_of_nll(const Tensor& nll, const Tensor& tokens = {}, Form form = Form::closed);

Losses regression_metric_losses();  // rmse, angular_error, perplexity_of_nll

}  // namespace gradus
