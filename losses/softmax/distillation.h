// Knowledge distillation: a student learns from the softened answers of a teacher, and from the labels.          [A145]
//
//   L = alpha T^2 KL(softmax(v / T) || softmax(z / T)) + (1 - alpha) CE(z, t)      z student, v teacher [N,C], t labels
//
// Derivation. With q = softmax(v / T), p_T = softmax(z / T) and p = softmax(z), one row has
//   dL/dz_j = alpha T (p_T,j - q_j) + (1 - alpha) (p_j - [j = t])
//   dL/dv_j = alpha T q_j (log(q_j / p_T,j) - KL)
// The T^2 is there for the first term: p_T - q shrinks like 1 / T, so without it the soft part would fade as 1 / T^2.
// For large T and rows of mean 0, T^2 KL -> |z - v|^2 / 2C: the student then copies logits.
//
// Promises. L >= 0. alpha = 0 is cross entropy, alpha = 1 uses no label; student = teacher leaves the labels' part.
//   Finite in f32 for any logits. No rows: 0, gradient 0. The teacher is a constant unless teacher_learns.
// Elsewhere. Hinton 2015. PyTorch and optax leave it to the user; sentence-transformers DistillKLDivLoss is the soft
//   part alone, at temperature 1 by default.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct DistillationOptions {
  double T = 2;                           // temperature, above 0
  double alpha = 0.5;                     // in [0,1]: the teacher's part
  bool teacher_learns = false;            // differentiate by the teacher's logits too
  Reduction reduction = Reduction::mean;  // over rows: sum / N
  Form form = Form::closed;
};

// student [N,C], teacher [N,C], target int [N] -> [] or [N]
Tensor distillation(At student, const Tensor& teacher, const Tensor& target, DistillationOptions = {});

Losses distillation_losses();  // distillation

}  // namespace gradus
