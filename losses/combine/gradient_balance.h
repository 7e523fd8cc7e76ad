// One direction from the gradients of K tasks.                                     [A129; B125, C66, D23; PCGrad, MGDA]
//
//   grad_norm_direction   d = sum_k g_k / |g_k|                                  g [K,P] one row per task
//   pcgrad                d = sum_k g_k', g_k' = g_k with its conflicts removed: for the other tasks j in turn, where
//                         <g_k', g_j> < 0:  g_k' -= <g_k', g_j> / |g_j|^2 g_j    (Yu et al. 2020)
//   mgda                  d = the shortest point of the convex hull of the g_k   (Desideri 2012, Sener and Koltun 2018)
//
// All three are w^T g with weights that need the K x K inner products only, so the gradients are read twice and the
// rest is on the Gram matrix G = g g^T:
//   pcgrad   g_k' = sum_j c_kj g_j, so <g_k', g_j> = (c_k G)_j; a projection is c_kj -= (c_k G)_j / G_jj.  w = sum c_k
//   mgda     minimise w^T G w on the simplex. For K = 2, w_1 = (G_22 - G_12) / (G_11 + G_22 - 2 G_12) cut to [0,1].
//            For more, Wolfe's method (1976): a support grows by the task with the least <d, g_k>, its exact minimum
//            over the plane is a linear solve, tasks whose weight would turn negative leave. Finite and exact, unlike
//            Frank-Wolfe steps.
//
// What they promise of d. grad_norm_direction: no task is left out; a factor or a constant on a loss changes nothing.
//   mgda: <d, g_k> >= |d|^2 for every k, so -d lowers every loss to first order, or d = 0: no direction does (Pareto).
//   pcgrad: for K = 2 the same sign promise; without a conflict the plain sum. The order of the tasks matters.
// None is the gradient of any function: they have a value, no derivative.
//
// Zeros. A task with gradient 0 is left out of the first two sums, never 0/0; for mgda it makes d = 0, since that
//   task can only get worse. Opposite unit gradients cancel: d = 0. Everything is scaled by the greatest entry, so
//   1e200 is no overflow; sums run in double. A NaN or an infinity gives NaN.
// Devices. On a GPU the gradients stay there: pcgrad and mgda read the K x K matrix G on the CPU and send back K weights.
//   (Form::definition copies the gradients themselves to the CPU.)
// Elsewhere. LibMTL, TorchJD (Python only): PCGrad projects in random order, MGDA by Frank-Wolfe steps.
#pragma once
#include "losses/combine/gram_weights.h"
#include "losses/loss.h"

namespace gradus {

struct GradientBalanceOptions {
  Form form = Form::closed;
};

Tensor grad_norm_direction(const Tensor& task_grads, GradientBalanceOptions = {});  // [K,P] -> [P]
Tensor pcgrad(const Tensor& task_grads, PcGradOptions = {});                        // [K,P] -> [P]
Tensor mgda(const Tensor& task_grads, GradientBalanceOptions = {});                 // [K,P] -> [P]

// The inner products; gram_weights.h makes pcgrad_weights and mgda_weights of them.
Tensor gram_matrix(const Tensor& task_grads);  // [K,P] -> f64 [K,K]

// dL_k / d shared, flattened and side by side, one backward sweep per task; the tape is kept, no .grad is touched.
Tensor task_gradients(const Tensor& losses, const std::vector<Tensor>& shared);  // [K] -> [K,P]

Losses gradient_balance_losses();  // grad_norm_direction, pcgrad, mgda

}  // namespace gradus
