// Mixup: train on lam x_a + (1 - lam) x_b with the labels mixed in the same proportion.                  [A156; B041]
//
//   L = lam CE(z, a) + (1 - lam) CE(z, b)              z [N,C] logits of the mixed input; one L per row
//
// Derivation. CE(z, q) = sum_c q_c (lse - z_c) is linear in q, so mixing the losses is mixing the labels:
//   q = lam onehot(a) + (1 - lam) onehot(b),  L = CE(z, q)
//   dL/dz_j = p_j - q_j,  p = softmax(z)
//
// Safe form. lse - z_c = log_z + (top - z_c) with log_z = log(1 + sum of the others); a label of weight 0 costs
// nothing, even at a logit of -inf. Where a = b the gradient there is expm1(log p_a): p_a - 1 without cancellation.
//
// lam ~ Beta(alpha, alpha). With X ~ Gamma(alpha) and Y ~ Gamma(alpha), X / (X + Y) has that law. Gamma by Marsaglia
// and Tsang (2000) for alpha >= 1; below, Gamma(alpha) = Gamma(alpha + 1) U^{1/alpha}, which underflows at small alpha
// (U^1000 at alpha = 1e-3), so all is kept as logarithms and lam = 1 / (1 + e^{log Y - log X}).
//
// Promises. lam = 1 or a = b is plain cross entropy. A shift of a row's logits changes nothing; a row's gradient sums
//   to 0. No rows: 0. Every alpha > 0 samples: alpha -> 0 gives coin flips 0 or 1, alpha = 1 the uniform law, large
//   alpha 1/2.
// Elsewhere. Zhang 2018 and timm: same value. torchvision v2.MixUp mixes one-hot targets: the same by linearity.
#pragma once
#include "engine/random.h"
#include "losses/loss.h"

namespace gradus {

struct MixupOptions {
  double lam = 0.5;                       // weight of the first label, in [0,1]
  Reduction reduction = Reduction::mean;  // mean: over rows
  Form form = Form::closed;
};

// logits [N,C], target and target_b int [N]  -> [] or [N]
Tensor mixup_ce(At logits, const Tensor& target, const Tensor& target_b, MixupOptions = {});

// lam x + (1 - lam) x[partner], for inputs of any shape with N rows; partner int [N], say from Rng::permutation.
Tensor mix(At x, const Tensor& partner, double lam);

double gamma_log_sample(Rng& rng, double shape);          // log of a draw from Gamma(shape), shape > 0
double beta_sample(Rng& rng, double alpha, double beta);  // in [0,1]
double mixup_lam(Rng& rng, double alpha);                 // Beta(alpha, alpha)

Losses mixup_losses();  // mixup_ce

}  // namespace gradus
