// F1 of labelled spans, as in entity recognition: a span counts when its label, begin and end are all right.     [A173]
//
//   F1 = 2 |P and G| / (|P| + |G|)          P the predicted, G the gold spans, as sets
//
// Spans may overlap and nest. The depth of a span is the number of gold intervals of its sentence that contain it and
// are longer, whatever their label: 0 outermost. F1 by depth shows what a model that cannot nest never finds; a
// predicted span is judged at the depth that the gold spans give it, so a hit has one depth.
//
// Promises. A span given twice counts once. Nothing predicted, nothing gold, or neither: 0 where 0/0. Of scores, begin
//   <= end only, and both in the mask. Read on the CPU.
// Elsewhere. seqeval judges tag sequences, which cannot nest.
#pragma once
#include <compare>

#include "losses/metrics/classes.h"

namespace gradus {

struct Span {
  Index batch, head, begin, end;  // sentence, label, first and last position, both within
  auto operator<=>(const Span&) const = default;
};

PrecisionRecall span_f1(std::vector<Span> predicted, std::vector<Span> gold);
// Entry d is that of depth d, up to the greatest that occurs.
std::vector<PrecisionRecall> span_f1_by_depth(std::vector<Span> predicted, std::vector<Span> gold);

// Spans of scores [B,H,n,n] greater than `threshold`, begin down and end across; mask [B,n] or undefined. Sorted.
std::vector<Span> spans_above(const Tensor& scores, double threshold, const Tensor& mask = {});

// scores and labels 0/1 [B,H,n,n], predicted where score > threshold
struct SpanScoreOptions {
  double threshold = 0;
  Form form = Form::closed;
};
PrecisionRecall span_f1(const Tensor& scores, const Tensor& labels, const Tensor& mask, SpanScoreOptions = {});

Losses span_f1_losses();  // span_f1

}  // namespace gradus
