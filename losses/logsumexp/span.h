// Span losses on score maps s [B,H,n,n]: s[b,h,i,j] says whether tokens i..j of text b are an entity of type h.
//                                                                                                      [A085 A086 A097]
//   span_multilabel_ce     L_b = sum_h multilabel_ce over the valid cells                          (multilabel.h)
//   span_hard_negatives    the same, with only the top `percent` of each map's negatives by score
//
// A cell (i, j) is valid when i <= j (option triangle), |j - i| <= window (option window, -1: any), and neither token
// is padding (mask [B,n], 0: padding). All others are left out: they add nothing to the loss and their gradient is
// exactly 0, whatever their score, and labels there count nothing. But a label that only the window forbids is an error: it
// names an entity that no score could ever find (C55).
//
// Why inside the logarithm. A text of 200 tokens has 20100 cells and 5 spans. Summed one by one, negatives would pull
// 4000 times as hard as positives; in log(1 + sum e^s) all negatives of a map together pull with less than 1.
//
// Hard negatives: ceil(percent / 100 * negatives) of the map are kept, ties by the first cell. Which ones is taken as
// given: the gradient is that of the loss over the kept cells.
//
// Promises. Those of multilabel_ce. A text of padding alone costs 0. mean divides by B, types are summed.
// Elsewhere. bert4torch: mean over B*H, and -1e12 or -inf added to the scores, so a span outside the area costs
//   infinity; multiplied masks give 0 * -inf = NaN.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct SpanOptions {
  Tensor mask = {};  // [B,n], 0: padding; undefined: none
  bool triangle = true;
  Index window = -1;
  Reduction reduction = Reduction::mean;  // sum over texts / B;  none: [B]
  Form form = Form::closed;
};
// scores [B,H,n,n], labels [B,H,n,n] of 0 and 1, of any type                                -> [] or [B]
Tensor span_multilabel_ce(At scores, const Tensor& labels, SpanOptions = {});

struct HardNegativeOptions {
  double percent = 10;  // in (0,100]
  SpanOptions span = {};
};
Tensor span_hard_negatives(At scores, const Tensor& labels, HardNegativeOptions = {});

// ---- for other losses on score maps

// Scores, labels and mask fit, or error of `op`.
void check_spans(std::string_view op, const Tensor& scores, const Tensor& labels, const SpanOptions& area);
// The labels as cells u8 [B,H,n,n] (multilabel.h), left out where not valid.
Tensor span_cells(std::string_view op, const Tensor& labels, const SpanOptions& area);

Losses span_losses();  // span_multilabel_ce, span_hard_negatives

}  // namespace gradus
