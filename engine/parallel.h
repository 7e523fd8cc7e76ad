// Loops over threads whose results do not depend on the number of threads.
//
// parallel_for cuts 0..n into chunks; each index is handled by exactly one thread, so writing y[i] from x[i] is safe and
// the same everywhere. block_sum adds fixed blocks of 4096 terms and then the block sums, in order: the rounding is that
// of the blocks, whatever the threads. A call inside a parallel loop runs on its own thread: loops do not nest.
#pragma once
#include <vector>

#include "engine/dtype.h"

namespace gradus {

int thread_count();            // threads that a large loop will use: OMP_NUM_THREADS, else all processors
void set_thread_count(int n);  // n >= 1

// A loop over fewer elements stays on one thread: waking a second one costs a few microseconds.
inline constexpr Index serial_below = 32768;

using ChunkBody = void (*)(const void* f, Index begin, Index end);
void run_chunks(Index n, Index grain, ChunkBody body, const void* f);

// f(begin, end) for chunks that cover 0..n; one chunk when n <= grain.
template <class F> void parallel_for(Index n, Index grain, const F& f) {
  if (n <= 0) return;
  if (n <= grain) {
    f(Index(0), n);
    return;
  }
  run_chunks(
      n, grain, [](const void* g, Index begin, Index end) { (*static_cast<const F*>(g))(begin, end); }, &f);
}

// sum_i term(i), with a rounding that does not depend on the number of threads.
inline constexpr Index sum_block = 4096;
template <class T, class F> T block_sum(Index n, const F& term) {
  constexpr Index block = sum_block;
  const auto one_block = [&](Index b) {
    const Index begin = b * block, end = n < begin + block ? n : begin + block;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index i = begin; i < end; ++i) sum += term(i);
    return sum;
  };
  const Index blocks = (n + block - 1) / block;
  if (blocks <= 1) return blocks ? one_block(0) : T(0);
  std::vector<T> sums(static_cast<std::size_t>(blocks));
  parallel_for(blocks, serial_below / block, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) sums[std::size_t(b)] = one_block(b);
  });
  T sum = 0;
  for (const T s : sums) sum += s;
  return sum;
}

}  // namespace gradus
