// Sorting by CUB's radix sort, which is stable and sorts pairs. Several lines are sorted as one: first by key, whatever the
// line, then by line: what is equal in the second sort keeps the order of the first.
//
// The only file that includes CUB: its headers take a while to compile.
#include "cuda/sort.h"

#include <bit>
#include <cstdint>
#include <cub/device/device_radix_sort.cuh>

#include "cuda/launch.cuh"

namespace gradus::cuda {
namespace {

struct Places {
  Index* place;
  HD void operator()(Index i) const { place[i] = i; }
};
struct LineOf {
  const Index* place;
  Index n;
  std::uint64_t* line;
  HD void operator()(Index i) const { line[i] = std::uint64_t(place[i] / n); }
};
struct WithinLine {
  const Index* place;
  Index n;
  Index* positions;
  HD void operator()(Index i) const { positions[i] = place[i] % n; }
};

// Values in the order of their keys.
void sort_pairs(Device& device, const std::uint64_t* keys, std::uint64_t* sorted_keys, const Index* values,
                Index* sorted, Index count, int bits) {
  std::size_t bytes = 0;
  const auto run = [&](void* memory) {
    check(cub::DeviceRadixSort::SortPairs(memory, bytes, keys, sorted_keys, values, sorted, count, 0, bits, stream()),
          "sort");
  };
  run(nullptr);  // says how many bytes it needs
  const Scratch scratch(device, bytes > 0 ? bytes : 1);
  run(scratch.as<void>());
}

}  // namespace

void sort_lines(Device& device, const Index* keys, Index lines, Index n, int bits, Index* positions) {
  const Index count = lines * n;
  if (count == 0) return;
  const std::size_t bytes = std::size_t(count) * sizeof(Index);
  const Scratch key_memory(device, bytes), place_memory(device, bytes);
  auto* sorted_keys = key_memory.as<std::uint64_t>();
  Index* place = place_memory.as<Index>();
  const auto* unsigned_keys = reinterpret_cast<const std::uint64_t*>(keys);
  launch(device, count, Places{place}, user_line());
  if (lines == 1) return sort_pairs(device, unsigned_keys, sorted_keys, place, positions, count, bits);

  const Scratch order_memory(device, bytes), line_memory(device, bytes);
  Index* order = order_memory.as<Index>();
  auto* line = line_memory.as<std::uint64_t>();
  sort_pairs(device, unsigned_keys, sorted_keys, place, order, count, bits);
  launch(device, count, LineOf{order, n, line}, user_line());
  sort_pairs(device, line, sorted_keys, order, place, count, int(std::bit_width(std::uint64_t(lines - 1))));
  launch(device, count, WithinLine{place, n, positions}, user_line());
}

}  // namespace gradus::cuda
