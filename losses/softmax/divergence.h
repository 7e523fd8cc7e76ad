// How far softmax(z) is from the targets t: Kullback-Leibler, Jensen-Shannon, total variation, Hellinger.
//                                                                                  [A003-A006, A023, A025; C30, C50]
//
//   kl_div      sum_c t_c log(t_c / p_c)                                       = cross entropy - entropy of t
//   js_div      1/2 KL(t || m) + 1/2 KL(p || m),   m = (t + p) / 2
//   tv          1/2 sum_c |t_c - p_c|
//   hellinger   sqrt(1/2 sum_c (sqrt t_c - sqrt p_c)^2), or its square
//   kl_div_logits, js_div_logits: t is a softmax too                           p = softmax(z); one value per row
//
// Derivation. D = sum_c f(t_c, p_c), and dD/dz_j = a_j - p_j sum_c a_c with a_c = p_c df/dp_c (divergence_rows.h):
//   kl_div      a_c = -t_c, so dD/dz_j = T p_j - t_j, T = sum_c t_c: the gradient of cross entropy
//               df/dt_c = log(t_c / p_c) + 1
//   js_div      a_c = 1/2 p_c log(p_c / m_c)            df/dt_c = 1/2 log(t_c / m_c)
//   tv          a_c = -1/2 p_c sign(t_c - p_c)          df/dt_c = 1/2 sign(t_c - p_c)
//   hellinger^2 a_c = 1/2 sqrt p_c (sqrt p_c - sqrt t_c)           df/dt_c = 1/2 (1 - sqrt(p_c / t_c))
// (In js_div m moves too, but its slope -(t + p) / 2m = -1 cancels the 1 that t log t and p log p leave.)
//
// Safe form. All from log p and log t. With u = log t - log p, the greater of t and p has log(2 / (1 + e^-|u|)) =
// log(1 + tanh(|u| / 2)) over m, the other |u| less. t - p near 1 is (t - 1) - expm1(log p).
//
// Promises. For rows t that sum to 1: D >= 0, and 0 only where t = p. KL has no bound and no symmetry; the others are
//   symmetric, JS <= log 2, TV <= 1, Hellinger <= 1; TV^2 <= KL / 2 (Pinsker), H^2 <= TV <= sqrt 2 H. Rows t need not
//   sum to 1. 0 log 0 = 0. A class with t_c = 0 receives the target gradient 0 where the true slope is -inf (KL, JS,
//   Hellinger). Kinks: sign(0) = 0, and Hellinger's root has gradient 0 at 0. No rows: 0, gradient 0. Infinite only
//   where the truth is.
// Elsewhere. PyTorch kl_div takes log-probabilities and its `mean` divides by N C: ours is its batchmean. Keras clips
//   both sides to [1e-7,1], which stops gradients; Liger has JSD and TVD; optax has no JS.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct DivergenceOptions {
  Reduction reduction = Reduction::mean;  // over rows: sum / N
  Form form = Form::closed;
};

// logits [N,C], target_probs [N,C] -> [] or [N]; differentiable in both
Tensor kl_div(At logits, const Tensor& target_probs, DivergenceOptions = {});
Tensor js_div(At logits, const Tensor& target_probs, DivergenceOptions = {});
Tensor tv(At logits, const Tensor& target_probs, DivergenceOptions = {});

struct HellingerOptions {
  bool squared = false;  // leave the root out
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

Tensor hellinger(At logits, const Tensor& target_probs, HellingerOptions = {});  // [N,C], [N,C] -> [] or [N]

struct KlLogitsOptions {
  double temperature = 1;  // divides both logits
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

// KL(softmax(target_logits / T) || softmax(logits / T))
Tensor kl_div_logits(At logits, const Tensor& target_logits, KlLogitsOptions = {});  // [N,C], [N,C] -> [] or [N]
Tensor js_div_logits(At logits_p, const Tensor& logits_q, DivergenceOptions = {});   // [N,C], [N,C] -> [] or [N]

Losses divergence_losses();  // kl_div, kl_div_logits, js_div, js_div_logits, tv, hellinger

}  // namespace gradus
