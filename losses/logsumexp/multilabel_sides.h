// What the forms of the multi-label loss share: the two sums of a row, their shifts, arguments and samples.
#pragma once
#include "losses/logsumexp/log1p_sum_exp.h"
#include "losses/logsumexp/multilabel.h"

namespace gradus {

// x of the two sums: s + down for a negative, up - s for a positive.
struct Shifts {
  double down, up;
  Shifts(double bias, double margin) : down(margin - bias), up(margin + bias) {}
};

// P and Q of the head, for the backward pass, each in the two parts of a LogSum.
template <class T> struct Sides {
  T *p, *q;  // [N,2] each: m and rest of the positives and of the negatives
  HD void keep(Index r, LogSum<T> P, LogSum<T> Q) const {
    p[2 * r] = P.m;
    p[2 * r + 1] = P.rest;
    q[2 * r] = Q.m;
    q[2 * r + 1] = Q.rest;
  }
  HD LogSum<T> P(Index r) const { return {p[2 * r], p[2 * r + 1]}; }
  HD LogSum<T> Q(Index r) const { return {q[2 * r], q[2 * r + 1]}; }
};

// ---- in multilabel.cpp and multilabel_soft.cpp

void check_multilabel(std::string_view op, const Tensor& scores, const Tensor& targets, const MultilabelOptions& o);
// Error of `op` at an entry outside [0,1].
void check_in_unit_interval(std::string_view op, const Tensor& targets);
MultilabelOptions multilabel_options(const Arguments& a);
// f64, 0 and 1 with about a third of ones
Tensor some_labels(Shape shape, Rng& rng);

}  // namespace gradus
