// Multi-label cross entropy from the indices of the right classes: for many classes of which few are right.      [A109]
//
//   L = log(1 + sum_{c not in t} e^{s_c}) + log(1 + sum_{c in t} e^{-s_c})      s [N,C] scores, t up to P indices a row
//
// The value and gradient of multilabel_ce; labels cost O(N P) memory instead of O(N C). A row with fewer than P labels
// is filled up with ignore_index; a label listed twice counts once.
//
// Derivation. Q = log(1 + sum_{c not in t} e^s), P = log(1 + sum_{c in t} e^{-s}):
//   dL/ds_c = -e^{-s_c - P} for c in t,  e^{s_c - Q} else
//
// Safe form. The sum over the complement runs over the stretches between the labels, which are sorted first:
//   O(C + P log P) a row, and nothing is subtracted.
//
// Promises. Those of multilabel_ce, at any margin between right and wrong classes.
// Elsewhere. bert4keras, bert4torch sparse_multilabel_categorical_crossentropy: all + log(1 - e^{right - all}), clipped
//   at 1e-7. In f32 one right class at 20 among ten at 0 costs 3.88 there (2.40 is right), with a gradient of +1 that
//   pushes the right class down (-2e-9 is right); mask_zero makes class 0 the padding.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct MultilabelSparseOptions {
  Index ignore_index = -1;
  Reduction reduction = Reduction::mean;  // sum / N
  Form form = Form::closed;
};
// scores [N,C], labels int [N,P]                                                            -> [] or [N]
Tensor multilabel_ce_sparse(At scores, const Tensor& labels, MultilabelSparseOptions = {});

Losses multilabel_sparse_losses();  // multilabel_ce_sparse

}  // namespace gradus
