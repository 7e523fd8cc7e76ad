// C = A B by blocks: a tile of C stays in registers while a sliver of A and a sliver of B stream past it.
//
//   for each k-block (k_block deep)               B's block is packed into slivers Tile::columns wide,
//     for each block of rows of A                 A's block into slivers Tile::rows high, both contiguous,
//       for each tile of C                        so that the innermost loop reads straight ahead:
//         C_tile += sum_k a[k][0..rows] b[k][0..columns]
//
// Packing reads A and B through (row stride, column stride), so transposed operands share the code. The sum over k runs in
// one order for every element of C, whoever computes it: the result does not depend on the number of threads.
#include "engine/gemm.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/parallel.h"
#include "engine/pool.h"

namespace gradus {
namespace {

template <class T> struct Tile {
  static constexpr Index lanes = 64 / Index(sizeof(T));
  static constexpr Index rows = 12, columns = 2 * lanes;
};
constexpr Index flops_per_thread = 10000000;
constexpr Index k_block = 384, row_block = 240, column_block = 3072;

// 64 bytes of T in one register; `Unaligned` says that they may start anywhere in memory. (g++ ignores an attribute that
// depends on a template parameter, and `auto` drops it: hence plain types, spelled out.)
template <class T> struct Lanes;
template <> struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(64)));
  typedef float Unaligned __attribute__((vector_size(64), aligned(4)));
};
template <> struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(64)));
  typedef double Unaligned __attribute__((vector_size(64), aligned(8)));
};

template <class T> struct Matrix {  // element (i,j) is at data[i * row + j * column]
  const T* data;
  Index row, column;
  const T* at(Index i, Index j) const { return data + i * row + j * column; }
};

// out[k][w] = x(w, k) for w < width, 0 beyond: a sliver `full` wide and `depth` deep. step: from one w to the next.
template <class T>
void pack_sliver(const T* x, Index step, Index k_step, Index width, Index full, Index depth, T* out) {
  for (Index k = 0; k < depth; ++k, out += full) {
    const T* from = x + k * k_step;
    if (step == 1) {
      std::memcpy(out, from, std::size_t(width) * sizeof(T));
    } else {
      for (Index w = 0; w < width; ++w) out[w] = from[w * step];
    }
    for (Index w = width; w < full; ++w) out[w] = 0;
  }
}

// One tile of C: rows x columns of it exist. `first` k-block overwrites unless the caller accumulates.
template <class T>
void tile(Index depth, const T* a, const T* b, T* c, Index ldc, Index rows, Index columns, bool add) {
  constexpr Index R = Tile<T>::rows, L = Tile<T>::lanes;
  using Vector = typename Lanes<T>::Vector;
  using Unaligned = typename Lanes<T>::Unaligned;
  Vector sum[R][2] = {};
  for (Index k = 0; k < depth; ++k, a += R, b += 2 * L) {
    const Vector b0 = *reinterpret_cast<const Unaligned*>(b), b1 = *reinterpret_cast<const Unaligned*>(b + L);
#pragma GCC unroll 16
    for (Index i = 0; i < R; ++i) {
      sum[i][0] += a[i] * b0;
      sum[i][1] += a[i] * b1;
    }
  }
  if (rows == R && columns == 2 * L) {
#pragma GCC unroll 16
    for (Index i = 0; i < R; ++i) {
      Unaligned* out = reinterpret_cast<Unaligned*>(c + i * ldc);
      Unaligned* right = reinterpret_cast<Unaligned*>(c + i * ldc + L);
      *out = add ? *out + sum[i][0] : sum[i][0];
      *right = add ? *right + sum[i][1] : sum[i][1];
    }
    return;
  }
  alignas(64) T edge[R * 2 * L];
  std::memcpy(edge, sum, sizeof edge);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < columns; ++j) c[i * ldc + j] = (add ? c[i * ldc + j] : T(0)) + edge[i * 2 * L + j];
  }
}

template <class T> struct Scratch {  // packed blocks, kept by each thread
  std::vector<T, PoolAllocator<T>> a, b;
};
template <class T> Scratch<T>& scratch() {
  static thread_local Scratch<T> s;
  return s;
}

// One matrix product on one thread: rows begin..end of C.
template <class T>
void product(const Matrix<T>& a, const Matrix<T>& b, T* c, Index begin, Index end, Index n, Index depth,
             bool accumulate) {
  constexpr Index R = Tile<T>::rows, W = Tile<T>::columns;
  auto& [packed_a, packed_b] = scratch<T>();
  packed_a.resize(std::size_t((row_block + R) * k_block));
  packed_b.resize(std::max(packed_b.size(), std::size_t((std::min(n, column_block) + W) * k_block)));  // never shrinks
  for (Index jc = 0; jc < n; jc += column_block) {
    const Index width = std::min(column_block, n - jc);
    for (Index pc = 0; pc < depth; pc += k_block) {
      const Index deep = std::min(k_block, depth - pc);
      const bool add = accumulate || pc > 0;
      for (Index j = 0; j < width; j += W) {
        pack_sliver(b.at(pc, jc + j), b.column, b.row, std::min(W, width - j), W, deep,
                    &packed_b[std::size_t(j * deep)]);
      }
      for (Index ic = begin; ic < end; ic += row_block) {
        const Index height = std::min(row_block, end - ic);
        for (Index i = 0; i < height; i += R) {
          pack_sliver(a.at(ic + i, pc), a.row, a.column, std::min(R, height - i), R, deep,
                      &packed_a[std::size_t(i * deep)]);
        }
        for (Index j = 0; j < width; j += W) {
          for (Index i = 0; i < height; i += R) {
            tile(deep, &packed_a[std::size_t(i * deep)], &packed_b[std::size_t(j * deep)], c + (ic + i) * n + jc + j, n,
                 std::min(R, height - i), std::min(W, width - j), add);
          }
        }
      }
    }
  }
}

}  // namespace

template <class T> void cpu_gemm(const Gemm& g, const T* a, const T* b, T* c) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return;
  if (g.k == 0) {
    for (Index item = 0; item < g.batch && !g.accumulate; ++item) std::fill_n(c + item * g.stride_c, g.m * g.n, T(0));
    return;
  }
  const auto one = [&](Index item, Index begin, Index end) {
    const Matrix<T> ma{a + item * g.stride_a, g.transpose_a ? 1 : g.k, g.transpose_a ? g.m : 1};
    const Matrix<T> mb{b + item * g.stride_b, g.transpose_b ? 1 : g.n, g.transpose_b ? g.k : 1};
    product(ma, mb, c + item * g.stride_c, begin, end, g.n, g.k, g.accumulate);
  };
  // Work is cut where it costs least: whole products of a batch, else rows of C. A thread wants 1e7 flops, about 50 us.
  const Index flops = 2 * g.m * g.n * g.k;
  if (g.batch > 1) {
    parallel_for(g.batch, std::max<Index>(1, flops_per_thread / flops), [&](Index first, Index last) {
      for (Index item = first; item < last; ++item) one(item, 0, g.m);
    });
    return;
  }
  constexpr Index R = Tile<T>::rows;
  const Index slivers = (g.m + R - 1) / R;
  parallel_for(slivers, std::max<Index>(1, slivers * flops_per_thread / flops),
               [&](Index first, Index last) { one(0, first * R, std::min(g.m, last * R)); });
}

template void cpu_gemm<float>(const Gemm&, const float*, const float*, float*);
template void cpu_gemm<double>(const Gemm&, const double*, const double*, double*);

}  // namespace gradus
