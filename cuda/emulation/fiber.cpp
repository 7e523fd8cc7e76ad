// Stacks and the switch between them. See fiber.h.
#include "cuda/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#define GRADUS_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GRADUS_ADDRESS_SANITIZER
#endif
#endif
#ifdef GRADUS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#error \
    "the emulated device switches stacks in x86-64 assembly; another processor needs its own twelve instructions here"
#endif

namespace gradus::emulation {

// Saves the registers that a call must keep on the old stack, and takes those of the other one.
extern "C" void gradus_switch_stack(void** save_stack_pointer, void* load_stack_pointer);
asm(R"(
.text
.globl gradus_switch_stack
.type gradus_switch_stack, @function
gradus_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size gradus_switch_stack, . - gradus_switch_stack
)");

constexpr int most = 1024;  // threads in a block
constexpr size_t stack_bytes = 256 * 1024, guard_bytes = 4096;
static Fiber fibers[most];
static Fiber* idle[most];  // the last `idle_count` made and not in use
static int made = 0, idle_count = 0;

// Stacks are mapped once and kept. Under each lies a page that may not be touched: an overflow is a fault at once.
static Fiber* make_fiber() {
  if (made == most) std::fprintf(stderr, "emulated device: more than 1024 fibers\n"), std::abort();
  void* map = mmap(nullptr, stack_bytes + guard_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (map == MAP_FAILED) std::perror("emulated device: no memory for a stack"), std::abort();
  mprotect(map, guard_bytes, PROT_NONE);
  Fiber& f = fibers[made++];
  f.stack = static_cast<char*>(map) + guard_bytes;
  f.stack_bytes = stack_bytes;
  return &f;
}

Fiber* new_fiber(void (*main)()) {
  Fiber* f = idle_count ? idle[--idle_count] : make_fiber();
#ifdef GRADUS_ADDRESS_SANITIZER
  __asan_unpoison_memory_region(f->stack, stack_bytes);  // its last user may have left midway
#endif
  // Tops are shifted: at equal offsets in their pages, all stacks would meet in the same few cache lines.
  const size_t shift = size_t(f - fibers) % 32 * 128;
  auto* top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(f->stack) + stack_bytes - shift);
  *--top = nullptr;  // the address that main returns to: never
  *--top = reinterpret_cast<void*>(main);
  for (int saved_register = 0; saved_register < 6; ++saved_register) *--top = nullptr;
  f->stack_pointer = top;
  f->fake_stack = nullptr;
  return f;
}
void give_back(Fiber* f) { idle[idle_count++] = f; }
void give_back_all_fibers() {
  for (idle_count = 0; idle_count < made; ++idle_count) idle[idle_count] = &fibers[idle_count];
}

#ifdef GRADUS_ADDRESS_SANITIZER
static Fiber* left;  // the fiber we come from
static void arrive(void* fake_stack) { __sanitizer_finish_switch_fiber(fake_stack, &left->stack, &left->stack_bytes); }
void fiber_begins() { arrive(nullptr); }
void switch_fiber(Fiber& from, Fiber& to, Leaving leaving) {
  left = &from;
  __sanitizer_start_switch_fiber(leaving == Leaving::for_good ? nullptr : &from.fake_stack, to.stack, to.stack_bytes);
  gradus_switch_stack(&from.stack_pointer, to.stack_pointer);
  arrive(from.fake_stack);
}
#else
void fiber_begins() {}
void switch_fiber(Fiber& from, Fiber& to, Leaving) { gradus_switch_stack(&from.stack_pointer, to.stack_pointer); }
#endif

}  // namespace gradus::emulation
