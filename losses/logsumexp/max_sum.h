// log sum e^x of many terms on any device: by rows, each a team's, then over the rows. No order depends on the threads.
//
// A MaxSum {m, s} stands for s e^m with m the greatest exponent so far, so nothing overflows and s is at least 1. They
// join as a monoid, which is all that a parallel sum or running sum needs:
//
//   {m1, s1} + {m2, s2} = {m1, s1 + s2 e^{m2 - m1}}  for m1 >= m2,    neutral {-inf, 0},    log = m + log s
#pragma once
#include "engine/tensor.h"
#include "ops/launch.h"

namespace gradus {

struct MaxSum {
  double max, sum;
  HD double log() const { return max + vmath::log(sum); }
};

// A NaN on either side stays.
HD inline MaxSum joined(MaxSum a, MaxSum b) {
  const bool b_greater = b.max > a.max;
  const MaxSum high = b_greater ? b : a, low = b_greater ? a : b;
  const double gap = low.max == high.max ? 0 : low.max - high.max;
  return {high.max, high.sum + low.sum * vmath::exp(gap)};
}

// Exponents of 1e20 that are computed twice may differ by more than e^x can bear. What cannot be above 0, or below 1, is
// held there.
[[gnu::always_inline]] HD inline double at_most_0(double x) { return x > 0 ? 0 : x; }
[[gnu::always_inline]] HD inline double at_least_1(double x) { return x < 1 ? 1 : x; }

// The terms of row r: rows.length(r) exponents rows.term(r, j); -inf counts nothing.
template <class Rows> struct RowMaxSum {
  Rows rows;
  double *max, *sum;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Rows all = rows;
    const Index n = all.length(r);
    if (n == 1) {  // of many short lists: no sum to set up
      if (team.leads()) max[r] = all.term(r, 0), sum[r] = max[r] == -vmath::infinity<double> ? 0 : 1;
      return;
    }
    const double top = team.template max<double>(n, [=](Index j) { return all.term(r, j); });
    const double s = team.template sum<double>(n, [=](Index j) { return vmath::exp(at_most_0(all.term(r, j) - top)); });
    if (team.leads()) {
      max[r] = top;
      sum[r] = top == -vmath::infinity<double> ? 0 : at_least_1(s);
    }
  }
};

// Each row of terms as {m, s}.  -> f64 [2,R]: all m, then all s
template <class Rows> Tensor row_max_sums(Device& device, Index R, Index length, const Rows& rows) {
  Tensor y = empty({2, R}, DType::f64, device);
  double* to = y.data_mut<double>();
  launch_rows(device, R, length, RowMaxSum<Rows>{rows, to, to + R});
  return y;
}

// The rows joined, by a team that has nothing else to do. parts is what row_max_sums gave.
template <class Team> HD MaxSum join_rows(Team team, Index R, const double* parts) {
  const double *max = parts, *sum = parts + R;
  const double top = team.template max<double>(R, [=](Index r) { return max[r]; });
  const double s = team.template sum<double>(
      R, [=](Index r) { return sum[r] == 0 ? 0 : sum[r] * vmath::exp(at_most_0(max[r] - top)); });
  return {top, s};
}

// A long list of n terms f(i), cut into rows.
inline constexpr Index max_sum_chunk = 1024;
template <class F> struct Chunks {
  F f;
  Index n;
  HD Index length(Index r) const {
    const Index left = n - r * max_sum_chunk;
    return left < max_sum_chunk ? left : max_sum_chunk;
  }
  HD double term(Index r, Index j) const { return f(r * max_sum_chunk + j); }
};
inline Index chunks_of(Index n) { return (n + max_sum_chunk - 1) / max_sum_chunk; }
template <class F> Tensor chunk_max_sums(Device& device, Index n, const F& f) {
  return row_max_sums(device, chunks_of(n), max_sum_chunk, Chunks<F>{f, n});
}

// log(1 + s e^m)
HD inline double log1p_of(MaxSum x) {
  return x.max > 0 ? x.max + vmath::log(vmath::exp(-x.max) + x.sum) : vmath::log1p(x.sum * vmath::exp(x.max));
}

// L = log(1 + sum over all rows), in double for the gradient and as the loss y. One row of work.
template <class T> struct Log1pOfRows {
  const double* parts;
  Index R;
  double* L;
  T* y;
  template <class Team> HD void operator()(Index, Team team) const {
    const double loss = log1p_of(join_rows(team, R, parts));
    if (team.leads()) {
      *L = loss;
      *y = T(loss);
    }
  }
};

}  // namespace gradus
