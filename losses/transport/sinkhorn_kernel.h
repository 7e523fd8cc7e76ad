// Products with Sinkhorn's kernel matrix K [n,m], row-major, f32 or f64. Vectors that come out are f64.
//
// A product costs the reading of K, so both sides share one pass where they can: the result of a row gives that row's
// weight at once, and the row, still in the cache, goes into the column sums with it.
//
// Rows are taken in fixed blocks of 64, each summed by one thread, the blocks added in order: the same bits on any number
// of threads. In f32 at most 1024 / 16 terms of a row and 64 of a column are added before f64 takes over.
#pragma once
#include <algorithm>
#include <vector>

#include "engine/parallel.h"
#include "engine/pool.h"
#include "ops/vector_math.h"

namespace gradus::sinkhorn_kernel {

constexpr Index row_block = 64, column_run = 1024;

inline Index rows_per_chunk(Index m) { return std::max<Index>(1, serial_below / std::max<Index>(1, m)); }

// e^x rounded to T. For f32 the argument is reduced in f64: x of -80 would cost f32 five bits.
[[gnu::always_inline]] inline double exp_as(double x, double) { return vmath::exp(x); }
[[gnu::always_inline]] inline float exp_as(double x, float) {
  constexpr double shift = 6755399441055744.;  // 1.5 * 2^52
  const double inside = x < -87.3 ? -87.3 : x > 88. ? 88. : x;
  const double shifted = inside * 1.4426950408889634073599 + shift, k = shifted - shift;
  const float scale = std::bit_cast<float>((std::uint32_t(std::bit_cast<std::uint64_t>(shifted)) << 23) + 0x3f800000u);
  return x < -87.3 ? 0.f : vmath::exp_reduced(float(inside - k * 0.693147180559945309417)) * scale;
}

// Four rows from `first` on, the last one again where there are fewer.
template <class T> struct Quad {
  const T *r0, *r1, *r2, *r3;
  Quad(const T* K, Index first, Index n, Index m)
      : r0(K + first * m),
        r1(K + std::min(first + 1, n - 1) * m),
        r2(K + std::min(first + 2, n - 1) * m),
        r3(K + std::min(first + 3, n - 1) * m) {}

  // Four sums at a time: one alone would wait for its own last addition.
  void times(const T* x, Index m, double sums[4]) const {
    std::fill(sums, sums + 4, 0.0);
    for (Index begin = 0; begin < m; begin += column_run) {
      // Loops from 0: from `begin` on g++ 12 gathers the elements one by one.
      const T *a = r0 + begin, *b = r1 + begin, *c = r2 + begin, *d = r3 + begin, *v = x + begin;
      const Index width = std::min(m - begin, column_run);
      T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
      for (Index j = 0; j < width; ++j) {
        s0 += a[j] * v[j];
        s1 += b[j] * v[j];
        s2 += c[j] * v[j];
        s3 += d[j] * v[j];
      }
      sums[0] += double(s0), sums[1] += double(s1), sums[2] += double(s2), sums[3] += double(s3);
    }
  }
  void add_to(T* sums, Index m, const T w[4]) const {
    const T *a = r0, *b = r1, *c = r2, *d = r3;
    const T w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
#pragma omp simd
    for (Index j = 0; j < m; ++j) sums[j] += (a[j] * w0 + b[j] * w1) + (c[j] * w2 + d[j] * w3);
  }
};

// out_i = sum_j K_ij x_j
template <class T> void rows_times(const T* K, Index n, Index m, const T* x, double* out) {
  parallel_for((n + 3) / 4, rows_per_chunk(4 * m), [&](Index begin, Index end) {
    for (Index first = 4 * begin; first < std::min(n, 4 * end); first += 4) {
      double sums[4];
      Quad<T>(K, first, n, m).times(x, m, sums);
      std::copy(sums, sums + std::min<Index>(4, n - first), out + first);
    }
  });
}

// out_j = sum_i K_ij w_i, where weights(quad, i, count, w) gives w for `count` rows from i on.
template <class T, class F> void columns_by(const T* K, Index n, Index m, const F& weights, double* out) {
  const Index blocks = (n + row_block - 1) / row_block;
  std::vector<T, PoolAllocator<T>> partial(std::size_t(blocks * m), T(0));
  parallel_for(blocks, rows_per_chunk(row_block * m), [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      const Index last = std::min(n, (b + 1) * row_block);
      for (Index i = b * row_block; i < last; i += 4) {
        const Quad<T> quad(K, i, n, m);
        T w[4] = {};
        weights(quad, i, std::min<Index>(4, last - i), w);
        quad.add_to(partial.data() + b * m, m, w);
      }
    }
  });
  std::fill(out, out + m, 0.0);
  for (Index b = 0; b < blocks; ++b) {
    const T* sums = partial.data() + b * m;
#pragma omp simd
    for (Index j = 0; j < m; ++j) out[j] += double(sums[j]);
  }
}

// out_j = sum_i K_ij x_i
template <class T> void columns_times(const T* K, Index n, Index m, const T* x, double* out) {
  columns_by(
      K, n, m, [&](const Quad<T>&, Index i, Index count, T* w) { std::copy(x + i, x + i + count, w); }, out);
}

// out_j = sum_i K_ij weight(i, sum_j K_ij x_j), in one pass over K
template <class T, class F>
void rows_then_columns(const T* K, Index n, Index m, const T* x, const F& weight, double* out) {
  columns_by(
      K, n, m,
      [&](const Quad<T>& quad, Index i, Index count, T* w) {
        double sums[4];
        quad.times(x, m, sums);
        for (Index k = 0; k < count; ++k) w[k] = weight(i + k, sums[k]);
      },
      out);
}

}  // namespace gradus::sinkhorn_kernel
