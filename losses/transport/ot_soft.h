// What it costs to move the predicted probabilities onto soft labels, where classes lie at unequal distances.
//                                                                                              [A043, A049, A051; C04, C06]
//   L = <P, C>,  P the entropic plan from softmax(z) to t  z [N,C] logits, t [N,C] soft labels, C [C,C] cost; one L per row
//
// Derivation. Sinkhorn with a = softmax(z), b = t (sinkhorn.h). It works on log a, and log_softmax(z) is log a: a class of
//   probability e^-10000 costs no digits. With phi_bar_i what the way back through the iterations brings to f_i / eps,
//   dL/dlog a_i = phi_bar_i, and log_softmax does the rest.
// The labels are matched first, so a class of label mass 0 is out of the plan from the first step on, and p is matched last,
// exactly.
//
// One-hot t: the only plan is p in column t, so L = sum_i p_i c_it for every eps and every number of iterations; then take
//   that sum, Sinkhorn adds nothing (C06). For soft t: L -> OT(p, t) as eps falls, L -> p^T C t as eps grows. OT(t, t) = 0
//   where t^T C t > 0, which is why the independent coupling p^T C t pulls p away from t, into one class (C04).
//
// Promises. Finite for any logits. Labels carry no gradient; each row must have the total 1. L > 0 at p = t while eps > 0,
//   for the entropy blurs the plan. The gradient of a row of logits sums to 0. `mean` divides by the number of rows.
// Elsewhere. POT has it for one pair of probability vectors at a time.
#pragma once
#include "losses/loss.h"
#include "losses/transport/sinkhorn.h"

namespace gradus {

struct OtSoftOptions {
  double epsilon = 0.1;
  Index iterations = 100;
  Reduction reduction = Reduction::mean;  // over rows
  Form form = Form::closed;
};

Tensor ot_soft(At logits, const Tensor& target_probs, const Tensor& cost, OtSoftOptions = {});  // -> [] or [N]

Losses ot_soft_losses();  // ot_soft

}  // namespace gradus
