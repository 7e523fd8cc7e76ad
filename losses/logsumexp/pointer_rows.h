// The row bodies of pointer_loss, for a block of rows of all maps: i and j from `first` on, as a cell (i,j) has i <= j.
//
// What arrives is <q_i, k_j>; a row of a map is its cells j = i, i+1, .. up to the window. For each row
//   forward    sum_neg e^s and sum_pos e^-s, as e^m times a sum
//   backward   c ds_j for the products with k and q, dstart(i) = sum_j ds_j; and for each column dend(j) = sum_i ds_ij
// A cell's ds is computed where it is needed, so that nobody adds to what another one holds.
#pragma once
#include "losses/logsumexp/log1p_sum_exp.h"

namespace gradus::pointer {

// Rows first .. first + rows - 1 and columns first .. first + columns - 1 of `pairs` maps of a sequence and a group.
struct Block {
  Index pair, pairs, first, rows, columns;
};

// One row of one type, from its cell j = 0, which is (i,i), on.
template <class T> struct Row {
  const T *dot, *end;
  const std::uint8_t *mark, *token;
  T begin, scale;
  Index n;  // 0 when the token i is masked
  HD T s(Index j) const { return scale * dot[j] + (begin + end[j]); }
  // The exponents of the two sums; -inf where the cell is not of that kind.
  HD T down(Index j) const { return token[j] && !mark[j] ? s(j) : -vmath::infinity<T>; }
  HD T up(Index j) const { return token[j] && mark[j] ? -s(j) : -vmath::infinity<T>; }
};

template <class T> struct Maps {
  const T *dot, *start, *end;        // [pairs,rows,columns] of the block; [N,H,T]
  const std::uint8_t *mark, *token;  // [N,H,T,T] not 0 where a span is; [N,T] 0 where masked
  T scale;
  Index groups, types, length, window;  // types in a group; length T; window < 0: none
  Block at;

  // Row r of type h of the p-th pair of the block; its number among all maps is map(p, h).
  HD Index map(Index p, Index h) const { return (at.pair + p) * types + h; }
  HD Row<T> row(Index p, Index h, Index r) const {
    const Index i = at.first + r, nh = map(p, h), stop = window < 0 || window >= length - i ? length : i + window + 1;
    const std::uint8_t* kept = token + (at.pair + p) / groups * length + i;
    return {dot + (p * at.rows + r) * at.columns + r,
            end + nh * length + i,
            mark + (nh * length + i) * length + i,
            kept,
            start[nh * length + i],
            scale,
            *kept ? stop - i : 0};
  }
};

// ---- forward

// sum_j e^{x_j} = e^m sum; m = 0 while the plain sum is moderate
template <class T> struct Part { T m, sum; };
template <class T, class Team, class X> HD Part<T> part(Team team, Index n, T plain, X x) {
  if (plain < moderate_sum<T>) return {T(0), plain};
  const T top = team.template max<T>(n, x);
  if (!(top < vmath::infinity<T>)) return {top, T(0)};
  const T m = top > 0 ? top : T(0);
  return {m, row_sum<T>(team, n, [=](Index j) { return vmath::exp_below(x(j) - m); })};
}

// The parts of each row, [N H,4,T]: m and sum of the negatives, m and sum of the positives.
template <class T> struct RowParts {
  Maps<T> maps;
  T* parts;
  template <class Team> [[gnu::flatten]] HD void operator()(Index index, Team team) const {
    const Index r = index % maps.at.rows, ph = index / maps.at.rows, p = ph / maps.types, h = ph % maps.types;
    const Row<T> row = maps.row(p, h, r);
    const Two<T> plain = sum_two<T>(team, row.n, [=](Index j) -> Two<T> {
      const T s = row.s(j), e = vmath::exp_normal(row.mark[j] ? -s : s), v = row.token[j] ? e : T(0);
      return {row.mark[j] ? T(0) : v, row.mark[j] ? v : T(0)};
    });
    const Part<T> negative = part(team, row.n, plain.a, [=](Index j) { return row.down(j); });
    const Part<T> positive = part(team, row.n, plain.b, [=](Index j) { return row.up(j); });
    if (!team.leads()) return;
    const Index T_ = maps.length;
    T* to = parts + maps.map(p, h) * 4 * T_ + maps.at.first + r;
    to[0] = negative.m, to[T_] = negative.sum, to[2 * T_] = positive.m, to[3 * T_] = positive.sum;
  }
};

// log(1 + sum_i e^{m_i} sum_i), m_i >= 0
template <class T, class Team> HD LogSum<T> log1p_of_parts(Team team, Index n, const T* m, const T* sum) {
  const T top = n > 0 ? team.template max<T>(n, [=](Index i) { return m[i]; }) : T(0);
  if (!(top < vmath::infinity<T>)) return {top, T(0)};
  const T total = row_sum<T>(team, n, [=](Index i) { return sum[i] * vmath::exp_below(m[i] - top); });
  return {top, top == 0 ? vmath::log1p(total) : vmath::log(vmath::exp(-top) + total)};
}

// y = Q + P of each map, and both for the backward pass: logs [N H,4].
template <class T> struct MapLoss {
  Index length;
  const T* parts;
  T *loss, *logs;
  template <class Team> HD void operator()(Index nh, Team team) const {
    const T* of_map = parts + nh * 4 * length;
    const LogSum<T> Q = log1p_of_parts(team, length, of_map, of_map + length),
                    P = log1p_of_parts(team, length, of_map + 2 * length, of_map + 3 * length);
    if (!team.leads()) return;
    loss[nh] = Q.value() + P.value();
    T* to = logs + 4 * nh;
    to[0] = Q.m, to[1] = Q.rest, to[2] = P.m, to[3] = P.rest;
  }
};

// ---- backward

// ds at upstream 1: e^{s - Q} at negatives, -e^{-s - P} at positives
template <class T> struct Slope {
  Row<T> row;
  T qm, q_rest, pm, p_rest;
  HD Slope(const Row<T>& r, const T* logs) : row(r), qm(logs[0]), q_rest(logs[1]), pm(logs[2]), p_rest(logs[3]) {}
  HD T operator()(Index j) const {
    const T s = row.s(j), e = vmath::exp_below(row.mark[j] ? (-s - pm) - p_rest : (s - qm) - q_rest);
    return row.token[j] ? (row.mark[j] ? -e : e) : T(0);
  }
};

// ds [pairs,rows,columns] = c sum over the types of a pair; may stand where the scores stood when there is one type.
// dstart [N,H,T] or null
template <class T> struct RowSlopes {
  Maps<T> maps;
  const T *dy, *logs;
  T *ds, *dstart;
  template <class Team> [[gnu::flatten]] HD void operator()(Index index, Team team) const {
    const Block at = maps.at;
    const Index p = index / at.rows, r = index % at.rows, n = maps.row(p, 0, r).n;
    T *to = ds + index * at.columns, *cells = to + r;
    team.each(r, [=](Index j) { to[j] = 0; });
    team.each(at.columns - r - n, [=](Index j) { cells[n + j] = 0; });
    for (Index h = 0; h < maps.types; ++h) {
      const Index nh = maps.map(p, h);
      const Slope<T> slope(maps.row(p, h, r), logs + 4 * nh);
      const T g = dy[nh], c = g * maps.scale;
      if (dstart) {  // before ds takes the place of the scores
        const T total = row_sum<T>(team, n, slope);
        if (team.leads()) dstart[nh * maps.length + at.first + r] += g * total;
      }
      if (h == 0) {
        team.each(n, [=](Index j) { cells[j] = c * slope(j); });
      } else {
        team.each(n, [=](Index j) { cells[j] += c * slope(j); });
      }
    }
  }
};

// dend [N,H,T], a stretch of columns of one map after the other
template <class T> struct EndSlopes {
  static constexpr Index width = 64;
  Maps<T> maps;
  const T *dy, *logs;
  T* dend;
  HD Index stretches() const { return (maps.at.columns + width - 1) / width; }
  template <class Team> [[gnu::flatten]] HD void operator()(Index index, Team team) const {
    const Block at = maps.at;
    const Index first = index % stretches() * width, ph = index / stretches(), p = ph / maps.types, h = ph % maps.types;
    const Index nh = maps.map(p, h), n = at.columns - first < width ? at.columns - first : width;
    const T g = dy[nh];
    T* to = dend + nh * maps.length + at.first + first;
    for (Index r = 0; r < at.rows && r < first + n; ++r) {
      const Slope<T> slope(maps.row(p, h, r), logs + 4 * nh);
      const Index from = r - first, stop = from + slope.row.n;  // of the row's cells among these columns
      if (stop <= 0) continue;
      team.each(n, [=](Index j) { to[j] += j >= from && j < stop ? g * slope(j - from) : T(0); });
    }
  }
};

}  // namespace gradus::pointer
