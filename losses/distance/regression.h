// Regression: how far predictions are from targets, element by element.                       [A018, A019; B018, B020]
//
//   mse         d^2                                        d = pred - target, any shape; one value per element
//   mae         |d|
//   huber       d^2 / 2             where |d| <= delta     delta (|d| - delta / 2) elsewhere
//   smooth_l1   d^2 / (2 beta)      where |d| <  beta      |d| - beta / 2 elsewhere            = huber / beta, delta = beta
//
// Derivation. The best constant prediction c of data y_1..y_n tells them apart:
//   mse   sum 2 (c - y_i) = 0                              c is the mean, and one far point moves it without limit
//   mae   (points below c) = (points above c)              c is a median, which one far point hardly moves
// huber is mse near 0 and mae far out: its slope d is cut off at +-delta, so no point pulls harder than delta.
//   mse' = 2 d      mae' = sign(d), 0 at 0      huber' = clamp(d, -delta, delta)      smooth_l1' = clamp(d / beta, -1, 1)
//
// Promises. >= 0, and 0 only where pred = target. Both inputs receive gradients, one the negative of the other. huber and
//   smooth_l1 have a continuous slope. delta = inf is mse / 2; beta = 0 is mae. No elements: 0, and not NaN.
// Elsewhere. PyTorch: same names, defaults and values, but it broadcasts two shapes that differ ([N] against [N,1] becomes
//   [N,N], with a warning); here that is an error.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct RegressionOptions {
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  Form form = Form::closed;
};
struct HuberOptions {
  double delta = 1;  // > 0
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};
struct SmoothL1Options {
  double beta = 1;  // >= 0
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

Tensor mse(At pred, const Tensor& target, RegressionOptions = {});      // [..], [..] -> [] or [..]
Tensor mae(At pred, const Tensor& target, RegressionOptions = {});      // [..], [..] -> [] or [..]
Tensor huber(At pred, const Tensor& target, HuberOptions = {});         // [..], [..] -> [] or [..]
Tensor smooth_l1(At pred, const Tensor& target, SmoothL1Options = {});  // [..], [..] -> [] or [..]

Losses regression_losses();  // mse, mae, huber, smooth_l1

}  // namespace gradus
