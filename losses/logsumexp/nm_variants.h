// Four ways to weigh wrong classes against right ones over n tasks of m classes.                            [A116-A121]
//
//   N_j = sum_i (1 - t_ij) e^{s_ij - b + m}     P_j = sum_i t_ij e^{-s_ij + b + m}     N = sum_j N_j,  P = sum_j P_j
//
//   nm_product       sum_j log(1 + N_j) + log(1 + P_j)         the log of a product over classes      (4.8), (4.11.2)
//   nm_expanded      log(1 + N + P + N P)                      its first orders and their products    (4.11)
//   nm_first_order   log(1 + N + P)                            first orders alone: thresholds         (4.10), (4.12.5)
//   nm_cross         log(1 + N P)                              products alone: ranking                (4.11.1)
//
// s [n,m] scores, t [n,m] labels in [0,1], bias b, margin m. Right classes are to lie above b + m, wrong ones below
// b - m; the source takes b = 0, m = 5. A soft label is a margin of its own: t e^x = e^{x + log t}, fixed by the label,
// not by how wrong the score is.
//
// For n = 1 and 0/1 labels (b = m = 0): nm_product is the sum of binary cross entropies, nm_expanded multilabel_ce,
// nm_cross with one right class softmax cross entropy. nm_expanded = log(1 + N) + log(1 + P): multilabel_ce_soft of all
// cells as one row; nm_product: the same of each column. nm_cross compares differences of scores only, so a shift of
// all scores changes nothing: where nothing but the order counts (a fixed number of right classes). The others fix the
// zero.
//
// Derivation. L = log(1 + N + P):  dL/ds_ij = (1 - t) e^{s - b + m - L} - t e^{-s + b + m - L}
//   L = log(1 + N P), z = log N + log P:  dL/ds_ij = sigmoid(z) ( (1 - t) e^{s - b + m} / N - t e^{-s + b + m} / P )
//
// Promises. L >= 0, nm_expanded >= nm_first_order and nm_cross. Labels are constants. N = 0 or P = 0 gives nm_cross 0.
// Elsewhere. None.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct NmVariantOptions {
  double bias = 0, margin = 0;
  Form form = Form::closed;
};
// s [n,m], t [n,m] in [0,1] of the same type                                                -> []
Tensor nm_product(At s, const Tensor& t, NmVariantOptions = {});
Tensor nm_expanded(At s, const Tensor& t, NmVariantOptions = {});
Tensor nm_first_order(At s, const Tensor& t, NmVariantOptions = {});
Tensor nm_cross(At s, const Tensor& t, NmVariantOptions = {});

Losses nm_variant_losses();  // nm_product, nm_expanded, nm_first_order, nm_cross

}  // namespace gradus
