// The GPU side of ops/launch.h: the same bodies as kernels. Knows grids, blocks and shared memory, and no op.
//
// Elementwise bodies get a thread per element. A row gets a block, the team: thread t takes elements t, t + size, ...; sums
// and maxima meet by shuffles within a warp and in shared memory between warps, always in the same order, so results are
// the same in every run. A short row gets one warp, which needs no barrier.
#pragma once
#include <math.h>

#include "cuda/runtime.h"

#ifdef GRADUS_EMULATED
#include "cuda/emulation/launch_kernel.h"
#endif

namespace gradus::cuda {

struct Shape1D {
  Index blocks;
  int threads;
  std::size_t shared_bytes = 0;
};

// The only place that starts a kernel. `name` and `line` are for its errors.
template <class... P, class... A>
void launch_kernel(const Shape1D& shape, std::string_view name, UserLine line, void (*kernel)(P...), A&&... args) {
  if (shape.blocks == 0) return;
  const auto blocks = unsigned(shape.blocks), threads = unsigned(shape.threads);
  if (shape.shared_bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               int(shape.shared_bytes)),
          name);
  }
#ifdef GRADUS_EMULATED
  emulation::launch_kernel(dim3(blocks), dim3(threads), shape.shared_bytes, stream(), {line.file, unsigned(line.line)},
                           kernel, static_cast<A&&>(args)...);
#else
  kernel<<<blocks, threads, shape.shared_bytes, stream()>>>(static_cast<A&&>(args)...);
#endif
  check_launch(name, line);
}

// Shared memory whose size is chosen at launch.
template <class T> __device__ T* dynamic_shared() {
#ifdef GRADUS_EMULATED
  return static_cast<T*>(emulation::dynamic_shared());
#else
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
#endif
}

inline constexpr unsigned whole_warp = 0xffffffffu;

// What the lane `distance` further on holds. Shuffles carry up to 8 bytes, so a larger value travels in words.
template <class V> __device__ V shuffled(V v, int distance) {
  static_assert(sizeof(V) % 4 == 0);
  constexpr int words = sizeof(V) / 4;
  unsigned in[words], out[words];
  memcpy(in, &v, sizeof(V));
  for (int k = 0; k < words; ++k) out[k] = __shfl_xor_sync(whole_warp, in[k], distance);
  memcpy(&v, out, sizeof(V));
  return v;
}

struct Team {
  static constexpr bool alone = false;
  std::size_t staging_bytes = 0;  // of dynamic shared memory, for stage()

  __device__ int rank() const { return int(threadIdx.x); }
  __device__ int size() const { return int(blockDim.x); }
  __device__ bool leads() const { return threadIdx.x == 0; }
  __device__ void sync() const { __syncthreads(); }

  template <class F> __device__ void each(Index n, F f) const {
    for (Index j = threadIdx.x; j < n; j += blockDim.x) f(j);
  }
  // The row x in shared memory when the launch made room for it (see launch_rows), so that a formula that walks over it
  // several times reads it once; otherwise x itself.
  template <class T> __device__ const T* stage(Index n, const T* x) const {
    if (std::size_t(n) * sizeof(T) > staging_bytes) return x;
    T* row = dynamic_shared<T>();
    __syncthreads();  // a row that was staged before has been read
    each(n, [&](Index j) { row[j] = x[j]; });
    __syncthreads();
    return row;
  }
  template <class T, class F> __device__ T sum(Index n, F f) const {
    T s = 0;
    each(n, [&](Index j) { s += f(j); });
    return combined(s, [](T a, T b) { return a + b; });
  }
  template <class T, class F> __device__ T max(Index n, F f) const { return best<T>(n, f).value; }
  template <class T, class F> __device__ Index argmax(Index n, F f) const { return best<T>(n, f).at; }

  // One value of each thread into one that all get. f must not care about order, and give both lanes of a pair the same.
  template <class V, class F> __device__ V combined(V mine, F f) const {
    for (int distance = 16; distance > 0; distance /= 2) mine = f(mine, shuffled(mine, distance));
    if (blockDim.x <= 32) return mine;
    __shared__ V of_warp[32];
    __syncthreads();  // the previous reduction has been read
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
    __syncthreads();
    V all = of_warp[0];
    for (unsigned w = 1; w < blockDim.x / 32; ++w) all = f(all, of_warp[w]);
    return all;
  }

 private:
  template <class T> struct Best {
    T value;
    T unused;
    Index at;
  };
  // NaN is greater than all; of equals, the first.
  template <class T> __device__ static Best<T> better(Best<T> a, Best<T> b) {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    const bool equal = a.value == b.value || (a_nan && b_nan);
    const bool take_b = equal ? b.at < a.at : b_nan || (!a_nan && b.value > a.value);
    return take_b ? b : a;
  }
  template <class T, class F> __device__ Best<T> best(Index n, F f) const {
    Best<T> mine{-T(INFINITY), T(0), n};
    each(n, [&](Index j) { mine = better(mine, Best<T>{f(j), T(0), j}); });
    const Best<T> all = combined(mine, [](Best<T> a, Best<T> b) { return better(a, b); });
    return {all.value, T(0), all.at < n ? all.at : 0};
  }
};

// ---- elements

inline constexpr int block_size = 256;
inline Index blocks_for(Index n) { return (n + block_size - 1) / block_size; }

template <class Body> __global__ void element_kernel(Index n, Body body) {
  const Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) body(i);
}
template <class Body> __global__ void grid_kernel(Index n, Index columns, Body body) {
  const Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) body(i / columns, i % columns);
}

template <class Body> void launch(Device&, Index n, const Body& body, UserLine line) {
  launch_kernel({blocks_for(n), block_size}, name_of_type<Body>(), line, element_kernel<Body>, n, body);
}
template <class Body> void launch_grid(Device&, Index rows, Index columns, const Body& body, UserLine line) {
  const Index n = rows * columns;
  launch_kernel({blocks_for(n), block_size}, name_of_type<Body>(), line, grid_kernel<Body>, n, columns, body);
}

// ---- rows

template <class Body> __global__ void row_kernel(Body body, std::size_t staging_bytes) {
  body(Index(blockIdx.x), Team{staging_bytes});
}

// A warp for a short row, then one thread per four elements, at most 512.
inline int team_for(Index length) {
  int threads = 32;
  while (threads < 512 && threads * 4 < length) threads *= 2;
  return threads;
}

// A block of the H100 has 227 KiB of shared memory; 4 KiB are left to reductions.
inline constexpr std::size_t most_staging = 223 * 1024;

// A body with a member staging_bytes() gets that much shared memory for Team::stage, if there is as much.
template <class Body> void launch_rows(Device&, Index rows, Index length, const Body& body, UserLine line) {
  std::size_t staging = 0;
  if constexpr (requires { body.staging_bytes(); }) staging = body.staging_bytes();
  if (staging > most_staging) staging = 0;
  launch_kernel({rows, team_for(length), staging}, name_of_type<Body>(), line, row_kernel<Body>, body, staging);
}

}  // namespace gradus::cuda

#include "cuda/scan.cuh"
