// Negative log-likelihood of log-probabilities that are already there.                     [A008, A021; B010-B012, C33]
//
//   L = -w_t log p_t                                     log_p [N,C] log-probabilities, t label; one L per row
//
// Derivation. dL/dlog_p_c = -w_t [c = t]. nll(log_softmax(z)) is cross_entropy(z); nll is for models that end in
// log-probabilities of another make: mixtures, CRFs, pointer networks. A sum of logarithms, because the product of 1000
// probabilities of 0.4 is 0 in f64 (C33).
//
// Promises. Reads one number per row; the input need not be normalised. Ignored rows, and rows of weight 0, count
//   nowhere, whatever stands in them. No row left: L = 0, gradient 0.
// Elsewhere. PyTorch F.nll_loss: same names, defaults and values, but NaN when all rows are ignored.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct NllOptions {
  Tensor weight = {};                     // [C], one factor per class; undefined: all 1
  Index ignore_index = -100;              // rows with this label are left out
  Reduction reduction = Reduction::mean;  // mean: sum / sum_rows w_t over rows kept
  Form form = Form::closed;
};

// log_probs [N,C], labels int [N] -> [] or [N]
Tensor nll(At log_probs, const Tensor& target, NllOptions = {});

Losses nll_losses();  // nll

}  // namespace gradus
