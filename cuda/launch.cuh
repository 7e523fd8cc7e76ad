// The GPU side of ops/launch.h: the same bodies as kernels. Knows grids, blocks and shared memory, and no op.
//
// Elementwise bodies get a thread per element. A row gets a block of 128 threads, the team: each thread takes every 128th
// element, and sums and maxima meet in shared memory, always in the same order, so results are the same in every run.
#pragma once
#include <cuda_runtime.h>

#include <cmath>

#include "engine/device.h"

namespace gradus::cuda {

inline constexpr int team_size = 128, block_size = 256;

inline void check_launch() {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) fail("launch", std::string("the kernel did not start: ") + cudaGetErrorString(error));
}

struct Team {
  template <class F> __device__ void each(Index n, F f) const {
    for (Index j = threadIdx.x; j < n; j += team_size) f(j);
  }
  template <class T, class F> __device__ T sum(Index n, F f) const {
    T s = 0;
    each(n, [&](Index j) { s += f(j); });
    return combined(s, [](T a, T b) { return a + b; });
  }
  template <class T, class F> __device__ T max(Index n, F f) const { return best<T>(n, f).value; }
  template <class T, class F> __device__ Index argmax(Index n, F f) const { return best<T>(n, f).at; }
  __device__ bool leads() const { return threadIdx.x == 0; }

 private:
  template <class T> struct Best {
    T value;
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
    Best<T> mine{-T(INFINITY), n};
    each(n, [&](Index j) { mine = better(mine, Best<T>{f(j), j}); });
    const Best<T> all = combined(mine, [](Best<T> a, Best<T> b) { return better(a, b); });
    return {all.value, all.at < n ? all.at : 0};
  }
  // One value of each thread into one for all, by halving.
  template <class V, class F> __device__ V combined(V mine, F f) const {
    __shared__ V slots[team_size];
    slots[threadIdx.x] = mine;
    __syncthreads();
    for (int width = team_size / 2; width > 0; width /= 2) {
      if (int(threadIdx.x) < width) slots[threadIdx.x] = f(slots[threadIdx.x], slots[threadIdx.x + width]);
      __syncthreads();
    }
    const V all = slots[0];
    __syncthreads();  // before the next reduction writes to the slots
    return all;
  }
};

template <class Body> __global__ void element_kernel(Index n, Body body) {
  const Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) body(i);
}
template <class Body> __global__ void grid_kernel(Index n, Index columns, Body body) {
  const Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) body(i / columns, i % columns);
}
template <class Body> __global__ void row_kernel(Body body) { body(Index(blockIdx.x), Team{}); }

inline unsigned blocks_for(Index n) { return unsigned((n + block_size - 1) / block_size); }

template <class Body> void launch(Device&, Index n, const Body& body) {
  if (n == 0) return;
  element_kernel<<<blocks_for(n), block_size>>>(n, body);
  check_launch();
}
template <class Body> void launch_grid(Device&, Index rows, Index columns, const Body& body) {
  if (rows * columns == 0) return;
  grid_kernel<<<blocks_for(rows * columns), block_size>>>(rows * columns, columns, body);
  check_launch();
}
template <class Body> void launch_rows(Device&, Index rows, Index, const Body& body) {
  if (rows == 0) return;
  row_kernel<<<unsigned(rows), team_size>>>(body);
  check_launch();
}

}  // namespace gradus::cuda
