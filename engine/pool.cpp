#include "engine/pool.h"

#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "engine/error.h"

namespace gradus {
namespace {

[[noreturn]] void out_of_memory(std::size_t bytes) {
  fail("allocate", "no memory for " + std::to_string(bytes >> 20) + " MiB; use smaller batches or shorter sequences");
}

constexpr std::size_t huge_page = std::size_t(2) << 20, largest_small = std::size_t(64) << 10;
constexpr std::size_t small_slab = huge_page, medium_slab = 16 * huge_page;
constexpr int classes = 4 * 58;

// Classes are 64 * {4,5,6,7}/4 * 2^octave; class_of rounds up.
int class_of(std::size_t bytes) {
  if (bytes <= 64) return 0;
  const int octave = std::bit_width((bytes - 1) >> 6) - 1;  // 64 * 2^octave < bytes <= 64 * 2^(octave+1)
  const std::size_t quarter = (std::size_t(64) << octave) / 4;
  const int steps = int((bytes - (std::size_t(64) << octave) + quarter - 1) / quarter);  // 1..4
  return 4 * octave + steps;
}
std::size_t bytes_of(int c) { return (std::size_t(64) << (c / 4)) / 4 * std::size_t(4 + c % 4); }
std::size_t rounded_to_pages(std::size_t bytes) { return (bytes + huge_page - 1) / huge_page * huge_page; }

struct FreeBlock {
  FreeBlock* next;
};

// Null when the system has no more.
void* map(std::size_t bytes) {
  // Ask for one huge page more, then give the ends back, so that the block starts on a huge page.
  const std::size_t room = bytes + huge_page;
  void* raw = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(raw);
  const auto aligned = (start + huge_page - 1) / huge_page * huge_page;
  if (aligned > start) munmap(raw, aligned - start);
  const auto end = aligned + bytes;
  if (start + room > end) munmap(reinterpret_cast<void*>(end), start + room - end);
  madvise(reinterpret_cast<void*>(aligned), bytes, MADV_HUGEPAGE);  // advice: a kernel without it still works
  return reinterpret_cast<void*>(aligned);
}

struct Slab {
  char *begin = nullptr, *end = nullptr;  // what is left of it
  void* cut(std::size_t bytes, std::size_t whole) {
    bytes = (bytes + 63) / 64 * 64;
    if (std::size_t(end - begin) < bytes) {  // the rest is left unused: one block at most
      begin = static_cast<char*>(map(whole));
      if (!begin) return end = nullptr;
      end = begin + whole;
    }
    begin += bytes;
    return begin - bytes;
  }
};

// Plain pointers, so that blocks released while a thread or the program ends still find their list.
thread_local std::array<FreeBlock*, classes> free_small;
thread_local Slab slab;

struct Shared {
  std::mutex mutex;
  std::array<FreeBlock*, classes> free_small{};        // handed over by threads that ended
  std::array<std::vector<void*>, classes> free_large;  // medium and large
  Slab slab;
};
Shared& shared() {
  static auto* s = new Shared;  // never destroyed: see free_small
  return *s;
}

// When a thread ends, its free blocks go to the shared lists.
struct HandOver {
  ~HandOver() {
    const std::lock_guard lock(shared().mutex);
    for (int c = 0; c < classes; ++c) {
      while (FreeBlock* block = free_small[std::size_t(c)]) {
        free_small[std::size_t(c)] = block->next;
        block->next = shared().free_small[std::size_t(c)];
        shared().free_small[std::size_t(c)] = block;
      }
    }
  }
};

void hand_over_at_thread_end() {
  static thread_local HandOver hand_over;
  (void)hand_over;
}

void* allocate_small_slowly(int c) {
  hand_over_at_thread_end();
  {
    const std::lock_guard lock(shared().mutex);
    if (FreeBlock* block = shared().free_small[std::size_t(c)]) {
      shared().free_small[std::size_t(c)] = block->next;
      return block;
    }
  }
  if (void* block = slab.cut(bytes_of(c), small_slab)) return block;
  out_of_memory(bytes_of(c));
}

}  // namespace

void* pool_allocate(std::size_t bytes) {
  if (bytes > (std::size_t(1) << 48)) out_of_memory(bytes);
  if (!pooled) {
    if (void* p = std::aligned_alloc(64, (bytes + 63) / 64 * 64)) return p;
    out_of_memory(bytes);
  }
  const int c = class_of(bytes);
  if (bytes_of(c) <= largest_small) {
    FreeBlock*& head = free_small[std::size_t(c)];
    if (FreeBlock* block = head) {
      head = block->next;
      return block;
    }
    return allocate_small_slowly(c);
  }
  {
    const std::lock_guard lock(shared().mutex);
    auto& list = shared().free_large[std::size_t(c)];
    if (!list.empty()) {
      void* block = list.back();
      list.pop_back();
      return block;
    }
    if (bytes_of(c) < huge_page) {
      if (void* block = shared().slab.cut(bytes_of(c), medium_slab)) return block;
      out_of_memory(bytes);
    }
  }
  const std::size_t whole = rounded_to_pages(bytes_of(c));
  if (void* block = map(whole)) return block;
  pool_trim();  // what is cached in other sizes may be enough
  if (void* block = map(whole)) return block;
  out_of_memory(bytes);
}

void pool_release(void* memory, std::size_t bytes) {
  if (!pooled) return std::free(memory);
  const int c = class_of(bytes);
  if (bytes_of(c) <= largest_small) {
    FreeBlock*& head = free_small[std::size_t(c)];
    if (!head) hand_over_at_thread_end();  // this thread may have allocated nothing itself
    auto* block = static_cast<FreeBlock*>(memory);
    block->next = head;
    head = block;
    return;
  }
  const std::lock_guard lock(shared().mutex);
  shared().free_large[std::size_t(c)].push_back(memory);
}

void pool_trim() {
  const std::lock_guard lock(shared().mutex);
  for (int c = class_of(huge_page); c < classes; ++c) {
    for (void* block : shared().free_large[std::size_t(c)]) munmap(block, rounded_to_pages(bytes_of(c)));
    shared().free_large[std::size_t(c)].clear();
  }
}

}  // namespace gradus
