// The row bodies of crf: both recursions, one sequence a row, the team works on the tags.
//
// Sums of scores grow with the sequence, and differences of large sums lose digits. So the emissions of a position are
// taken relative to their greatest, and a and b are shifted at every step to the greatest 0: probabilities are normalised
// where they stand, and L gathers the shifts. All in double: a transition of 1e4 beside them takes four digits from what
// is added to it.
//
// Sequences meet in the gradients of A, start and end only. There each target is summed over all sequences and positions
// by one team, so the order of the sum is always the same.
#pragma once
#include <algorithm>
#include <type_traits>

#include "ops/launch.h"

namespace gradus::crf {

// at[n,..] the positions of sequence n that the mask keeps, count[n] how many; mask u8 [N,T] or null
struct FindPositions {
  const std::uint8_t* mask;
  Index length;
  Index *at, *count;
  HD void operator()(Index n) const {
    Index k = 0;
    for (Index t = 0; t < length; ++t) {
      if (!mask || mask[n * length + t] != 0) at[n * length + k++] = t;
    }
    count[n] = k;
  }
};

template <class Team, class F> HD double log_sum_exp(Team team, Index n, F x) {
  const double top = team.template max<double>(n, x);
  if (!(top > -vmath::infinity<double> && top < vmath::infinity<double>)) return top;
  return top + vmath::log(team.template sum<double>(n, [=](Index i) { return vmath::exp(x(i) - top); }));
}

// Tags that a thread takes at once: some vectors of the CPU, one on a GPU.
template <class Team> inline constexpr Index lanes = std::is_same_v<Team, CpuTeam> ? 32 : 1;

// y_j = log sum_i e^{x_i + M_ij}, M of rows i, or of rows j when Transposed. What a thread writes is y_j at those j that
// team.each gives it.
template <bool Transposed, class T, class Team>
HD void log_sum_exp_columns(Team team, Index C, const double* x, const T* M, double* y) {
  constexpr Index W = lanes<Team>;
  for (Index b = team.rank() * W; b < C; b += team.size() * W) {
    const Index n = W < C - b ? W : C - b, down = Transposed ? 1 : C, right = Transposed ? C : 1;
    double top[W], sum[W];
    for (Index l = 0; l < n; ++l) top[l] = -vmath::infinity<double>, sum[l] = 0;
    for (Index i = 0; i < C; ++i) {
      const T* m = M + b * right + i * down;
      const double xi = x[i];
#pragma omp simd
      for (Index l = 0; l < n; ++l) {
        const double v = xi + double(m[l * right]);
        top[l] = v > top[l] ? v : top[l];
      }
    }
    for (Index l = 0; l < n; ++l) top[l] = top[l] - top[l] == 0 ? top[l] : 0;  // no path: log 0
    for (Index i = 0; i < C; ++i) {
      const T* m = M + b * right + i * down;
      const double xi = x[i];
#pragma omp simd
      for (Index l = 0; l < n; ++l) sum[l] += vmath::exp(xi + double(m[l * right]) - top[l]);
    }
#pragma omp simd
    for (Index l = 0; l < n; ++l) y[b + l] = top[l] + vmath::log(sum[l]);
  }
}

template <class Team> HD void shift_to_zero(Team team, Index n, double* x, double top) {
  team.each(n, [=](Index j) { x[j] -= top; });
}

template <class T> struct Chains {
  const T *e, *A, *start, *end;    // [N,T,C], [C,C], [C], [C]
  const Index *tags, *at, *count;  // [N,T], [N,T], [N]
  Index length, C;
  HD const T* emission(Index n, Index k) const { return e + (n * length + at[n * length + k]) * C; }
  HD Index tag(Index n, Index k) const { return tags[n * length + at[n * length + k]]; }
  HD double* row(double* x, Index n, Index k) const { return x + (n * length + k) * C; }
};

// alpha [N,T,C], a_k at place k of the positions kept; loss [N]
template <class T> struct Forward {
  Chains<T> chains;
  double* alpha;
  T* loss;
  template <class Team> HD void operator()(Index n, Team team) const {
    const Index C = chains.C, count = chains.count[n];
    const T *A = chains.A, *start = chains.start, *end = chains.end;
    double L = 0;
    for (Index k = 0; k < count; ++k) {
      const T* e = chains.emission(n, k);
      const double high = team.template max<double>(C, [=](Index j) { return double(e[j]); });
      double* a = chains.row(alpha, n, k);
      const double* before = a - C;
      if (k == 0) {
        team.each(C, [=](Index j) { a[j] = double(start[j]) + (double(e[j]) - high); });
      } else {
        log_sum_exp_columns<false>(team, C, before, A, a);
        team.each(C, [=](Index j) { a[j] += double(e[j]) - high; });
      }
      const double top = team.template max<double>(C, [=](Index j) { return a[j]; });
      shift_to_zero(team, C, a, top);
      team.sync();  // the next step reads all of a
      const Index y = chains.tag(n, k);
      L += top;
      L -= (double(e[y]) - high) + double(k ? A[chains.tag(n, k - 1) * C + y] : start[y]);
    }
    if (count > 0) {
      const double* a = chains.row(alpha, n, count - 1);
      L += log_sum_exp(team, C, [=](Index j) { return a[j] + double(end[j]); }) - double(end[chains.tag(n, count - 1)]);
    }
    if (team.leads()) loss[n] = T(L);
  }
};

// What the gradients of A, start and end are summed from.
struct Terms {
  double *onward, *log_pair, *weight;  // [N,T,C] e_k + b_k; [N,T] the log of its sum over pairs; [N,T] dL_n
  Index* pair;                         // [N,T] y_{k-1} C + y_k; -1: no pair ends here
  double *first, *last;                // [N,C] g (P(y = j) - [j = y]) of the first and the last token
};

// de [N,T,C] or null, and the terms
template <class T> struct Backward {
  Chains<T> chains;
  const double* alpha;
  const T* dy;
  T* de;
  Terms terms;
  template <class Team> HD void operator()(Index n, Team team) const {
    const Index C = chains.C, count = chains.count[n], row = n * chains.length;
    const T *A = chains.A, *end = chains.end;
    const double g = double(dy[n]);
    Index* pair = terms.pair + row;
    team.each(chains.length - count, [=](Index k) { pair[count + k] = -1; });
    double *first = terms.first + n * C, *last = terms.last + n * C;
    if (count == 0) {
      team.each(C, [=](Index j) { first[j] = last[j] = 0; });
      return;
    }
    double* b = chains.row(terms.onward, n, count - 1);
    const double top_end = team.template max<double>(C, [=](Index j) { return double(end[j]); });
    team.each(C, [=](Index j) { b[j] = double(end[j]) - top_end; });
    for (Index k = count - 1;; --k, b -= C) {
      const double *a = alpha + (row + k) * C, *now = b;
      const double log_p = log_sum_exp(team, C, [=](Index j) { return a[j] + now[j]; });
      const Index y = chains.tag(n, k);
      T* slope = de ? de + (row + chains.at[row + k]) * C : nullptr;
      const bool starts = k == 0, ends = k == count - 1;
      team.each(C, [=](Index j) {
        const double p = g * (vmath::exp(a[j] + now[j] - log_p) - double(j == y));
        if (slope) slope[j] += T(p);
        if (starts) first[j] = p;
        if (ends) last[j] = p;
      });
      if (k == 0) break;
      const T* e = chains.emission(n, k);
      const double high = team.template max<double>(C, [=](Index j) { return double(e[j]); });
      double *onward = b, *next = b - C;
      team.each(C, [=](Index j) { onward[j] += double(e[j]) - high; });
      team.sync();  // each next[i] reads all of it
      log_sum_exp_columns<true>(team, C, onward, A, next);
      const double* before = a - C;
      const double log_pair = log_sum_exp(team, C, [=](Index i) { return before[i] + next[i]; });
      const double top = team.template max<double>(C, [=](Index i) { return next[i]; });
      shift_to_zero(team, C, next, top);
      if (team.leads()) {
        pair[k] = chains.tag(n, k - 1) * C + y;
        terms.log_pair[row + k] = log_pair;
        terms.weight[row + k] = g;
      }
    }
    if (team.leads()) pair[0] = -1;
  }
};

// dA_ij += sum_nk g_n (P(y_{k-1} = i, y_k = j) - [both]), a row for each i
template <class T> struct PairSum {
  Index C, places;  // N T
  const T* A;
  const double* alpha;
  Terms terms;
  T* dA;
  HD double term(Index i, Index j, Index k) const {
    const double log_p = alpha[(k - 1) * C + i] + (double(A[i * C + j]) + terms.onward[k * C + j]) - terms.log_pair[k];
    return terms.weight[k] * (vmath::exp(log_p) - double(terms.pair[k] == i * C + j));
  }
  template <class Team> HD void operator()(Index i, Team team) const {
    const PairSum self = *this;
    for (Index j = 0; j < C; ++j) {
      const double total =
          team.template sum<double>(places, [=](Index k) { return self.terms.pair[k] < 0 ? 0.0 : self.term(i, j, k); });
      if (team.leads()) dA[i * C + j] += T(total);
    }
  }
  HD void operator()(Index i, CpuTeam) const {
    const PairSum self = *this;
    constexpr Index W = lanes<CpuTeam>;
    for (Index b = 0; b < C; b += W) {
      const Index n = std::min(W, C - b);
      double sum[W] = {};
      for (Index k = 0; k < places; ++k) {
        if (terms.pair[k] < 0) continue;
#pragma omp simd
        for (Index l = 0; l < n; ++l) sum[l] += self.term(i, b + l, k);
      }
      for (Index l = 0; l < n; ++l) dA[i * C + b + l] += T(sum[l]);
    }
  }
};

// to_j += sum_n x_nj
template <class T> struct SumSequences {
  Index N, C;
  const double* x;
  T* to;
  template <class Team> HD void operator()(Index j, Team team) const {
    const double* column = x + j;
    const Index step = C;
    const double total = team.template sum<double>(N, [=](Index n) { return column[n * step]; });
    if (team.leads()) to[j] += T(total);
  }
};

}  // namespace gradus::crf
