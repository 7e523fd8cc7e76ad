// Reconstruction: the squared error of a whole sample, averaged over the batch.                        [A140]
//
//   L = sum_j (pred_j - target_j)^2         pred, target [N,..]; one L per sample, summed over all axes but the first
//
// It is the mse of the sample times its number of features D. As an auto-encoder's only loss the factor does not matter; in
// a sum with other losses it does: beside a KL term (VAE), the sum over features is what a Gaussian likelihood of variance
// 1/2 asks for, and mse would weigh the KL D times as much.
//
// Derivation.  dL/dpred_j = 2 (pred_j - target_j) = -dL/dtarget_j
//
// Promises. >= 0, and 0 only for an exact copy. mean divides by N, never by the features: the loss of a sample does not
//   depend on its batch. No samples, or no features: 0.
// Elsewhere. F.mse_loss(x, y, reduction='sum') / N in PyTorch. Many auto-encoders use mse, which divides by N D.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct ReconstructionOptions {
  Reduction reduction = Reduction::mean;  // over samples
  Form form = Form::closed;
};

Tensor reconstruction(At pred, const Tensor& target, ReconstructionOptions = {});  // [N,..], [N,..] -> [] or [N]

Losses reconstruction_losses();  // reconstruction

}  // namespace gradus
