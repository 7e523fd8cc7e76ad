// The running block: its threads, who of them waits for what, and who comes next.
//
// The rule: a thread runs until it waits. Then the next one that can run does. When nobody in a warp can, the warp
// operation at which all its lanes wait is opened; when nobody in the block can, __syncthreads() is, if all wait at the
// same one. If nothing opens and somebody still lives, the block is in deadlock.
#pragma once
#include <cstdint>

#include "cuda/emulation/barriers.h"

namespace gradus::emulation {

inline constexpr int most_threads = 1024;

struct WarpOperation {
  enum Kind { sync, exchange, vote } kind;
  Line line;
  unsigned mask;    // the lanes it waits for
  unsigned source;  // exchange: whose parcel it wants
  Parcel parcel;    // what it brings, and then what it gets
};

struct Block {
  int threads = 0, live = 0, at_barrier = 0;  // how many there are, have not returned, wait at a __syncthreads()
  int begun = 0;                              // in forward and reverse order, how many were taken up so far
  Line barrier[most_threads];                 // of those at a barrier: which
  WarpOperation operation[most_threads];      // of those at a warp operation: which
  // Per warp, a bit for each lane:
  uint32_t alive[most_threads / 32];    // it has not returned
  uint32_t waiting[most_threads / 32];  // it waits at a warp operation
  // Those who can go on, the next at the end; and those who could, but are held back. In random order also those who
  // have not begun.
  int queue[most_threads], queued = 0;
  int held[most_threads], held_count = 0;
  int held_warp = -1;

  void begin();
  void returned(int t) { --live, alive[t / 32] &= ~(1u << t % 32); }
  void waits_at_barrier(int t, Line line) { barrier[t] = line, ++at_barrier; }
  void waits_in_warp(int t) { waiting[t / 32] |= 1u << t % 32; }
  // The thread to run after thread `last` waits or has returned; -1 when the block is finished.
  int next(int last) {
    const int t = queued ? queue[queued - 1] : begun < threads ? in_order(begun) : -1;
    if (t < 0) return next_after_opening();
    // Warp by warp, as long as the order is ours to choose: so the stacks of 32 threads stay in the cache.
    if (t / 32 != last / 32 && waiting[last / 32] && held_warp < 0) open_warp(last / 32);
    if (queued) return queue[--queued];
    return ++begun, t;
  }

 private:
  int in_order(int i) const { return reversed ? threads - 1 - i : i; }
  int next_after_opening();
  void open_warp(int warp);
  void open_operation(int warp, uint32_t lanes);
  void open_barrier();
  void hold_back_a_warp();
  void can_go_on(int warp, uint32_t lanes);
  void shuffle_in(const int* who, int count);
  void report_deadlock() const;
  bool reversed = false;
};
extern Block block_now;

// Leaves the kernel for good, after an error was reported. The fibers are abandoned as they stand: no destructor of
// theirs runs, so nothing on this stack may own memory.
[[noreturn]] void end_grid();

// For the random order.
void seed_dice(uint64_t seed);
void shuffle_order(int* v, int count);

}  // namespace gradus::emulation
