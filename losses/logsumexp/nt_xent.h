// NT-Xent, the loss of SimCLR: two views of a sample should find each other among all views of the batch.
//                                                                                           [A078, A079, A080; C27]
//   z = [z1; z2] [2N,D],  the positive of row i is p(i) = i + N or i - N
//   L_i = -log( e^{cos(z_i, z_p) / t} / sum_{k != i} e^{cos(z_i, z_k) / t} )
//
// The sum has 2N - 1 terms: all but the row itself, so the positive is one of them. Without it L_i could fall below 0.
//
// Derivation. With x_ik = cos(z_i, z_k) / t, L_i = log sum_{k != i} e^{x_ik} - x_ip, and by info_nce_rows.h
// dL_i/dcos_ik = (p_ik - [k = p]) / t. Each view is once an anchor and 2N - 1 times a candidate: the tape adds both.
//
// Promises. L_i > 0 for N > 1; all cosines equal: log(2N - 1); N = 1: 0. Swapping z1 and z2 changes nothing, and
//   lengths do not count. A zero vector has cosine 0 with all, and gradient 0.
// Elsewhere. SimCLR: t = 0.5 for CIFAR (the default here; small batches want a soft loss), 0.1 for ImageNet. optax and
//   pytorch-metric-learning: 0.07. The latter builds a matrix of positive times negative pairs, and caps the loss.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct NtXentOptions {
  double temperature = 0.5;
  Reduction reduction = Reduction::mean;  // over the 2N views
  Form form = Form::closed;
};

// z1, z2 [N,D]: row i of both is one sample.  -> [] or [2N], those of z1 first
Tensor nt_xent(At z1, const Tensor& z2, NtXentOptions = {});

Losses nt_xent_losses();  // nt_xent

}  // namespace gradus
