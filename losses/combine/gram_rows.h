// What the gradients g [K,P] of K tasks come down to: their lengths, their inner products, and sums of them. Long rows go
// by chunks: a team adds a chunk, another adds the chunks. All sums are in double.
#pragma once
#include <cmath>

#include "losses/combine/chunks.h"
#include "ops/launch.h"

namespace gradus {

// Of chunk b of row k: its greatest |entry|, and the sum of squares in units of that. Zeros have 0 and 0.
template <class T> struct ChunkLength {
  const T* g;
  Index K, P;
  double *greatest, *square;  // [chunks,K]
  template <class Team> HD void operator()(Index bk, Team team) const {
    const Chunk c = chunk(bk / K, P);
    const T* x = g + bk % K * P + c.begin;
    const double m =
        team.template max<double>(c.length, [=](Index p) { return x[p] < 0 ? -double(x[p]) : double(x[p]); });
    const double unit = m > 0 ? m : 1;
    const double s =
        team.template sum<double>(c.length, [=](Index p) { return double(x[p]) / unit * (double(x[p]) / unit); });
    if (team.leads()) {
      greatest[bk] = m;
      square[bk] = s;
    }
  }
};

// Of row k: its greatest |entry|, and its length in units of that. A row of zeros has 1 and 0.
struct RowLength {
  Index K, chunks;
  const double *chunk_greatest, *chunk_square;
  double *greatest, *length;
  template <class Team> HD void operator()(Index k, Team team) const {
    const Index tasks = K;
    const double *top = chunk_greatest + k, *square = chunk_square + k;
    const double m = team.template max<double>(chunks, [=](Index b) { return top[b * tasks]; });
    const double unit = m > 0 ? m : 1;
    const double s = team.template sum<double>(chunks, [=](Index b) {
      const double scale = top[b * tasks] / unit;
      return square[b * tasks] * scale * scale;
    });
    if (team.leads()) {
      greatest[k] = unit;
      length[k] = std::sqrt(s);
    }
  }
};

// The greatest entry of all rows that have a length; 1 when none has.
struct CommonUnit {
  Index K;
  const double *greatest, *length;
  double* unit;
  HD void operator()(Index) const {
    double m = 0;
    for (Index k = 0; k < K; ++k) m = length[k] > 0 && greatest[k] > m ? greatest[k] : m;
    *unit = m > 0 ? m : 1;
  }
};

// 1 / |g_k|, 0 for a row of zeros
struct Reciprocal {
  const double* length;
  double* w;
  HD void operator()(Index k) const { w[k] = length[k] == 0 ? 0 : 1 / length[k]; }
};

// Of chunk b: <g_i, g_j> / unit^2 for i <= j
template <class T> struct ChunkProduct {
  const T* g;
  Index K, P;
  const double* unit;
  double* part;  // [chunks,K,K]
  template <class Team> HD void operator()(Index row, Team team) const {
    const Index i = row / K % K, j = row % K;
    if (i > j) return;
    const Chunk c = chunk(row / (K * K), P);
    const T *x = g + i * P + c.begin, *y = g + j * P + c.begin;
    const double s = *unit;
    const double sum =
        team.template sum<double>(c.length, [=](Index p) { return double(x[p]) / s * (double(y[p]) / s); });
    if (team.leads()) part[row] = sum;
  }
};

struct InnerProduct {
  Index K, chunks;
  const double* part;
  double* gram;
  template <class Team> HD void operator()(Index ij, Team team) const {
    const Index i = ij / K, j = ij % K, step = K * K;
    const double* x = part + (i < j ? i * K + j : j * K + i);
    const double sum = team.template sum<double>(chunks, [=](Index b) { return x[b * step]; });
    if (team.leads()) gram[ij] = sum;
  }
};

// d_p = sum_k w_k g_kp / unit_k
template <class T> struct Combine {
  const T* g;
  const double *w, *unit;
  Index K, P;
  T* d;
  HD void operator()(Index p) const {
    double s = 0;
    for (Index k = 0; k < K; ++k) s += w[k] == 0 ? 0. : w[k] * (double(g[k * P + p]) / unit[k]);
    d[p] = T(s);
  }
};

}  // namespace gradus
