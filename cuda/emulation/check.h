// What the emulated device and its memory checker (check.cpp) tell each other.
//
// Without the checker linked in, the hooks are null and nothing happens.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/emulation/runtime.h"
#include "cuda/emulation/where.h"

namespace gradus::emulation {

// Where the running CUDA thread stands. Time is counted in epochs: a new one begins with every block and with every
// __syncthreads(), and numbers never repeat. So of two accesses, the epochs alone tell whether they belong to one grid,
// to one block, and whether a barrier lies between them.
struct Position {
  bool at_work = false;    // the emulator or its runtime: may touch all memory, nothing is checked
  bool in_kernel = false;  // in the kernel itself, and not in the emulator under it
  int thread = 0;          // its number in the block
  uint32_t epoch = 0, epoch_of_block = 0, epoch_of_grid = 0;  // now; the first of this block; the first of this grid
  uint16_t warp_time[1024] = {};                              // per thread; see warp_synced
  int threads = 0;                                            // of a block
  const char* stack = nullptr;                                // local variables of the running thread
  size_t stack_bytes = 0;
  const char* args = nullptr;  // the arguments of the kernel
  size_t args_bytes = 0;
  Where where;  // the launch

  void new_grid(int threads_of_block, Where launched, const void* arguments, size_t bytes) {
    threads = threads_of_block, where = launched;
    args = static_cast<const char*>(arguments), args_bytes = bytes;
    epoch_of_grid = epoch + 1;
  }
  void new_block() { epoch_of_block = epoch + 1, new_epoch(); }
  void new_epoch() { ++epoch, std::fill_n(warp_time, threads, uint16_t(0)); }  // a __syncthreads() opened
  // A __syncwarp() opened for these lanes of the warp that begins at thread `first`: all of them are now later than
  // anything any of them did before.
  void warp_synced(int first, unsigned lanes) {
    uint16_t latest = 0;
    for (int i = 0; i < 32; ++i)
      if (lanes >> i & 1) latest = std::max(latest, warp_time[first + i]);
    for (int i = 0; i < 32; ++i)
      if (lanes >> i & 1) warp_time[first + i] = uint16_t(latest + 1);
  }
};
// Of this host thread, for others may run while a kernel does. Defined in scheduler.cpp: constinit thread_local Position
// check_at;
extern constinit thread_local Position check_at;

// A scope in which the emulator's runtime touches device memory itself (copies, cuBLAS, guard zones).
struct AtWork {
  bool before = check_at.at_work;
  AtWork() { check_at.at_work = true; }
  ~AtWork() { check_at.at_work = before; }
};

namespace lint {
struct Line;
}

namespace check {
// Set by the checker, called by the device; the last two by lint.h.
struct Hooks {
  void* (*allocate)(size_t bytes) = nullptr;                         // memory for cudaMalloc, used instead of malloc
  void (*release)(void* p) = nullptr;                                // and of cudaFree
  void (*define)(void* p, size_t bytes, bool defined) = nullptr;     // written by something that is no kernel; or fresh
  void (*copy)(void* to, const void* from, size_t bytes) = nullptr;  // within the device: undefined stays undefined
  void (*atomic)(void* p, size_t bytes, void* pc) = nullptr;         // an atomic operation is about to touch p
  void (*lint_begin)() = nullptr;
  std::vector<lint::Line> (*lint_end)() = nullptr;
};
extern constinit Hooks hooks;  // defined in scheduler.cpp

inline bool active() { return hooks.define != nullptr; }  // whether the checker is linked in
inline void define(void* p, size_t bytes, bool defined) {
  if (hooks.define) hooks.define(p, bytes, defined);
}
inline void copied(void* to, const void* from, size_t bytes) {
  if (hooks.copy) hooks.copy(to, from, bytes);
}
}  // namespace check

// The allocation of device memory with the greatest start at or before p.
bool find_allocation(const void* p, const char*& start, size_t& bytes);
bool in_dynamic_shared(const void* p);
// Called from a kernel: ends its grid with this error.
[[noreturn]] void fail(cudaError_t code, const std::string& text);

}  // namespace gradus::emulation
