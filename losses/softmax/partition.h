// The softmax of one row in two numbers, for a team of ops/launch.h:
//
//   log p_j = (z_j - top) - rest          top = z_k the greatest logit,  rest = log(1 + sum_{j != k} e^{z_j - top}) >= 0
//
// Nothing overflows, and no digit is lost where p_k is nearly 1: the 1 of the greatest logit is never added to the others,
// so rest is 1e-20 where 1 - p_k is.
//
// One pass over memory: the row is taken in blocks that stay in the first cache, and where a block holds a new greatest
// logit, the sum so far is scaled to it.
#pragma once
#include "ops/launch.h"

namespace gradus {

template <class T> struct Partition { T top, rest; };

// z(j): logit j of n >= 1. All -inf gives NaN, as the softmax of such a row.
template <class T, class Team, class F> HD Partition<T> partition(Team team, Index n, F z) {
  constexpr Index block = 1024;
  T top = -vmath::infinity<T>, others = 0;
  bool any = false;  // a greatest logit is known, and its 1 is not in `others`
  const auto sum_exp = [=](Index begin, Index end, T m) {
    return team.template sum<T>(end - begin, [=](Index j) { return vmath::exp_below(z(begin + j) - m); });
  };
  for (Index b = 0; b < n; b += block) {
    const Index e = b + block < n ? b + block : n;
    const T m = team.template max<T>(e - b, [=](Index j) { return z(b + j); });
    if (m > top || m != m) {
      others = any ? (others + 1) * vmath::exp(top - m) : T(0);
      any = true;
      top = m;
      const Index k = b + team.template argmax<T>(e - b, [=](Index j) { return z(b + j); });
      others += sum_exp(b, k, m) + sum_exp(k + 1, e, m);
    } else if (any) {
      others += sum_exp(b, e, top);
    }
  }
  if (!any) return {top, vmath::nan<T>};
  return {top, vmath::log1p(others)};
}

}  // namespace gradus
