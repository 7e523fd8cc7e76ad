// Circle loss: every positive similarity should exceed every negative one by a margin.           [A056-A059, C25, C26]
//
//   L = log(1 + sum_j e^{g a_j (n_j - Dn)} sum_i e^{-g b_i (p_i - Dp)})    p [P] positive, n [Q] negative cosines
//
//   circle        a_j = max(0, n_j + m),  b_i = max(0, 1 + m - p_i),  Dn = m,  Dp = 1 - m: what is far from its
//                 goal pulls harder. a and b are weights: no gradient goes through them (Sun et al. 2020).
//   circle_const  a = b = 1, and Dn, Dp given: the unified pair loss, which the source text displays as Circle loss.
//                 It only depends on Dp - Dn:  L = log(1 + sum_ij e^{g (n_j - p_i + Dp - Dn)})
//
// Derivation. With A = log sum_j e^{g a_j (n_j - Dn)} and B = log sum_i e^{-g b_i (p_i - Dp)}:
//   L = log(1 + e^{A + B}),   dL/d(A + B) = 1 - e^{-L} = e^{A + B - L}
//   dL/dn_j =  g a_j e^{g a_j (n_j - Dn) - A} (1 - e^{-L})
//   dL/dp_i = -g b_i e^{-g b_i (p_i - Dp) - B} (1 - e^{-L})
// Within a side a softmax: of two negatives the harder one weighs e^{g d} times more. Between the sides of
// circle_const the pulls are equal, with the weights of circle they are not.
//
// Promises. L >= 0. No positive or no negative: 0 with gradient 0. The order of a set does not count. Finite in f32
//   for any g; sums are in double. circle_const with one positive, Dp = Dn and g = 1 is softmax cross entropy; L / g ->
//   max(0, max_ij (n_j - p_i + Dp - Dn)), a triplet loss, within log(1 + P Q) / g. Dp and Dn are no parameters to
//   learn: dL/d(Dp - Dn) = g (1 - e^{-L}) > 0, so descent would make the margin -infinity.
// Elsewhere. pytorch-metric-learning CircleLoss: m 0.4, gamma 80, weights without gradient, one loss per anchor. Keras
//   Circle: the gradient does go through the weights. Defaults here are the paper's for faces.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CircleOptions {
  double m = 0.25;     // margin: the goals are p > 1 - m, n < m
  double gamma = 256;  // g
  Form form = Form::closed;
};

struct CircleConstOptions {
  double delta_p = 0.75, delta_n = 0.25;
  double gamma = 256;
  Form form = Form::closed;
};

// sp [P], sn [Q]; either may be empty.  -> []
Tensor circle(At sp, const Tensor& sn, CircleOptions = {});
Tensor circle_const(At sp, const Tensor& sn, CircleConstOptions = {});

// circle over all pairs i < j of a batch: cosines of pairs with equal labels against those with different ones.
// embeddings [N,D], labels [N] integer.  -> []
Tensor circle_batch(At embeddings, const Tensor& labels, CircleOptions = {});

Losses circle_losses();  // circle, circle_const, circle_batch

}  // namespace gradus
