// InfoNCE, NT-Xent and SupCon row by row, for any device: which columns count, the loss of a row and its gradient. The
// formulas stand in info_nce_rows.h. A body sees some rows of the similarity matrix, from row `first` on.
#pragma once
#include "losses/logsumexp/info_nce_rows.h"
#include "ops/launch.h"

namespace gradus::info_nce_bodies {

// The sets A and P of row r. Types, and | and & instead of || and &&, so that the loops have no branches and vectorise.
struct OwnColumn {  // Positives::diagonal, no ids
  static constexpr bool one_positive = true;
  std::int32_t r;
  HD OwnColumn(const Index*, Index row) : r(std::int32_t(row)) {}
  HD bool candidate(Index) const { return true; }
  HD bool positive(Index c) const { return std::int32_t(c) == r; }
};
struct OwnColumnOfId {  // Positives::diagonal
  static constexpr bool one_positive = true;
  std::int32_t r;
  const Index* id;
  Index own;
  HD OwnColumnOfId(const Index* ids, Index row) : r(std::int32_t(row)), id(ids), own(ids[row]) {}
  HD bool candidate(Index c) const { return (std::int32_t(c) == r) | (id[c] != own); }
  HD bool positive(Index c) const { return std::int32_t(c) == r; }
};
struct OthersOfId {  // Positives::same_id
  static constexpr bool one_positive = false;
  std::int32_t r;
  const Index* id;
  Index own;
  HD OthersOfId(const Index* ids, Index row) : r(std::int32_t(row)), id(ids), own(ids[row]) {}
  HD bool candidate(Index c) const { return std::int32_t(c) != r; }
  HD bool positive(Index c) const { return (std::int32_t(c) != r) & (id[c] == own); }
};

template <class F> void with_choice(Positives positives, const Index* ids, const F& f) {
  if (positives == Positives::same_id) return f.template operator()<OthersOfId>();
  if (ids) return f.template operator()<OwnColumnOfId>();
  f.template operator()<OwnColumn>();
}

template <class T, class Choice> struct RowLoss {
  const Index* ids;
  const T* similarity;
  Index N, first;
  T sharpness;                   // 1 / temperature
  T *loss, *top, *rest, *count;  // [N] each; lse = sharpness top + rest
  HD std::size_t staging_bytes() const { return std::size_t(N) * sizeof(T); }
  template <class Team> HD void operator()(Index row, Team team) const {
    const Index r = first + row;
    const Choice in(ids, r);
    const T *s = team.stage(N, similarity + row * N), k = sharpness;
    const T positives =
        Choice::one_positive ? T(1) : team.template sum<T>(N, [=](Index c) { return T(in.positive(c)); });
    T m = 0, log_sum = 0, gaps = 0;
    if (positives > 0) {
      m = team.template max<T>(N, [=](Index c) { return in.candidate(c) ? s[c] : -vmath::infinity<T>; });
      // The greatest terms are 1 each. One of them is the 1 of log1p, so that small others keep their digits.
      const T greatest = team.template sum<T>(N, [=](Index c) { return T(in.candidate(c) & (s[c] == m)); });
      const T others = team.template sum<T>(
          N, [=](Index c) { return (in.candidate(c) & (s[c] < m)) ? vmath::exp(k * (s[c] - m)) : T(0); });
      log_sum = vmath::log1p(others + (greatest - 1));
      gaps = Choice::one_positive ? m - s[r]
                                  : team.template sum<T>(N, [=](Index c) { return in.positive(c) ? m - s[c] : T(0); });
    }
    if (team.leads()) {
      loss[r] = positives > 0 ? log_sum + k * (gaps / positives) : T(0);
      top[r] = m;
      rest[r] = log_sum;
      count[r] = positives;
    }
  }
};

template <class T, class Choice> struct SimilarityGradient {
  const Index* ids;
  const T *dy, *similarity, *loss, *top, *rest, *count;
  Index N, first;
  T sharpness;
  T* ds;  // may be the similarities
  bool add;
  template <class Team> HD void operator()(Index row, Team team) const {
    const Index r = first + row;
    const Choice in(ids, r);
    const T *s = similarity + row * N, k = sharpness, m = top[r], log_sum = rest[r], positives = count[r];
    const T g = positives > 0 ? dy[r] * k : T(0);
    T* to = ds + row * N;
    const bool plus = add;
    if (g == 0) return team.each(N, [=](Index c) { to[c] = plus ? to[c] : T(0); });
    // A single positive has log p = -L, and p - 1 keeps its digits as expm1(-L): also where p is 1 - 1e-20.
    const bool single = positives == 1;
    const T fixed = single ? vmath::expm1(-loss[r]) : -1 / positives, moving = single ? T(0) : T(1);
    team.each(N, [=](Index c) {
      const T p = vmath::exp(k * (s[c] - m) - log_sum);
      const T pull = in.positive(c) ? fixed + moving * p : p;
      const T v = in.candidate(c) ? g * pull : T(0);
      to[c] = plus ? to[c] + v : v;
    });
  }
};

}  // namespace gradus::info_nce_bodies
