// Span losses summed cell by cell, the baselines of span.h: binary cross entropy and its focal form.       [A084 A096]
//
//   bce_global_pointer   L_b = -(1/n^2) sum_h sum_{i,j} [ y log p + (1 - y) log(1 - p) ],  p = sigmoid(s)
//   gp_focal             L = -sum_pos (1 - p)^g log p - sum_neg p^g log(1 - p)             over all cells, no weights
//
// Both are sums of one function, at z = s where y = 1 and z = -s where y = 0, q = sigmoid(-z) what is missed:
//   f(z) = q^g softplus(-z)
//   f'(z) = -q^g ( g (1 - q) softplus(-z) + q )                 from dq/dz = -q (1 - q), dsoftplus(-z)/dz = -q
// and g = 0 is the binary cross entropy.
//
// The factor 1/n^2 is that of the seed form, over all n^2 cells though those below the diagonal are no spans, and over
// a sum of H types: at s = 0 it gives H log 2. Options: triangle and mask sum valid cells only (span.h); normaliser
// "valid" divides by their number; per_head divides by H too, so that s = 0 gives log 2 whatever n and H.
//
// Safe form. log q = -softplus(z), q^g = e^{g log q}: no p is ever rounded to 0 or 1.
//
// Promises. L >= 0. Cells left out add nothing, gradient exactly 0. A text without valid cells costs 0.
#pragma once
#include "losses/loss.h"

namespace gradus {

enum class SpanNormaliser { n_squared, valid };

struct BceGlobalPointerOptions {
  Tensor mask = {};  // [B,n], 0: padding; undefined: none
  bool triangle = false;
  SpanNormaliser normaliser = SpanNormaliser::n_squared;
  bool per_head = false;
  Reduction reduction = Reduction::mean;  // sum over texts / B;  none: [B]
  Form form = Form::closed;
};
// scores [B,H,n,n], labels [B,H,n,n] of 0 and 1, of any type                                -> [] or [B]
Tensor bce_global_pointer(At scores, const Tensor& labels, BceGlobalPointerOptions = {});

struct GpFocalOptions {
  double gamma = 2;  // g >= 0
  Form form = Form::closed;
};
// scores [...], labels [...] of 0 and 1                                                     -> []
Tensor gp_focal(At scores, const Tensor& labels, GpFocalOptions = {});

Losses span_bce_losses();  // bce_global_pointer, gp_focal

}  // namespace gradus
