// y = log(1 + sum_j w_j e^{x_j}) over a row, for a team of ops/launch.h: log-sum-exp with a hidden 0 among its entries.
//
//   dy/dx_j = w_j e^{x_j - y}          the softmax over the row and the 0; what is missing to 1 is the share of the 0
//
// Safe form. The hidden e^0 = 1 fixes the scale, so S = sum_j w_j e^{x_j} is used as it stands while it is moderate,
// and log1p keeps its digits when it is 1e-30: a usual row costs one pass and one exp per element. Only when S is large
// the greatest entry m is sought, and y = m + log(e^-m + sum_j w_j e^{x_j - m}).
// The result stays in two parts, y = m + rest: (x - m) - rest keeps the digits that x - y loses at x = 1e4 in f32.
// Entries of -inf and of weight 0 (whatever their x) count nothing. +inf gives +inf, NaN gives NaN. n = 0 gives 0.
#pragma once
#include "ops/launch.h"

namespace gradus {

// sum_j f(j) of a long row. On the CPU in blocks whose sums add up in double: 65536 equal terms in f32, added one by
// one, would be wrong in the fourth digit. A thread block of a GPU adds few terms per thread anyway.
inline constexpr Index row_block = 1024;
template <class T, class Team, class F> HD T row_sum(Team team, Index n, F f) { return team.template sum<T>(n, f); }
template <class T, class F> HD T row_sum(CpuTeam, Index n, F f) {
  double total = 0;
  for (Index begin = 0; begin < n; begin += row_block) {
    const Index end = n < begin + row_block ? n : begin + row_block;
    T s = 0;
#pragma omp simd reduction(+ : s)
    for (Index j = begin; j < end; ++j) s += f(j);
    total += s;
  }
  return T(total);
}

template <class T> struct Two { T a, b; };

// The same for an f with two results; one pass on the CPU.
template <class T, class Team, class F> HD Two<T> sum_two(Team team, Index n, F f) {
  return {team.template sum<T>(n, [=](Index j) { return f(j).a; }),
          team.template sum<T>(n, [=](Index j) { return f(j).b; })};
}
template <class T, class F> HD Two<T> sum_two(CpuTeam, Index n, F f) {
  double total_a = 0, total_b = 0;
  for (Index begin = 0; begin < n; begin += row_block) {
    const Index end = n < begin + row_block ? n : begin + row_block;
    T a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (Index j = begin; j < end; ++j) {
      const Two<T> v = f(j);
      a += v.a;
      b += v.b;
    }
    total_a += a;
    total_b += b;
  }
  return {T(total_a), T(total_b)};
}

// w e^x, right also when e^x alone overflows; w = 0 gives 0.
template <class T> [[gnu::always_inline]] inline HD T weighted_exp(T w, T x) {
  const T h = vmath::exp_normal(x / 2);
  return w == 0 ? T(0) : (w * h) * h;
}

// y = m + rest
template <class T> struct LogSum {
  T m = 0, rest = 0;
  HD T value() const { return m + rest; }
  HD T exponent(T x) const { return (x - m) - rest; }                  // x - y
  HD T slope(T x) const { return vmath::exp((x - m) - rest); }         // dy/dx of an entry of weight 1
  HD T slope(T w, T x) const { return weighted_exp(w, exponent(x)); }  // dy/dx of an entry of weight w
};

// Below this, log(1 + S) keeps the digits of every x - y.
template <class T> inline constexpr T moderate_sum = T(1e9);

// y from the plain sum S when that is moderate; else from entry(j) = x_j + log w_j and term(j, m) = w_j e^{x_j - m}.
template <class T, class Team, class X, class W> HD LogSum<T> log1p_of_sum(Team team, Index n, T S, X entry, W term) {
  if (S < moderate_sum<T>) return {T(0), vmath::log1p(S)};
  const T top = team.template max<T>(n, entry);
  if (!(top < vmath::infinity<T>)) return {top, T(0)};
  const T m = top > 0 ? top : T(0);
  return {m, vmath::log(vmath::exp(-m) + row_sum<T>(team, n, [=](Index j) { return term(j, m); }))};
}
template <class T, class Team, class X> HD LogSum<T> log1p_of_sum(Team team, Index n, T S, X x) {
  return log1p_of_sum(team, n, S, x, [=](Index j, T m) { return vmath::exp(x(j) - m); });
}

// log(1 + sum_j e^{x(j)})
template <class T, class Team, class X> HD LogSum<T> log1p_sum_exp(Team team, Index n, X x) {
  return log1p_of_sum(team, n, row_sum<T>(team, n, [=](Index j) { return vmath::exp_normal(x(j)); }), x);
}

// w e, and 0 where w = 0, whatever e
template <class T> [[gnu::always_inline]] inline HD T weighed_term(T w, T e) {
  const T v = w * e;
  return w == 0 ? T(0) : v;
}

// log(1 + sum_j w(j) e^{x(j)}) from the plain sum S,  w >= 0
template <class T, class Team, class W, class X> HD LogSum<T> log1p_of_weighted_sum(Team team, Index n, T S, W w, X x) {
  const auto entry = [=](Index j) {
    const T v = w(j), lift = vmath::log(v);
    return v == 0 ? -vmath::infinity<T> : x(j) + lift;
  };
  return log1p_of_sum(team, n, S, entry, [=](Index j, T m) { return weighted_exp(w(j), x(j) - m); });
}

template <class T, class Team, class W, class X> HD LogSum<T> log1p_sum_exp(Team team, Index n, W w, X x) {
  const T S = row_sum<T>(team, n, [=](Index j) { return weighed_term(w(j), vmath::exp_normal(x(j))); });
  return log1p_of_weighted_sum(team, n, S, w, x);
}

}  // namespace gradus
