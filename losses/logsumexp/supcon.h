// SupCon: each row should find all rows of its class among all others.                             [Khosla et al. 2020]
//
//   L_i = -1/|P_i| sum_{p in P_i} log( e^{cos(x_i, x_p) / t} / sum_{k != i} e^{cos(x_i, x_k) / t} )
//   P_i = rows of the class of i, other than i
//
// This is their L_out, the mean outside the logarithm, and the better of their two forms: inside, L_in weighs
// positives by how near they already are. With classes of two rows it is NT-Xent.
//
// Derivation. L_i = log sum_{k != i} e^{x_ik} - mean_{p in P_i} x_ip, so dL_i/dcos_ik = (p_ik - [k in P_i] / |P_i|) / t
// (see info_nce_rows.h). It is 0 where all positives have p = 1 / |P_i|: positives share the probability.
//
// Promises. L_i >= log |P_i|. A row whose class has no other row is no anchor, only a candidate: it counts neither
//   above nor below the line of the mean. No anchor at all: 0, gradient 0. Lengths do not count; a zero vector has
//   cosine 0.
// Elsewhere. Paper and pytorch-metric-learning: t = 0.1, the default here. The authors' code: t = 0.07 and NaN for a
//   row without positives, in its first form.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct SupconOptions {
  double temperature = 0.1;
  Reduction reduction = Reduction::mean;  // over the rows that have positives
  Form form = Form::closed;
};

// embeddings [N,D], labels [N] integer.  -> [] or [N]
Tensor supcon(At embeddings, const Tensor& labels, SupconOptions = {});

Losses supcon_losses();  // supcon

}  // namespace gradus
