// The Wasserstein distance W_1 of two histograms: regression by ordered classes.                                [A042]
//
//   L = sum_{k < K-1} |D_k|,   D_k = sum_{c <= k} (p_c - t_c),   p = softmax(z)     z [N,K] logits, t [N,K]; one L per row
//
// Bins 0, 1, .., K-1 at distance 1. It sees how far off a wrong bin is, which cross entropy does not.
//
// Derivation. |D_k| is the mass that has to cross between the bins k and k + 1, whatever the plan, and no plan needs more.
//   dL/dp_c = h_c = sum_{c <= k < K-1} sign D_k,   dL/dt_c = -h_c
//   dL/dz_c = p_c (h_c - sum_b p_b h_b)
//
// Safe form. D_k is summed from the end of the row that carries less, and p_c - 1 comes from expm1, so a nearly perfect row
//   has the digits of what is left: p_t = 1 - 1e-20 gives 1e-20.
//
// Promises. A shift of a row's logits changes nothing; their gradient sums to 0. L = |k - t| for two sure bins. D_k = 0 is
//   a corner with subgradient 0. Rows are not normalised: if two totals differ, the excess of the last bin counts nowhere.
//   K = 1: L = 0. `mean` divides by the number of rows.
// Elsewhere. PyTorch has none. The squared form, sum D_k^2, is known as the squared earth mover's loss.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct WassersteinHistogramOptions {
  bool probabilities = false;  // the first input is p itself, not logits
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

// [N,K] logits or probabilities, [N,K] -> [] or [N]
Tensor wasserstein_histogram(At logits, const Tensor& target_probs, WassersteinHistogramOptions = {});

Losses wasserstein_histogram_losses();  // wasserstein_histogram

}  // namespace gradus
