// Multi-label cross entropy (ZLPR): every wrong class below 0, every right one above.             [A109 A114 A118 A119]
//
//   L = log(1 + sum_{t_c = 0} e^{s_c}) + log(1 + sum_{t_c = 1} e^{-s_c})                 s [N,C] scores; one L per row
//
// Read it as a smooth max(0, greatest wrong score) + max(0, -least right score). The hidden 0 in each logarithm is the
// threshold: predicted is what has s > 0. Multiplied out it is one log-sum-exp over 0, s_n, -s_p and all s_n - s_p: it
// ranks as softmax cross entropy does, and it fixes the zero. It is never above the sum of the binary cross entropies,
// and the gradient of either side is below 1 however many negatives there are: no weights against imbalance are needed.
//
// Options bias b and margin m put s + m - b for s and -s + m + b for -s: right above b + m, wrong below b - m.
// mask [N,C]: a class with mask 0 is left out, whatever its score and label.
//
// Derivation. Q = log(1 + sum_neg e^s), P = log(1 + sum_pos e^{-s}), L = P + Q:
//   dL/ds_c = e^{s_c - Q} where t_c = 0,   -e^{-s_c - P} where t_c = 1
//
// Safe form. log1p_sum_exp.h: one pass and one exp per element for both sums, one more in the backward pass.
//
// Promises. L >= 0. Only right or only wrong classes: the other logarithm is log 1 = 0. No class at all: 0.
//   Finite in f32 for scores of 1e4; a loss of 1e-30 is 1e-30. A label that is neither 0 nor 1 is an error.
// Elsewhere. bert4torch MultilabelCategoricalCrossentropy: 1e12 for infinity, and 0 with gradient 0 for soft labels.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct MultilabelOptions {
  Tensor mask = {};  // [N,C], 0: left out; undefined: all count
  double bias = 0, margin = 0;
  Reduction reduction = Reduction::mean;  // sum / N
  Form form = Form::closed;
};

// scores [N,C], labels [N,C] of 0 and 1, of any type                                        -> [] or [N]
Tensor multilabel_ce(At scores, const Tensor& labels, MultilabelOptions = {});

// ---- for losses on other layouts (span.h)

// What a cell counts as.
enum Cell : std::uint8_t { negative_cell = 0, positive_cell = 1, left_out_cell = 2, bad_cell = 3 };
// Labels of 0 and 1, of any type, as cells u8; left out where mask (the same shape, or undefined) is 0. Error of `op`
// at any other label that counts.
Tensor label_cells(std::string_view op, const Tensor& labels, const Tensor& mask);
// The first bad_cell, -1 when there is none.
Index first_bad_cell(const Tensor& cells);
// One hard loss for each row: scores [R,n], cells u8 [R,n] -> [R]
Tensor multilabel_rows(At scores, const Tensor& cells, double bias, double margin, Form form);

Losses multilabel_losses();  // multilabel_ce

}  // namespace gradus
