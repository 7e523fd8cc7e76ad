// Losses for n classifications of m classes each, with the sum over tasks inside the logarithm.             [A102-A107]
//
//   L = sum_j log(1 + sum_i t_ij e^{-f_ij})               s [n,m] scores, t [n,m] labels, f_ij = f(s_i)_j
//
//   nm_eq1   f_ij = s_ij - log sum_{k != j} e^{s_ik}      log-odds: t e^{-f} = t_ij sum_{k != j} e^{s_ik - s_ij}
//   nm_eq3   f_ij = s_ij - mean_k s_ik                    centred
//   nm_eq2   any f: one of these by name, a function of the user's, or its values
//
// n softmax cross entropies are sum_j log prod_i (1 + x_ij)^{t_ij}, x_ij = sum_{k != j} e^{s_ik - s_ij}. Multiplied out
// and cut after the first order this is nm_eq1. As in multilabel.h a class that occurs in n_j tasks then weighs like
// log n_j and not like n_j. For 0/1 labels the cut only drops positive terms: nm_eq1 <= sum of cross entropies, equal
// for n = 1.
//
// Derivation. L_j = log(1 + sum_i t_ij e^{-f_ij}):
//   dL/df_ij = -t_ij e^{-f_ij - L_j}         dL/dt_ij = e^{-f_ij - L_j}
//   log-odds: df_ij/ds_ik = [k = j] - [k != j] e^{s_ik} / sum_{l != j} e^{s_il}
//
// Which to use. nm_eq1 for 0/1 labels. Its optimum for soft labels is not softmax(s) = t: at m = 2, n = 1 it is
// softmax(s) ~ sqrt(t), and rows depend on each other. nm_eq3 has softmax(s) = t as its optimum, for sum_j f_ij does
// not depend on s; but on 0/1 labels it only asks for s_ij far above the mean, not above all: (10, 11, -21) costs
// 4.5e-5 for class 0.
// At m = 2, with d = s_1 - s_2: nm_eq1 is multilabel_ce_soft of d, nm_eq3 that of d / 2. The source calls them an
// attempt.
//
// Safe form. The sum over k != j is never total minus one: the greatest entry is summed around, for all others it is in
//   the sum that they are subtracted from. Columns as in log1p_sum_exp.h.
//
// Promises. L >= 0. A shift of a row changes nothing (eq1, eq3). t_ij = 0 counts nothing. One class: nm_eq1 is 0.
//   The same column index in different tasks shares a logarithm: permuting the classes of one task changes L.
// Elsewhere. None.
#pragma once
#include <functional>

#include "losses/loss.h"

namespace gradus {

struct NmOptions {
  Form form = Form::closed;
};
// s [n,m], t [n,m] >= 0 of the same type, differentiable too                                -> []
Tensor nm_eq1(At s, const Tensor& t, NmOptions = {});
Tensor nm_eq3(At s, const Tensor& t, NmOptions = {});

enum class NmScore { score, centred, log_odds };  // f = s, s - mean, logit softmax
Tensor nm_eq2(At s, const Tensor& t, NmScore f, NmOptions = {});
Tensor nm_eq2(At s, const Tensor& t, const std::function<Tensor(const Tensor&)>& f, NmOptions = {});
// From the values f [n,m].
Tensor nm_from_values(At f, const Tensor& t, NmOptions = {});

// f_ij = s_ij - log sum_{k != j} e^{s_ik} = logit softmax(s_i)_j; +inf for one class
Tensor log_odds(At s);  // [n,m] -> [n,m]

Losses nm_losses();  // nm_eq1, nm_eq2, nm_eq3

}  // namespace gradus
