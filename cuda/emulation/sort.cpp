// The stand-in for cuda/sort.cu: the same order, by std::stable_sort, as a piece of work on the stream.
#include "cuda/sort.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "cuda/emulation/check.h"
#include "cuda/emulation/streams.h"
#include "cuda/runtime.h"

namespace gradus::cuda {

void sort_lines(Device&, const Index* keys, Index lines, Index n, int bits, Index* positions) {
  if (lines * n == 0) return;
  const emulation::Lock lock;
  const cudaError_t error = emulation::enqueue(stream(), [=] {
    const emulation::AtWork at_work;
    const std::uint64_t counted = bits >= 64 ? ~std::uint64_t(0) : (std::uint64_t(1) << bits) - 1;
    for (Index line = 0; line < lines; ++line) {
      const Index* key = keys + line * n;
      Index* order = positions + line * n;
      std::iota(order, order + n, Index(0));
      std::stable_sort(order, order + n, [=](Index i, Index j) {
        return (std::uint64_t(key[i]) & counted) < (std::uint64_t(key[j]) & counted);
      });
    }
    emulation::check::define(positions, std::size_t(lines * n) * sizeof(Index), true);
  });
  check(error, "sort");
}

}  // namespace gradus::cuda
