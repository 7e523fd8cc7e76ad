// The expected cost of a prediction: every class has its price, and the prediction pays the mean.    [A044, A048; B052]
//
//   L = sum_i p_i c_i,   p = softmax(z)                         z [N,C] logits, c [N,C] costs
//
// Derivation. L is linear in p, and dp_i/dz_j = p_i ([i = j] - p_j):
//   dL/dz_j = p_j (c_j - L)        dL/dc_j = p_j
// EMO is this with cosine costs. With costs 0 at the label and 1 elsewhere, L = 1 - p_t and dL/dz = p_t (p - y).
//
// Safe form. log p and the gradient at the greatest logit as in divergence_rows.h.
//
// Promises. min c <= L <= max c; a constant added to a row's costs is added to L and changes no logit gradient; a shift
//   of the logits changes nothing. The gradient of a row sums to 0 and vanishes where p is sure of one class, right or
//   wrong. No rows: 0, gradient 0.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct ExpectedCostOptions {
  Reduction reduction = Reduction::mean;  // over rows
  Form form = Form::closed;
};

Tensor expected_cost(At logits, const Tensor& cost, ExpectedCostOptions = {});  // [N,C], [N,C] -> [] or [N]

// One value per row, 0 where ignored u8 [N,1] says so, whatever stands in that row.
Tensor expected_cost_rows(At logits, const Tensor& cost, const Tensor& ignored);  // -> [N]

Losses emo_expected_cost_losses();  // expected_cost

}  // namespace gradus
