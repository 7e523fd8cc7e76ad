// log-cosh: d^2 / 2 near 0 and |d| - log 2 far out, smooth everywhere.                                             [neighbour]
//
//   L = log cosh d,   d = pred - target                dL/dd = tanh d
//
// Safe form. cosh d = e^|d| (1 + e^{-2|d|}) / 2, so far out L = |d| + log(1 + e^{-2|d|}) - log 2 and nothing overflows. Near 0
// that would be a small difference of large numbers; there cosh d - 1 = (e^{|d|/2} - e^{-|d|/2})^2 / 2 keeps all digits.
//
// Promises. 0 <= L <= min(d^2 / 2, |d|). Both inputs receive gradients, one the negative of the other, none above 1.
// Elsewhere. Keras LogCosh: the same value, averaged over the last axis; it computes the far form everywhere.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct LogCoshOptions {
  Reduction reduction = Reduction::mean;  // mean divides by the number of elements
  Form form = Form::closed;
};

Tensor log_cosh(At pred, const Tensor& target, LogCoshOptions = {});  // [..], [..] -> [] or [..]

Losses log_cosh_losses();  // log_cosh

}  // namespace gradus
