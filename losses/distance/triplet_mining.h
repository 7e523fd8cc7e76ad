// Triplet losses that find their triplets in a batch of labelled embeddings.                             [A053, A054]
//
//   a triplet (a,p,n): p != a, y_p = y_a, y_n != y_a        d = Euclidean distance of embeddings, margin m
//   h(a,p,n) = max(0, d(a,p) - d(a,n) + m)
//
//   triplet_batch_all    sum of h over all triplets
//   triplet_batch_hard   per anchor the farthest positive and the nearest negative: sum_a h(a, p*, n*)
//   triplet_semi_hard    per anchor and positive the nearest negative farther off than the positive, or, when there is none,
//                        the farthest negative: sum_{a,p} h(a, p, n(a,p))
//
// Which triplets one takes matters, since most of a batch's are already solved and give no gradient. The hardest alone can
// collapse a net early in training (one far outlier decides); semi-hard ones are the remedy of FaceNet.
//
// Derivation. Which triplets are chosen is constant, so dL/dd(a,p) counts the open hinges in which p is the positive of a,
// and -dL/dd(a,n) those in which n is its negative; then dd(a,j)/de_a = (e_a - e_j) / d(a,j).
// batch_all needs no loop over triplets. With the negatives of a sorted, n_1 <= n_2 <= ..., and c(p) = the number of them
// below d(a,p) + m,
//   sum_n h(a,p,n) = c(p) (d(a,p) + m) - (n_1 + .. + n_c(p))        prefix sums
//   dL/dd(a,p) = c(p),   dL/dd(a,n_i) = -(number of p with c(p) >= i)
//
// Cost. All three: O(B^2 (D + log B)) time for B rows; O(B) memory per thread forwards (on a GPU 64 MB in all), one [B,B]
//   matrix backwards. Direct sums over triplets need O(B^3) of both.
//
// Mean. It divides by the triplets that count, not by B:  TripletMean::valid, all that were chosen, or ::active, those of
//   them with h > 0. The defaults are what each method is known with: active for batch_all (Hermans et al. 2017), valid for
//   the other two. `none` gives the sum of each anchor, [B].
//
// Promises. >= 0. No valid triplet (one label, or all different) or no active one: loss 0, gradient 0. Rows may come in any
//   order. Ties: the lower row is chosen; h = 0 passes no gradient; d = 0 has subgradient 0, so equal points stay together.
// Elsewhere. sentence-transformers BatchAll/BatchHard/BatchSemiHardTripletLoss: same choices, B^3 masks for batch_all, and an
//   anchor without a positive takes itself for one (d = 0); NaN gradients at d = 0. TensorFlow Addons triplet_semihard_loss:
//   same choice, NaN without positives. pytorch-metric-learning lists all B^3 triplets.
#pragma once
#include "losses/loss.h"

namespace gradus {

enum class TripletMean { valid, active };

struct TripletMiningOptions {
  double margin = 1;                      // >= 0
  TripletMean over = TripletMean::valid;  // what Reduction::mean divides by
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};
struct BatchAllOptions {
  double margin = 1;
  TripletMean over = TripletMean::active;
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

// embeddings [N,D], labels int [N], any values -> [] or [N]
Tensor triplet_batch_all(At embeddings, const Tensor& labels, BatchAllOptions = {});
Tensor triplet_batch_hard(At embeddings, const Tensor& labels, TripletMiningOptions = {});
Tensor triplet_semi_hard(At embeddings, const Tensor& labels, TripletMiningOptions = {});

Losses triplet_mining_losses();  // triplet_batch_all, triplet_batch_hard, triplet_semi_hard

}  // namespace gradus
