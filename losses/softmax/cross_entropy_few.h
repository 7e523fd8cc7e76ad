// Cross entropy of rows of few classes whose q is even apart from the label: a row is too short for vector lanes, so the
// logarithm and expm1 of each row wait for a loop over the rows, where they are done for many rows at once.
#pragma once
#include "losses/softmax/cross_entropy_rows.h"

namespace gradus::ce {

inline constexpr Index few_classes = 16;

template <class T> struct FewSums {
  const T* logits;
  Index classes;
  T *m, *others, *gaps;  // [N] each: the greatest logit, sum of e^{z - m} over the others, sum of m - z
  HD void operator()(Index r) const {
    const T* z = logits + r * classes;
    T top = -vmath::infinity<T>, sum = 0, gap = 0, ties = -1;
    for (Index c = 0; c < classes; ++c) top = z[c] > top || z[c] != z[c] ? z[c] : top;
#pragma omp simd reduction(+ : sum, ties, gap)
    for (Index c = 0; c < classes; ++c) {
      const T d = z[c] - top, e = vmath::exp_below(d);
      sum += z[c] == top ? T(0) : e;
      ties += z[c] == top ? T(1) : T(0);
      gap -= d;
    }
    m[r] = top;
    others[r] = sum + ties;
    gaps[r] = gap;
  }
};
template <class T> struct FewLoss {
  Targets<T> targets;
  const T* logits;
  T *loss, *m, *log_z;  // in: the sums of FewSums
  HD void operator()(Index r) const {
    const Index C = targets.classes;
    const bool counts = targets.counts(r);
    const Index t = counts ? targets.label[r] : 0;
    const T top = m[r], rest = vmath::log1p(log_z[r]), gap = loss[r];
    const T hard = (1 - targets.eps) * (rest + (top - logits[r * C + t])),
            own = targets.weight ? targets.weight[t] : T(1);
    const T even = targets.eps / T(C) * (T(C) * rest + gap);
    const T L = (own == 0 ? T(0) : own * hard) + (targets.eps == 0 ? T(0) : even);
    loss[r] = counts ? L : T(0);
    m[r] = top;
    log_z[r] = rest;
  }
};

// dL_r/dz at the label
template <class T> struct FewLabelSlope {
  Targets<T> targets;
  const T *dy, *logits, *m, *log_z;
  T* slope;
  HD void operator()(Index r) const {
    const Index C = targets.classes;
    const bool counts = targets.counts(r);
    const Index t = counts ? targets.label[r] : 0;
    const T l = (logits[r * C + t] - m[r]) - log_z[r],
            own = (1 - targets.eps) * (targets.weight ? targets.weight[t] : T(1));
    const T v = dy[r] * (own * vmath::expm1(l) + targets.eps * vmath::exp_below(l) - targets.eps / T(C));
    slope[r] = counts ? v : T(0);
  }
};
template <class T, bool Add> struct FewGradient {
  Targets<T> targets;
  const T *dy, *logits, *m, *log_z, *slope;
  T* dz;
  HD void operator()(Index r) const {
    const Index C = targets.classes;
    const T *z = logits + r * C, top = m[r], rest = log_z[r], g = targets.counts(r) ? dy[r] : T(0);
    T* to = dz + r * C;
    if (g == 0) {
      for (Index c = 0; c < C; ++c) to[c] = Add ? to[c] : T(0);
      return;
    }
    const Index t = targets.label[r];
    const T Q = targets.own(r) + targets.eps, share = targets.eps / T(C), at_label = (Add ? to[t] : T(0)) + slope[r];
#pragma omp simd
    for (Index c = 0; c < C; ++c) {
      const T v = g * (Q * vmath::exp_below((z[c] - top) - rest) - share);
      to[c] = Add ? to[c] + v : v;
    }
    to[t] = at_label;
  }
};

}  // namespace gradus::ce
