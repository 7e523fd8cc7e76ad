// The softmax of one row in two numbers, for a team of ops/launch.h:
//
//   log p_j = (z_j - top) - rest          top = z_k the greatest logit,  rest = log(1 + sum_{j != k} e^{z_j - top}) >= 0
//
// Nothing overflows, and no digit is lost where p_k is nearly 1: the 1 of the greatest logit is never added to the others,
// so rest is 1e-20 where 1 - p_k is.
//
// One pass over memory. On the CPU the row is taken in blocks that stay in the first cache, and where a block holds a new
// greatest logit, the sum so far is scaled to it. On a GPU each thread does so for its own elements, and then the threads'
// pairs are joined (online softmax: Milakov and Gimelshein 2018).
#pragma once
#include "ops/launch.h"

namespace gradus {

template <class T> struct Partition { T top, rest; };

// Some logits of a row: the greatest, and what the others add beside its 1.
template <class T> struct PartialSum {
  T top, others;
  int any, unused = 0;  // whether there is one above -inf
  HD static PartialSum of(T z) { return {z, T(0), z > -vmath::infinity<T> || z != z}; }
};
template <class T> HD PartialSum<T> joined(PartialSum<T> a, PartialSum<T> b) {
  if (!a.any || a.top != a.top) return a.any ? a : b;
  if (!b.any || b.top != b.top) return b.any ? b : a;
  if (a.top == b.top) return {a.top, a.others + b.others + 1, 1};
  if (a.top > b.top) return {a.top, a.others + (b.others + 1) * vmath::exp_below(b.top - a.top), 1};
  return {b.top, b.others + (a.others + 1) * vmath::exp_below(a.top - b.top), 1};
}

// z(j): logit j of n >= 1. All -inf gives NaN, as the softmax of such a row.
template <class T, class Team, class F> HD Partition<T> partition(Team team, Index n, F z) {
  if constexpr (!Team::alone) {
    PartialSum<T> mine{-vmath::infinity<T>, T(0), 0};
    team.each(n, [&](Index j) { mine = joined(mine, PartialSum<T>::of(z(j))); });
    const PartialSum<T> all = team.combined(mine, [](PartialSum<T> a, PartialSum<T> b) { return joined(a, b); });
    return {all.top, all.any ? vmath::log1p(all.others) : vmath::nan<T>};
  }
  constexpr Index block = 1024;
  T top = -vmath::infinity<T>, others = 0;
  bool any = false;  // a greatest logit is known, and its 1 is not in `others`
  for (Index b = 0; b < n; b += block) {
    const Index size = n - b < block ? n - b : block;
    const T m = team.template max<T>(size, [=](Index j) { return z(b + j); });
    if (m > top || m != m) {
      others = any ? (others + 1) * vmath::exp_below(top - m) : T(0);
      any = true;
      top = m;
      // Where several are greatest, all but one count.
      const T ties = team.template sum<T>(size, [=](Index j) { return z(b + j) == m ? T(1) : T(0); });
      others += ties - 1 + team.template sum<T>(size, [=](Index j) {
        const T v = z(b + j), e = vmath::exp_below(v - m);
        return v == m ? T(0) : e;
      });
    } else if (any) {
      others += team.template sum<T>(size, [=](Index j) { return vmath::exp_below(z(b + j) - top); });
    }
  }
  if (!any) return {top, vmath::nan<T>};
  return {top, vmath::log1p(others)};
}

}  // namespace gradus
