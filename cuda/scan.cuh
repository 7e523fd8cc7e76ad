// Running totals in three kernels, in a fixed order: libraries that chain blocks ("decoupled look-back") add floats in the
// order in which blocks happen to finish, and so give other bits in each run.
//
//   1. each block of 1024 elements adds its own                         totals[b]
//   2. one thread block scans the totals                                before[b] = totals[0] + ... + totals[b-1]
//   3. each block scans its elements, starting from before[b]
//
// Within a block each thread first adds 4 neighbours by itself; then the threads' sums are scanned by doubling distances
// (Hillis and Steele 1986): after step d a thread holds the total of the 2d before it.
#pragma once
#include "cuda/launch.cuh"

namespace gradus::cuda {

inline constexpr int scan_threads = 256, scan_each = 4, scan_block = scan_threads * scan_each;

// Of some elements; `any` is false for none.
template <class V> struct Total {
  V value;
  bool any;
};

// The total of the threads before this one. All threads of the block call it.
template <class Body, class V> __device__ Total<V> total_before(const Body& body, Total<V> own) {
  __shared__ V totals[2][scan_threads];
  __shared__ int valid[2][scan_threads];
  const int t = int(threadIdx.x);
  int now = 0;
  __syncthreads();  // a previous call has been read
  totals[0][t] = own.value;
  valid[0][t] = own.any;
  for (int distance = 1; distance < scan_threads; distance *= 2) {
    __syncthreads();
    V v = totals[now][t];
    int known = valid[now][t];
    if (t >= distance && valid[now][t - distance]) {
      v = known ? body.join(totals[now][t - distance], v) : totals[now][t - distance];
      known = 1;
    }
    now = 1 - now;
    totals[now][t] = v;
    valid[now][t] = known;
  }
  __syncthreads();
  return t == 0 ? Total<V>{own.value, false} : Total<V>{totals[now][t - 1], valid[now][t - 1] != 0};
}

// Elements are counted from the end when `reverse`.
template <class Body> struct Scan {
  using V = typename Body::Value;
  Body body;
  Index n;
  bool reverse;
  V *totals, *before;
  __device__ Index place(Index k) const { return reverse ? n - 1 - k : k; }
};

// The elements of one thread, from `first` on.
template <class Body> __device__ Total<typename Body::Value> own_total(const Scan<Body>& s, Index first) {
  Total<typename Body::Value> own{{}, false};
  for (Index k = first; k < first + scan_each && k < s.n; ++k) {
    const auto v = s.body.load(s.place(k));
    own = {own.any ? s.body.join(own.value, v) : v, true};
  }
  return own;
}

template <class Body> __global__ void scan_totals_kernel(Scan<Body> s) {
  using V = typename Body::Value;
  const Index first = Index(blockIdx.x) * scan_block + threadIdx.x * scan_each;
  const Total<V> own = own_total(s, first);
  const Total<V> before = total_before(s.body, own);
  const bool last = threadIdx.x == scan_threads - 1;
  if (!last) return;
  s.totals[blockIdx.x] = !own.any ? before.value : before.any ? s.body.join(before.value, own.value) : own.value;
}

// One thread block walks over the totals, scan_threads at a time.
template <class Body> __global__ void scan_blocks_kernel(Scan<Body> s, Index blocks) {
  using V = typename Body::Value;
  __shared__ V reached;  // the total of all earlier rounds
  for (Index round = 0; round < blocks; round += scan_threads) {
    const Index b = round + threadIdx.x;
    const bool have = b < blocks;
    const V mine = have ? s.totals[b] : V{};
    const Total<V> before = total_before(s.body, Total<V>{mine, have});
    if (have && b > 0) {
      s.before[b] = round == 0 ? before.value : before.any ? s.body.join(reached, before.value) : reached;
    }
    __syncthreads();
    if (have && (b == blocks - 1 || threadIdx.x == scan_threads - 1)) {
      reached = b > 0 ? s.body.join(s.before[b], mine) : mine;
    }
    __syncthreads();
  }
}

template <class Body> __global__ void scan_store_kernel(Scan<Body> s) {
  using V = typename Body::Value;
  const Index first = Index(blockIdx.x) * scan_block + threadIdx.x * scan_each;
  const Total<V> own = own_total(s, first);
  const Total<V> before = total_before(s.body, own);
  V total = before.value;
  bool any = before.any;
  if (blockIdx.x > 0) {
    total = any ? s.body.join(s.before[blockIdx.x], total) : s.before[blockIdx.x];
    any = true;
  }
  for (Index k = first; k < first + scan_each && k < s.n; ++k) {
    const V v = s.body.load(s.place(k));
    total = any ? s.body.join(total, v) : v;
    any = true;
    s.body.store(s.place(k), total);
  }
}

template <class Body> void launch_scan(Device& device, Index n, const Body& body, bool reverse, UserLine line) {
  using V = typename Body::Value;
  if (n == 0) return;
  const Index blocks = (n + scan_block - 1) / scan_block;
  const Scratch totals(device, std::size_t(blocks) * sizeof(V)), before(device, std::size_t(blocks) * sizeof(V));
  const Scan<Body> scan{body, n, reverse, totals.as<V>(), before.as<V>()};
  const std::string_view name = name_of_type<Body>();
  launch_kernel({blocks, scan_threads}, name, line, scan_totals_kernel<Body>, scan);
  launch_kernel({1, scan_threads}, name, line, scan_blocks_kernel<Body>, scan, blocks);
  launch_kernel({blocks, scan_threads}, name, line, scan_store_kernel<Body>, scan);
}

// ---- the least i with test(i): each block writes the least it found, and the host takes the least of those

template <class Test> __global__ void find_kernel(Index n, Test test, Index* found) {
  Index least = n;
  for (Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += Index(gridDim.x) * blockDim.x) {
    if (i < least && test(i)) least = i;
  }
  least = Team{}.combined(least, [](Index a, Index b) { return a < b ? a : b; });
  if (threadIdx.x == 0) found[blockIdx.x] = least;
}

// Reads the answer back, and so waits; -1 while a graph is captured, when nothing can be read.
template <class Test> Index find_first(Device& device, Index n, const Test& test, UserLine line) {
  if (n == 0 || device.capturing()) return -1;
  constexpr Index most = 64;
  const Index blocks = blocks_for(n) < most ? blocks_for(n) : most;
  const Scratch found(device, most * sizeof(Index));
  launch_kernel({blocks, block_size}, name_of_type<Test>(), line, find_kernel<Test>, n, test, found.as<Index>());
  Index host[most];
  device.download(host, found.as<Index>(), std::size_t(blocks) * sizeof(Index));
  Index least = n;
  for (Index b = 0; b < blocks; ++b) least = host[b] < least ? host[b] : least;
  return least < n ? least : -1;
}

}  // namespace gradus::cuda
