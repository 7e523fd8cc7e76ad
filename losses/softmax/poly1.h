// Poly-1: cross entropy with its first Taylor term turned up.
//
//   L = -log p_t + epsilon (1 - p_t),   p = softmax(z)                           z [N,C] logits, t label; one L per row
//
// Derivation. -log p = (1 - p) + (1 - p)^2 / 2 + (1 - p)^3 / 3 + ...; the first term alone pulls a row that is nearly
// right, and epsilon is added to its coefficient. With dp_t/dz_j = p_t ([j = t] - p_j),
//   dL/dz_j = (1 + epsilon p_t) (p_j - [j = t])
//
// Promises. Cross entropy at epsilon = 0, never more than |epsilon| away from it. For epsilon < -1 a row with
//   p_t > -1/epsilon is pushed away from its label. No row left: L = 0, gradient 0. Finite wherever the true value is.
// Elsewhere. optax poly_loss_cross_entropy, on soft targets: same default 2, which the paper (Leng 2022) found best for
//   image classification; for detection it found -1.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct Poly1Options {
  double epsilon = 2;
  Index ignore_index = -100;              // rows with this label are left out
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows kept
  Form form = Form::closed;
};

// logits [N,C], labels int [N] -> [] or [N]
Tensor poly1(At logits, const Tensor& target, Poly1Options = {});

Losses poly1_losses();  // poly1

}  // namespace gradus
