// The linear-chain conditional random field: tags of a sequence that know their left neighbour.              [A101; C94]
//
//   L = log Z - score(y),    score(y) = start_{y_1} + sum_t e_t(y_t) + sum_{t>1} A_{y_{t-1}, y_t} + end_{y_T}
//   Z = sum over all C^T tag sequences of e^{score}
//
// Derivation. Z is a sum over paths, taken one step at a time (the forward recursion), and once more from the end:
//   a_t(j) = e_t(j) + log sum_i e^{a_{t-1}(i) + A_ij},   a_1 = start + e_1          log Z = log sum_j e^{a_T(j) + end_j}
//   b_t(i) = log sum_j e^{A_ij + e_{t+1}(j) + b_{t+1}(j)},   b_T = end
// The gradient of log Z is the probability of what is differentiated by:
//   P(y_t = j) = e^{a_t(j) + b_t(j) - log Z}                                        dL/de_t(j) = P(y_t = j) - [j = y_t]
//   P(y_{t-1} = i, y_t = j) = e^{a_{t-1}(i) + A_ij + e_t(j) + b_t(j) - log Z}       dL/dA_ij  = sum_t (that - [both])
//
// Cost. O(T C^2) time, O(T C) memory: the tape of the definition keeps T matrices [C,C].
//
// Promises. L >= 0. Masked positions are left out wherever they stand, also in the middle: their neighbours become
//   neighbours. A sequence with no position left has L = 0. T = 1 with start = end = 0 is cross entropy.
// Elsewhere. pytorch-crf: returns -L, sums by default, and wants masks that are prefixes.
// Source. Lafferty, McCallum and Pereira, "Conditional random fields", ICML 2001.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CrfOptions {
  Tensor mask = {};                       // [N,T], 0 where there is no token; undefined: all are tokens
  Reduction reduction = Reduction::mean;  // over sequences that have a token
  Form form = Form::closed;
};

// emissions [N,T,C], tags int [N,T], transitions [C,C] from row to column, start [C], end [C]  -> [] or [N]
Tensor crf_nll(At emissions, const Tensor& tags, const Tensor& transitions, const Tensor& start, const Tensor& end,
               CrfOptions = {});

// The tags of the greatest score, by dynamic programming (Viterbi 1967); 0 where masked. Reads the scores on the CPU.
// -> i64 [N,T]
Tensor crf_decode(const Tensor& emissions, const Tensor& transitions, const Tensor& start, const Tensor& end,
                  const Tensor& mask = {});

Losses crf_losses();  // crf

}  // namespace gradus
