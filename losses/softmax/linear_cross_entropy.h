// Cross entropy of a linear layer's outputs, without ever holding all of them: for large vocabularies.    [A008 A014]
//
//   z_r = W h_r        L_r = log sum_j e^{z_rj} - z_rt        h [N,D] hidden states, W [V,D] the layer's weight
//
// Derivation. With p_r = softmax(z_r) and e_t the one-hot label, cross_entropy gives dL_r/dz_r = p_r - e_t, and the product
// carries it on:
//   dL_r/dh_r = W^T (p_r - e_t)        dL/dW = sum_r (p_r - e_t) h_r^T
// Both are sums over rows r, so rows can be taken a few at a time: the logits of a chunk are made, turned into p - e in
// place, multiplied into both gradients, and forgotten. Memory is that of a chunk, chunk x V, in place of N x V twice.
// The gradients are made on the way forward, while the logits are there; backward multiplies them by what arrives. With
// Reduction::none each row has an upstream gradient of its own, so backward makes the logits again.
//
// Promises. The value and gradients of cross_entropy(linear(h, W), t), to rounding. No label left: 0, gradient 0.
//   A NaN in a hidden row that is ignored makes dW NaN, as in the linear layer: 0 times NaN.
// Elsewhere. Liger kernel: fused_linear_cross_entropy; Apple's cut cross entropy; PyTorch: F.linear_cross_entropy (2.9).
#pragma once
#include "losses/loss.h"

namespace gradus {

struct LinearCrossEntropyOptions {
  Index ignore_index = -100;              // rows with this label do not count
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows that count
  Index chunk = 0;                        // rows at a time; 0: as many as make a chunk about as large as h
  Form form = Form::closed;
};

// hidden [N,D], weight [V,D], target int [N] -> [] or [N]
Tensor linear_cross_entropy(At hidden, const Tensor& weight, const Tensor& target, LinearCrossEntropyOptions = {});

Losses linear_cross_entropy_losses();  // linear_cross_entropy

}  // namespace gradus
