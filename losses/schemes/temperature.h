// Temperature scaling: one number T that makes the probabilities softmax(z / T) honest, fitted after training.
//                                                                                   [A153; B038-B040, C40, C41, D25]
//   T* = argmin_{T > 0} f,   f = mean_r CE(z_r / T, y_r)               z [N,C] logits of a validation set, y [N] labels
//
// Derivation. In beta = 1/T the loss is convex:
//   f(beta)   = mean_r [ log sum_c e^{beta z_c} - beta z_y ]
//   f'(beta)  = mean_r [ E_p z - z_y ],  p = softmax(beta z)
//   f''(beta) = mean_r Var_p z >= 0
// so there is one minimum, and f' has one sign on each side of it: Newton's steps on f', replaced by bisection when
// they leave the bracket. A few passes over the data, exact to rounding; a grid may not even have T = 1.
//
// Limits. f' rises from mean_r [mean_c z - z_y] at beta = 0 to mean_r [max z - z_y] at beta = infinity, hence
//   every label has the greatest logit, and some row a smaller one     f falls for ever: T* = 0, the limit
//   labels score no better than the rows' averages                     f rises from beta = 0: T* = infinity, the limit
//   all rows constant, or no rows                                      every T is as good: T* = 1
//
// Why the likelihood and not the calibration error: ECE is a step function of T with many local minima, and a constant
// predictor has ECE 0; the likelihood is convex and proper, and finds the T that generated the labels.
//
// Promises. Accuracy never changes: T > 0 keeps the order of the logits. Scaling the logits by s scales T* by s. A
//   shift of a row changes nothing. Computed in f64 whatever the type. A logit of -inf is a class that cannot be; other
//   non-finite logits, or a label at -inf, give NaN.
// Elsewhere. gpleiss/temperature_scaling: LBFGS on T from 1.5; may end unconverged, negative or at 1e7.
#pragma once
#include "losses/loss.h"

namespace gradus {

// logits [N,C], labels int [N]  -> [], T*. A constant: no gradient.
Tensor optimal_temperature(const Tensor& logits, const Tensor& labels, Form form = Form::closed);

Losses temperature_losses();  // optimal_temperature

}  // namespace gradus
