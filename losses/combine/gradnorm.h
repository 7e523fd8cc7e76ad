// GradNorm: task weights that make all tasks train at one pace.          [A133; B131, C67-C71, D24; Chen et al. 2018]
//
//   L_grad = sum_i | G_i - sg(T_i) |            w [K] weights, g_i = |grad L_i| of the unweighted losses
//   G_i = w_i g_i                               the gradient norm of the weighted loss
//   T_i = mean(G) r_i^alpha                     what it should be
//   r_i = (L_i / L_i^0) / mean_j (L_j / L_j^0)  relative inverse pace: r_i > 1 is a slow task and gets a larger target
//
// It is minimised over w only, beside sum_i w_i L_i, which is minimised over the network.
//
// Derivation. G_i depends on w through w_i alone, because the norm of w_i grad L_i is w_i g_i: no second derivative
// of the network is needed, K first ones are. T is a constant, so
//   dL_grad/dw_i = sign(G_i - T_i) g_i                                                            0 where G_i = T_i
// If the norms of the unweighted losses stand in G's place, w has no gradient at all; if r is not stopped, L_grad
// trains the network to look slow.
//
// One step, on a tape that holds losses [K] and for shared parameters `shared` (often those of the last shared layer):
//   Tensor norms = gradient_norms(losses, shared);
//   backward(gradnorm(w, norms, losses, losses_at_start));       step on w, then w.copy_from(renormalised(w));
//   backward(weighted_sum(losses, {.weights = w}));              step on the network
//
// Promises. 0 exactly when every G_i is at its target; for alpha != 1 this may be out of reach, since mean r^alpha is
//   not 1. All losses 0: every r_i = 1. The gradient reaches w only. L_i < 0, L_i^0 <= 0 and alpha < 0 are errors.
// Elsewhere. LibMTL GradNorm: alpha 1.5, weights through a softmax times K, all K gradients held at once.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct GradNormOptions {
  double alpha = 1.5;  // >= 0; 0: all norms equal, larger: slow tasks are favoured more
  Form form = Form::closed;
};

// all [K] -> []; differentiable in weights
Tensor gradnorm(At weights, const Tensor& grad_norms, const Tensor& losses, const Tensor& init_losses,
                GradNormOptions = {});

// |dL_k / d shared| for each k, one backward sweep per task; the tape is kept, no .grad is touched.  losses [K] -> [K]
Tensor gradient_norms(const Tensor& losses, const std::vector<Tensor>& shared);
// w K / sum w: GradNorm moves the shares, the learning rate keeps the size. A sum not > 0 is an error.  [K] -> [K]
Tensor renormalised(const Tensor& weights);

Losses gradnorm_losses();  // gradnorm

}  // namespace gradus
