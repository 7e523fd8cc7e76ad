// The power mean of the task losses: one number gamma between "the easiest task" and "the hardest task".
//                                                                                         [A130; B126, B127, C65, D22]
//   M = ( (1/K) sum_i L_i^gamma )^(1/gamma)                                     L_i [K] >= 0, gamma in [-inf, inf]
//
//   gamma   -inf   -1         0           1      2            inf
//   M       min    harmonic   geometric   mean   quadratic    max
//
// Derivation. log M = log( (1/K) sum_j e^{gamma l_j} ) / gamma with l = log L. Its slopes are
//   dM/dL_i = (1/K) (L_i / M)^{gamma - 1}                        so sum_i L_i dM/dL_i = M: M is homogeneous of degree 1
// gamma = 1 gives every loss the same slope. gamma = 0 gives every loss the same share L_i dM/dL_i = M / K, the
// direction of live_norm (normalised.h). The shares grow with L_i for gamma > 0 and fall with it for gamma < 0.
//
// Safe form. With c the greatest l (gamma < 0: the smallest) and d_i = l_i - c no exponent is positive:
//   log M = c + log1p( (1/K) sum_i expm1(gamma d_i) ) / gamma
// Every term of that sum has the same sign, so it keeps its digits down to gamma = 1e-20, where log M = c + mean d.
// Runs in double.
//
// Zeros. gamma > 0: a loss of 0 counts in K and adds nothing. gamma <= 0: M = 0.
//   Its slope is the limit L_i -> 0 (of all zeros together) where that is finite: 0 for gamma > 1, 1/K for gamma = 1,
//   (1/z) (z/K)^{1/gamma} for gamma < 0 with z zeros among the K. For 0 <= gamma < 1 the limit is infinite; a loss of
//   0 is at its least and cannot fall, so the slope is taken as 0. All losses equal, also all 0: every slope is 1/K.
// Ties at gamma = +-inf share the slope equally, as torch.amax and amin do.
//
// Promises. min <= M <= max, rising with gamma. Finite for losses from 1e-30 to 1e30 in f32, smooth through gamma = 0.
//   No tasks: 0. A negative loss or a NaN gamma is an error.
// Elsewhere. LibMTL's GLS is gamma = 0 as pow(prod L, 1/K): 16 losses of 1e-3 underflow to value 0 and gradient NaN.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct GeneralisedMeanOptions {
  double gamma = 1;
  Form form = Form::closed;
};

Tensor generalised_mean(At losses, GeneralisedMeanOptions = {});  // [K] -> []

Losses generalised_mean_losses();  // generalised_mean

}  // namespace gradus
