// Which unlabelled row to label next: scores of a row of logits, and a diverse choice of rows. [A161, A163, A164; C93]
//
//   egl                E_{y ~ p} |dL/dtheta|, the expected gradient length of the cross entropy: y is not known
//   least_confidence   1 - p_(1)
//   margin_confidence  p_(1) - p_(2), the smaller the less sure           p_(1) >= p_(2) the two greatest of softmax(z)
//
// Derivation of egl. dCE(z, y)/dz = p - e_y, so |dCE/dz|^2 = (1 - p_y)^2 + sum_{j != y} p_j^2 and
//   egl = |h| sum_y p_y |p - e_y|
// For a last layer z = W h the gradient in W is (p - e_y) h^T, whose length has the factor |h|; without features it is
// left out. The length at one label, the likeliest or a guess, is another number: at p = (.9, .1) it is .141 or 1.273,
// the expectation .255 (C93).
//
// Safe form. With k the greatest, 1 - p_k = rest / (1 + rest); p_(1) - p_(2) = -p_k expm1(z_(2) - z_k): a very sure row
// still scores its 1e-20, so sure rows keep an order.
//
// Promises. All are >= 0, unchanged by a shift of the logits. One class: egl and least_confidence 0, margin 1.
// Elsewhere. modAL: least confidence and margin from probabilities, by subtraction.
#pragma once
#include "losses/loss.h"

namespace gradus {

// logits [N,C] -> [N]; features [N,D] or undefined. Scores carry no gradient.
Tensor egl(const Tensor& logits, const Tensor& features = {}, Form form = Form::closed);
Tensor least_confidence(const Tensor& logits, Form form = Form::closed);
Tensor margin_confidence(const Tensor& logits, Form form = Form::closed);

// The `count` rows of points [N,D] that cover the others best, by the greedy 2-approximation of k-center (Gonzalez
// 1985; Sener and Savarese 2018), on the CPU: each next row is the farthest from those chosen and from `labelled`; the first row
// starts when nothing is labelled. Ties: the lower row. Fewer rows when there are not so many.
std::vector<Index> k_center_greedy(const Tensor& points, Index count, const std::vector<Index>& labelled = {});

Losses active_losses();  // egl, least_confidence, margin_confidence

}  // namespace gradus
