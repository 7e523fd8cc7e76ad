// Products of tiles for attention on a GPU (ops/attention_device.h): what one block of threads multiplies, in slices through
// shared memory.
//
// 256 threads stand 16 by 16. Each holds R rows x 4 columns of a tile in registers; operands lie in shared memory so that
// what is multiplied in one step is side by side: per step a thread reads R + 4 numbers, and multiplies 4 R times.
#pragma once
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
#include <utility>

#include "ops/launch.h"

namespace gradus::flash {

inline constexpr int side = 16, threads = side * side, columns = 64;
inline constexpr Index widest = 256;  // D and E

// f(0), ..., f(n - 1), written out: an array stays in registers only when its indices are known to the compiler.
template <int n, class F> __device__ void unrolled(F f) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (f(i), ...); }
  (std::make_integer_sequence<int, n>());
}

// The products of one block. R: rows of a tile per thread.
template <class T, int R> struct Tiles {
  static constexpr int rows = side * R;
  static constexpr int depth = sizeof(T) == 4 ? 32 : 8;              // of a slice
  static constexpr int row_step = rows + 4, col_step = columns + 4;  // 4 more: fewer threads write to one bank
  static constexpr int slice = 2 * depth;
  static constexpr int stage_size = depth * (row_step + col_step > 2 * columns ? row_step + col_step : 2 * columns);
  static constexpr int weights_size = columns * row_step;

  T *stage, *weights;  // in shared memory

  __device__ static int tx() { return int(threadIdx.x) % side; }
  __device__ static int ty() { return int(threadIdx.x) / side; }

  // to[d][r] = from[r][first + d], 0 beyond the end
  __device__ static void load_turned(T* to, int step, int count, const T* from, Index valid, Index width, Index first) {
    for (int at = int(threadIdx.x); at < count * depth; at += threads) {
      const int r = at / depth, d = at % depth;
      to[d * step + r] = r < valid && first + d < width ? from[r * width + first + d] : T(0);
    }
  }

  // s[i][j] = <row i of a, row j of b>; a and b begin at the tile, `valid` rows of them exist.
  __device__ void products(const T* a, Index a_valid, const T* b, Index b_valid, Index width, T (&s)[R][4]) const {
    for (int i = 0; i < R; ++i) {
      for (int j = 0; j < 4; ++j) s[i][j] = 0;
    }
    T* const turned_b = stage + depth * row_step;
    for (Index first = 0; first < width; first += depth) {
      __syncthreads();  // the stage has been read
      load_turned(stage, row_step, rows, a, a_valid, width, first);
      load_turned(turned_b, col_step, columns, b, b_valid, width, first);
      __syncthreads();
      for (int d = 0; d < depth; ++d) multiply(stage + d * row_step, turned_b + d * col_step, s);
    }
  }

  // weights[j][i] = w[i][j]
  __device__ void put(const T (&w)[R][4]) const {
    __syncthreads();  // the weights before them have been read
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < R; ++i) weights[(tx() * 4 + j) * row_step + ty() * R + i] = w[i][j];
    }
  }

  // out[i][j] += sum_k weights[k][i] b[k][j], each 64 columns of b in their part of out
  template <int C> __device__ void add_weighted(const T* b, Index b_valid, Index width, T (&out)[C][R][4]) const {
    unrolled<C>([&](int c) {
      for (int first = 0; first < columns; first += slice) {
        if (c * columns >= width || first >= b_valid) continue;  // the same for all threads
        __syncthreads();                                         // the weights are there, the stage has been read
        for (int at = int(threadIdx.x); at < slice * columns; at += threads) {
          const int k = first + at / columns, e = c * columns + at % columns;
          stage[at] = k < b_valid && e < width ? b[k * width + e] : T(0);
        }
        __syncthreads();
        for (int k = 0; k < slice; ++k) multiply(weights + (first + k) * row_step, stage + k * columns, out[c]);
      }
    });
  }

  __device__ static void multiply(const T* a, const T* b, T (&s)[R][4]) {
    T left[R], right[4];
    for (int i = 0; i < R; ++i) left[i] = a[ty() * R + i];
    for (int j = 0; j < 4; ++j) right[j] = b[tx() * 4 + j];
    for (int i = 0; i < R; ++i) {
      for (int j = 0; j < 4; ++j) s[i][j] += left[i] * right[j];
    }
  }
};

// Over the 16 threads that share a row.
template <class T> __device__ T row_sum(T v) {
  for (int distance = side / 2; distance > 0; distance /= 2) v += cuda::shuffled(v, distance);
  return v;
}
template <class T> __device__ T larger(T a, T b) { return b > a || b != b ? b : a; }  // NaN wins
template <class T> __device__ T row_max(T v) {
  for (int distance = side / 2; distance > 0; distance /= 2) v = larger(v, cuda::shuffled(v, distance));
  return v;
}

// Softmax's value where a score is seen; 0 for a query that sees nothing.
template <class T> __device__ T probability(T s, T scale, T top, T total) {
  return top == -vmath::infinity<T> ? T(0) : vmath::exp(scale * (s - top)) / total;
}

}  // namespace gradus::flash
#endif
