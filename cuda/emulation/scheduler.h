// Runs a grid: its blocks one after another, the threads of a block as fibers. See language.h for the idea.
#pragma once
#include "cuda/emulation/language.h"

namespace gradus::emulation {

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const Where&, const KernelCall&);

struct alignas(16) Sixteen {  // bytes, aligned as the GPU does
  char bytes[16];
};
inline Sixteen* new_bytes(size_t n) { return new Sixteen[(n + 15) / 16]; }

}  // namespace gradus::emulation
