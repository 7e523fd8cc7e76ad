#include "engine/parallel.h"

#include <omp.h>

#include <algorithm>
#include <exception>

namespace gradus {

int thread_count() { return omp_get_max_threads(); }

void set_thread_count(int n) {
  if (n < 1) fail("set_thread_count", "needs at least one thread, got " + std::to_string(n));
  omp_set_num_threads(n);
}

void run_chunks(Index n, Index grain, ChunkBody body, const void* f) {
  const Index threads = std::min<Index>(thread_count(), (n + grain - 1) / grain);
  if (threads <= 1 || omp_in_parallel()) {
    body(f, 0, n);
    return;
  }
  std::exception_ptr first_error;  // an exception may not leave a parallel region
#pragma omp parallel num_threads(int(threads))
  {
    const Index t = omp_get_thread_num(), count = omp_get_num_threads();
    try {
      body(f, n * t / count, n * (t + 1) / count);
    } catch (...) {
#pragma omp critical(gradus_first_error)
      if (!first_error) first_error = std::current_exception();
    }
  }
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace gradus
