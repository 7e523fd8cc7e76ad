// Attention on a GPU without a matrix of scores (FlashAttention, Dao et al. 2022; the online softmax: Milakov and Gimelshein
// 2018). A block of 256 threads owns a tile of rows and walks over tiles of the other side:
//
//   forward   a tile of queries, over tiles of keys. Of each row it holds the greatest score m so far and
//             z = sum e^{scale (s - m)}; when m grows to m', z and y so far shrink by e^{scale (m - m')}.
//   dq        the same walk: P = e^{scale (s - m)} / z is computed again, dS = scale P (dP - <dy, y>), dq += dS k
//   dk, dv    a tile of keys, over tiles of queries: dv += P^T dy, dk += dS^T q
//
// Each gradient has one owner that adds in the order of the tiles: no atomics, the same bits in every run. Threads stand 16 by
// 16; each holds `R` rows x 4 columns of a tile of scores, and as much of every 64 columns of the result, in registers.
// Operands pass through shared memory, in slices in which what is multiplied together lies side by side.
#pragma once
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
#include <cstdint>

#include "ops/attention_tiles.h"

namespace gradus::flash {

template <class T> struct Problem {
  const T *q, *k, *v;        // [heads,T,D], [heads,S,D], [heads,S,E]; heads = B H
  const std::uint8_t* open;  // [B,S], 0: hidden from all; or null
  Index heads, heads_per_item, queries, keys, width, value_width;
  T scale;
  bool causal;

  // Query t sees the first so many keys, less those that are hidden; 0 beyond the last query.
  HD Index visible(Index t) const { return t >= queries ? 0 : causal ? t + 1 + keys - queries : keys; }
  HD const std::uint8_t* open_keys(Index head) const { return open ? open + head / heads_per_item * keys : nullptr; }
};

// What forward leaves for backward, and what backward adds: m, z and <dy, y> of each query.
template <class T> struct Rows { T *top, *total, *along; };

// Blocks that one multiprocessor's registers hold.
template <class T, int C> inline constexpr int at_once = C * sizeof(T) == 4 ? 2 : 1;

template <class T, int R, int C>
__global__ void __launch_bounds__(threads, at_once<T, C>)
    forward_kernel(Problem<T> p, Index tiles, T* y, Rows<T> kept) {
  using Tile = Tiles<T, R>;
  __align__(16) __shared__ T stage[Tile::stage_size], weights[Tile::weights_size];
  const Tile tile{stage, weights};
  // The last tile first: with a causal mask it has the most to do.
  const Index head = blockIdx.x / tiles, begin = (tiles - 1 - blockIdx.x % tiles) * Tile::rows;
  const Index end = begin + Tile::rows < p.queries ? begin + Tile::rows : p.queries, seen = p.visible(end - 1);
  const T *q = p.q + (head * p.queries + begin) * p.width, *k = p.k + head * p.keys * p.width;
  const T* v = p.v + head * p.keys * p.value_width;
  const std::uint8_t* open = p.open_keys(head);
  T top[R], total[R], out[C][R][4] = {};
  for (int i = 0; i < R; ++i) top[i] = -vmath::infinity<T>, total[i] = 0;
  for (Index key0 = 0; key0 < seen; key0 += columns) {
    T s[R][4];
    tile.products(q, p.queries - begin, k + key0 * p.width, p.keys - key0, p.width, s);
    unrolled<R>([&](int i) {
      const Index limit = p.visible(begin + tile.ty() * R + i);
      T greatest = top[i], sum = 0;
      for (int j = 0; j < 4; ++j) {
        const Index key = key0 + tile.tx() * 4 + j;
        if (key >= limit || (open && !open[key])) s[i][j] = -vmath::infinity<T>;
        greatest = larger(greatest, s[i][j]);
      }
      greatest = row_max(greatest);
      const bool none = greatest == -vmath::infinity<T>;
      for (int j = 0; j < 4; ++j) {
        s[i][j] = none ? T(0) : vmath::exp(p.scale * (s[i][j] - greatest));
        sum += s[i][j];
      }
      const T shrink = none ? T(1) : vmath::exp(p.scale * (top[i] - greatest));
      total[i] = total[i] * shrink + row_sum(sum);
      top[i] = greatest;
      for (int c = 0; c < C; ++c) {
        for (int j = 0; j < 4; ++j) out[c][i][j] *= shrink;
      }
    });
    tile.put(s);
    tile.add_weighted(v + key0 * p.value_width, p.keys - key0, p.value_width, out);
  }
  for (int i = 0; i < R; ++i) {
    const Index t = begin + tile.ty() * R + i, row = head * p.queries + t;
    if (t >= p.queries) continue;
    for (int c = 0; c < C; ++c) {
      for (int j = 0; j < 4; ++j) {
        const Index e = c * columns + tile.tx() * 4 + j;
        if (e < p.value_width) y[row * p.value_width + e] = total[i] == 0 ? T(0) : out[c][i][j] / total[i];
      }
    }
    if (tile.tx() == 0) kept.top[row] = top[i], kept.total[row] = total[i];
  }
}

// to [rows,width] += out
template <class T, int R, int C> __device__ void add_tile(T* to, Index valid, Index width, const T (&out)[C][R][4]) {
  for (int i = 0; i < R; ++i) {
    const Index r = Tiles<T, R>::ty() * R + i;
    if (r >= valid) continue;
    for (int c = 0; c < C; ++c) {
      for (int j = 0; j < 4; ++j) {
        const Index d = c * columns + Tiles<T, R>::tx() * 4 + j;
        if (d < width) to[r * width + d] += out[c][i][j];
      }
    }
  }
}

template <class T, int R, int C>
__global__ void __launch_bounds__(threads, 1)
    query_kernel(Problem<T> p, Index tiles, const T* dy, Rows<T> kept, T* dq) {
  using Tile = Tiles<T, R>;
  __align__(16) __shared__ T stage[Tile::stage_size], weights[Tile::weights_size];
  const Tile tile{stage, weights};
  const Index head = blockIdx.x / tiles, begin = (tiles - 1 - blockIdx.x % tiles) * Tile::rows;
  const Index end = begin + Tile::rows < p.queries ? begin + Tile::rows : p.queries, seen = p.visible(end - 1);
  const Index first_row = head * p.queries + begin;
  const T *q = p.q + first_row * p.width, *k = p.k + head * p.keys * p.width, *g = dy + first_row * p.value_width;
  const T* v = p.v + head * p.keys * p.value_width;
  const std::uint8_t* open = p.open_keys(head);
  T top[R], total[R], along[R], out[C][R][4] = {};
  for (int i = 0; i < R; ++i) {
    const Index r = tile.ty() * R + i, row = first_row + (r < p.queries - begin ? r : 0);
    top[i] = kept.top[row], total[i] = kept.total[row], along[i] = kept.along[row];
  }
  for (Index key0 = 0; key0 < seen; key0 += columns) {
    T s[R][4], dp[R][4];
    tile.products(q, p.queries - begin, k + key0 * p.width, p.keys - key0, p.width, s);
    tile.products(g, p.queries - begin, v + key0 * p.value_width, p.keys - key0, p.value_width, dp);
    for (int i = 0; i < R; ++i) {
      const Index limit = p.visible(begin + tile.ty() * R + i);
      for (int j = 0; j < 4; ++j) {
        const Index key = key0 + tile.tx() * 4 + j;
        const bool sees = key < limit && (!open || open[key]);
        s[i][j] = sees ? p.scale * probability(s[i][j], p.scale, top[i], total[i]) * (dp[i][j] - along[i]) : T(0);
      }
    }
    tile.put(s);
    tile.add_weighted(k + key0 * p.width, p.keys - key0, p.width, out);
  }
  add_tile(dq + first_row * p.width, p.queries - begin, p.width, out);
}

// dk or dv may be null.
template <class T, int R, int C>
__global__ void __launch_bounds__(threads, 1)
    key_kernel(Problem<T> p, Index tiles, const T* dy, Rows<T> kept, T* dk, T* dv) {
  using Tile = Tiles<T, R>;
  __align__(16) __shared__ T stage[Tile::stage_size], weights[Tile::weights_size];
  const Tile tile{stage, weights};
  const Index head = blockIdx.x / tiles, begin = blockIdx.x % tiles * Tile::rows, first_row = head * p.keys + begin;
  const T *q = p.q + head * p.queries * p.width, *k = p.k + first_row * p.width;
  const T *v = p.v + first_row * p.value_width, *g = dy + head * p.queries * p.value_width;
  const Index unseen = p.causal ? begin - (p.keys - p.queries) : 0;  // queries before this one see no key of the tile
  const std::uint8_t* open = p.open_keys(head);
  T out_k[C][R][4] = {}, out_v[C][R][4] = {};
  for (Index t0 = unseen > 0 ? unseen / columns * columns : 0; t0 < p.queries; t0 += columns) {
    T s[R][4], dp[R][4];
    const T *q0 = q + t0 * p.width, *g0 = g + t0 * p.value_width;
    tile.products(k, p.keys - begin, q0, p.queries - t0, p.width, s);
    if (dk) tile.products(v, p.keys - begin, g0, p.queries - t0, p.value_width, dp);
    for (int j = 0; j < 4; ++j) {
      const Index t = t0 + tile.tx() * 4 + j, limit = p.visible(t), row = head * p.queries + (t < p.queries ? t : 0);
      const T top = kept.top[row], total = kept.total[row], along = dk ? kept.along[row] : T(0);
      for (int i = 0; i < R; ++i) {
        const Index key = begin + tile.ty() * R + i;
        const bool sees = key < limit && (!open || open[key]);
        s[i][j] = sees ? probability(s[i][j], p.scale, top, total) : T(0);
        if (dk) dp[i][j] = sees ? p.scale * s[i][j] * (dp[i][j] - along) : T(0);
      }
    }
    if (dv) {
      tile.put(s);
      tile.add_weighted(g0, p.queries - t0, p.value_width, out_v);
    }
    if (dk) {
      tile.put(dp);
      tile.add_weighted(q0, p.queries - t0, p.width, out_k);
    }
  }
  if (dk) add_tile(dk + first_row * p.width, p.keys - begin, p.width, out_k);
  if (dv) add_tile(dv + first_row * p.value_width, p.keys - begin, p.value_width, out_v);
}

// along_i = <dy_i, y_i>
template <class T> struct Along {
  const T *dy, *y;
  Index width;
  T* along;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *g = dy + r * width, *out = y + r * width;
    const T s = team.template sum<T>(width, [=](Index j) { return g[j] * out[j]; });
    if (team.leads()) along[r] = s;
  }
};

// f<C>: 64 C columns hold the result. R is chosen so that `results` of them fit into the registers of a thread.
template <class T, class F> void with_columns(Index width, const F& f) {
  if (width <= columns) return f.template operator()<1>();
  if (sizeof(T) == 4 && width <= 2 * columns) return f.template operator()<(sizeof(T) == 4 ? 2 : 4)>();
  f.template operator()<4>();
}
template <class T, int C, int results> constexpr int rows_each() {
  constexpr int bytes = C * results * int(sizeof(T));
  return bytes <= 16 ? 4 : bytes <= 32 ? 2 : 1;
}
template <class T, int R> Index tiles_of(Index n) { return (n + Tiles<T, R>::rows - 1) / Tiles<T, R>::rows; }

template <class T> void forward(const Problem<T>& p, T* y, const Rows<T>& kept) {
  with_columns<T>(p.value_width, [&]<int C>() {
    constexpr int R = rows_each<T, C, 1>();
    const Index tiles = tiles_of<T, R>(p.queries);
    cuda::launch_kernel({p.heads * tiles, threads}, "attention, forward", user_line(), forward_kernel<T, R, C>, p,
                        tiles, y, kept);
  });
}

// dq, dk, dv: null where not wanted.
template <class T>
void backward(Device& device, const Problem<T>& p, const T* y, const T* dy, const Rows<T>& kept, T* dq, T* dk, T* dv) {
  launch_rows(device, p.heads * p.queries, p.value_width, Along<T>{dy, y, p.value_width, kept.along});
  if (dq) {
    with_columns<T>(p.width, [&]<int C>() {
      constexpr int R = rows_each<T, C, 1>();
      const Index tiles = tiles_of<T, R>(p.queries);
      cuda::launch_kernel({p.heads * tiles, threads}, "attention, dq", user_line(), query_kernel<T, R, C>, p, tiles, dy,
                          kept, dq);
    });
  }
  if (!dk && !dv) return;
  with_columns<T>(std::max(p.width, p.value_width), [&]<int C>() {
    constexpr int R = rows_each<T, C, 2>();
    const Index tiles = tiles_of<T, R>(p.keys);
    cuda::launch_kernel({p.heads * tiles, threads}, "attention, dk and dv", user_line(), key_kernel<T, R, C>, p, tiles,
                        dy, kept, dk, dv);
  });
}

}  // namespace gradus::flash
#endif
