// How a formula reaches a device. The only file above cuda/ that knows about kernels: everything else states what happens
// for one element or one row, and the same source is a loop here and a kernel on a GPU.
//
//   launch(device, n, body)          body(i)        for i in 0..n
//   launch_grid(device, R, C, body)  body(r, c)     for all r, c; c runs fastest
//   launch_rows(device, R, n, body)  body(r, team)  for each row r of n elements; the team works on the row together
//   launch_scan(device, n, body)     running totals: store(i, load(0) + ... + load(i)), + being body.join; or from the end
//   find_first(device, n, test)      the least i with test(i), or -1: for checking labels
//
// Bodies are named structs with a HD operator(), not lambdas: nvcc does not take a lambda inside a generic lambda.
#pragma once
#include <algorithm>

#include "engine/device.h"
#include "engine/parallel.h"
#include "ops/vector_math.h"

#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
#include "cuda/launch.cuh"
#endif

namespace gradus {

// On the CPU a team is one thread. Sums and maxima run in vector lanes; their order depends on the machine's vector width,
// never on the number of threads.
struct CpuTeam {
  static constexpr bool alone = true;
  template <class T> HD const T* stage(Index, const T* x) const { return x; }  // a row that is read several times
  template <class F> HD void each(Index n, F f) const {
#pragma omp simd
    for (Index j = 0; j < n; ++j) f(j);
  }
  // In blocks, so that the rounding of a long row is that of its blocks and not of its length.
  template <class T, class F> HD T sum(Index n, F f) const {
    constexpr Index block = 1024;
    T total = 0;
    for (Index b = 0; b < n; b += block) {
      const Index end = n - b < block ? n : b + block;
      T s = 0;
#pragma omp simd reduction(+ : s)
      for (Index j = b; j < end; ++j) s += f(j);
      total += s;
    }
    return total;
  }
  // -inf when n = 0; a NaN anywhere gives NaN.
  template <class T, class F> HD T max(Index n, F f) const {
    T m = -vmath::infinity<T>, poison = 0;
#pragma omp simd reduction(max : m) reduction(+ : poison)
    for (Index j = 0; j < n; ++j) {
      const T v = f(j);
      m = v > m ? v : m;
      poison += v != v ? v : T(0);
    }
    return poison != poison ? poison : m;
  }
  // The first j at which f is greatest, NaN being greater than all; 0 when n = 0.
  template <class T, class F> HD Index argmax(Index n, F f) const {
    constexpr Index block = 256;  // one pass in vector lanes finds the block, a look into that block the place
    T best = -vmath::infinity<T>;
    Index start = 0;
    for (Index b = 0; b < n && best == best; b += block) {
      const T m = max<T>(n - b < block ? n - b : block, [=](Index j) { return f(b + j); });
      if (m > best || m != m) best = m, start = b;
    }
    for (Index j = start; j < n; ++j) {
      if (f(j) == best || (best != best && f(j) != f(j))) return j;
    }
    return 0;
  }
  HD bool leads() const { return true; }  // the one that writes what there is one of per row
  HD void sync() const {}                 // between a write and another thread's read
  HD int rank() const { return 0; }       // of this thread in the team
  HD int size() const { return 1; }
};

// Where the program was linked without kernels no tensor can be on a GPU; but an object that was compiled without them could
// meet one in a program that was linked with them, and would read its memory on the CPU.
inline void check_runs_here(Device& device, UserLine line) {
  if (!device.is_cpu())
    fail("launch",
         "compiled without kernels, but the tensors are on " + std::string(device.name()) + ", at " + line.text());
}

// A row as one thread sees it that works on it alone.
template <class Body> struct RowAlone {
  Body body;
  HD void operator()(Index r) const { body(r, CpuTeam{}); }
};
inline constexpr Index row_for_one_thread = 16;  // up to this length, a warp would mostly wait

template <class Body> void launch(Device& device, Index n, const Body& body, UserLine line = user_line()) {
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  if (!device.is_cpu()) return cuda::launch(device, n, body, line);
#else
  check_runs_here(device, line);
#endif
  parallel_for(n, serial_below, [&](Index begin, Index end) {
    const Body f = body;  // a local copy: its pointers stay in registers
#pragma omp simd
    for (Index i = begin; i < end; ++i) f(i);
  });
}

template <class Body>
void launch_grid(Device& device, Index rows, Index columns, const Body& body, UserLine line = user_line()) {
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  if (!device.is_cpu()) return cuda::launch_grid(device, rows, columns, body, line);
#else
  check_runs_here(device, line);
#endif
  if (columns == 0) return;
  parallel_for(rows * columns, serial_below, [&](Index begin, Index end) {
    const Body f = body;
    for (Index r = begin / columns, c = begin % columns; begin < end; ++r, c = 0) {
      const Index stop = std::min(columns, c + end - begin);
#pragma omp simd
      for (Index j = c; j < stop; ++j) f(r, j);
      begin += stop - c;
    }
  });
}

template <class Body>
void launch_rows(Device& device, Index rows, Index length, const Body& body, UserLine line = user_line()) {
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  if (!device.is_cpu() && length <= row_for_one_thread) {
    return cuda::launch(device, rows, RowAlone<Body>{body}, line);
  }
  if (!device.is_cpu()) return cuda::launch_rows(device, rows, length, body, line);
#else
  check_runs_here(device, line);
#endif
  parallel_for(rows, std::max<Index>(1, serial_below / 4 / std::max<Index>(1, length)), [&](Index begin, Index end) {
    const Body f = body;
    for (Index r = begin; r < end; ++r) f(r, CpuTeam{});
  });
}

// Body: using Value (trivially copyable), load(i), join(a, b) associative, store(i, total). A running total has the
// rounding of its blocks, which are the same in every run.
enum class ScanFrom : bool { begin, end };
template <class Body>
void launch_scan(Device& device, Index n, const Body& body, ScanFrom from = ScanFrom::begin,
                 UserLine line = user_line()) {
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  if (!device.is_cpu()) return cuda::launch_scan(device, n, body, from == ScanFrom::end, line);
#else
  check_runs_here(device, line);
#endif
  if (n == 0) return;
  const Index first = from == ScanFrom::begin ? 0 : n - 1, step = from == ScanFrom::begin ? 1 : -1;
  typename Body::Value total = body.load(first);
  body.store(first, total);
  for (Index k = 1, i = first + step; k < n; ++k, i += step) {
    total = body.join(total, body.load(i));
    body.store(i, total);
  }
}

template <class Test> Index find_first(Device& device, Index n, const Test& test, UserLine line = user_line()) {
#if defined(__CUDACC__) || defined(GRADUS_EMULATED)
  if (!device.is_cpu()) return cuda::find_first(device, n, test, line);
#else
  check_runs_here(device, line);
#endif
  for (Index i = 0; i < n; ++i) {
    if (test(i)) return i;
  }
  return -1;
}

}  // namespace gradus
