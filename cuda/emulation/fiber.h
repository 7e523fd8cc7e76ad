// Fibers: stacks of their own, between which one host thread switches. Each CUDA thread that waits at a barrier keeps one.
#pragma once
#include <cstddef>

namespace gradus::emulation {

struct Fiber {
  void* stack_pointer = nullptr;  // while it does not run
  const void* stack = nullptr;    // its lowest address
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

// A fiber that will begin in `main`, which never returns. At most 1024 are in use at a time.
Fiber* new_fiber(void (*main)());
void give_back(Fiber*);  // it will not be resumed
void give_back_all_fibers();

enum class Leaving { for_now, for_good };
void switch_fiber(Fiber& from, Fiber& to, Leaving = Leaving::for_now);
void fiber_begins();  // the first call of `main`

}  // namespace gradus::emulation
