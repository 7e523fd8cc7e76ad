// LDAM: cross entropy in which a rare class must win by a larger margin.                                         [A038]
//
//   L = w_t CE(s (z - m_t e_t), t),   m_c = max_m (n_min / n_c)^{1/4}
//       z [N,C] logits, t label and e_t its unit vector, n [C] class counts, s scale; one L per row
//
// Derivation. With margins m_c the error on new samples is bounded by sum_c 1 / (m_c sqrt(n_c)); for two classes with
// m_1 + m_2 fixed the bound is least at m_c ~ n_c^{-1/4}. The rarest class has the margin max_m. With p the softmax of
// the shifted and scaled logits,
//   dL/dz_j = w_t s (p_j - [j = t])
//
// Promises. max_m = 0, s = 1 is cross entropy. Only ratios of counts matter. A class with count 0 has the margin max_m
//   and no part in n_min. Meant for logits that are cosines, in [-1,1]: others make the margin small. No row
//   left: L = 0, gradient 0.
// Elsewhere. Cao 2019: same defaults; its repository divides by 0 for an empty class, and has tensors on a GPU only.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct LdamOptions {
  double max_m = 0.5;                     // >= 0
  double s = 30;                          // > 0
  Tensor weight = {};                     // [C], one factor per class; undefined: all 1
  Index ignore_index = -100;              // rows with this label are left out
  Reduction reduction = Reduction::mean;  // mean: sum / sum_rows w_t over rows kept
  Form form = Form::closed;
};

// logits [N,C], labels int [N], class_counts [C] integer or floating -> [] or [N]
Tensor ldam(At logits, const Tensor& target, const Tensor& class_counts, LdamOptions = {});

Losses ldam_losses();  // ldam

}  // namespace gradus
