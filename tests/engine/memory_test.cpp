// The pool and the counters of buffers.
#include <doctest/doctest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "engine/buffer.h"
#include "engine/random.h"
#include "engine/tensor.h"
#include "tests/support/leak_guard.h"

using namespace gradus;

namespace {

bool pool_is_off() {
  if (!pooled) MESSAGE("skipped: AddressSanitizer switches the pool off, so nothing is reused");
  return !pooled;
}

constexpr std::size_t KiB = 1024, MiB = 1024 * KiB;

// Whether a block released as `first` bytes is handed out again for `second` bytes.
bool share_a_class(std::size_t first, std::size_t second) {
  void* a = pool_allocate(first);
  pool_release(a, first);
  void* b = pool_allocate(second);
  pool_release(b, second);
  return a == b;
}

}  // namespace

TEST_SUITE("memory") {
  TEST_CASE("blocks of any size are aligned, do not overlap and hold what is written") {
    struct Block {
      unsigned char* memory;
      std::size_t bytes;
      unsigned char mark;
    };
    std::vector<Block> blocks;
    for (const std::size_t around :
         {1 * KiB, 64 * KiB, 80 * KiB, 1792 * KiB, 2 * MiB, 2560 * KiB, std::size_t(64), std::size_t(1)}) {
      for (const std::size_t bytes : {around - 1, around, around + 1}) blocks.push_back({nullptr, bytes, 0});
    }
    Rng rng(5);
    for (int n = 0; n < 300; ++n) blocks.push_back({nullptr, std::size_t(rng.index(20000)), 0});
    for (int round = 0; round < 2; ++round) {  // the second one from what the first has released
      for (Block& b : blocks) {
        b.memory = static_cast<unsigned char*>(pool_allocate(b.bytes));
        b.mark = static_cast<unsigned char>(rng.index(256));
        std::memset(b.memory, b.mark, b.bytes);
      }
      bool aligned = true, intact = true;
      for (const Block& b : blocks) {
        aligned &= reinterpret_cast<std::uintptr_t>(b.memory) % 64 == 0;
        for (std::size_t i = 0; i < b.bytes; ++i) intact &= b.memory[i] == b.mark;
        pool_release(b.memory, b.bytes);
      }
      CHECK(aligned);
      CHECK(intact);
    }
  }

  TEST_CASE("a released block is handed out again for any size of its class") {
    if (pool_is_off()) return;
    CHECK(share_a_class(0, 64));
    CHECK(share_a_class(65, 80));
    CHECK(!share_a_class(80, 81));
    CHECK(share_a_class(81, 96));
    CHECK(share_a_class(112 + 1, 128));
    CHECK(!share_a_class(128, 129));
    CHECK(share_a_class(56 * KiB + 1, 64 * KiB));
    CHECK(!share_a_class(64 * KiB, 64 * KiB + 1));
    CHECK(share_a_class(64 * KiB + 1, 80 * KiB));
    CHECK(share_a_class(1792 * KiB + 1, 2 * MiB));
    CHECK(share_a_class(2 * MiB + 1, 2560 * KiB));
    CHECK(!share_a_class(2560 * KiB, 2560 * KiB + 1));
    CHECK(share_a_class(28 * MiB + 1, 32 * MiB));
  }

  TEST_CASE("large blocks start on a huge page, medium ones share huge pages") {
    if (pool_is_off()) return;
    constexpr std::size_t page = 2 * MiB;
    void* large = pool_allocate(3 * MiB);
    CHECK(reinterpret_cast<std::uintptr_t>(large) % page == 0);
    pool_release(large, 3 * MiB);
    pool_trim();

    std::vector<void*> medium;
    std::set<std::uintptr_t> pages;
    for (int n = 0; n < 64; ++n) {
      medium.push_back(pool_allocate(100 * KiB));  // 7 MiB altogether
      pages.insert(reinterpret_cast<std::uintptr_t>(medium.back()) / page);
    }
    CHECK(pages.size() <= 6);
    for (void* block : medium) pool_release(block, 100 * KiB);
  }

  TEST_CASE("a block released by a thread that ended is used again") {
    if (pool_is_off()) return;
    constexpr std::size_t bytes = 56 * KiB;  // a size that nothing else uses
    std::set<void*> given;
    for (int n = 0; n < 8; ++n) given.insert(pool_allocate(bytes));
    std::thread([&] {
      for (void* block : given) pool_release(block, bytes);
    }).join();
    std::set<void*> again;
    for (int n = 0; n < 8; ++n) again.insert(pool_allocate(bytes));
    CHECK(given == again);
    for (void* block : again) pool_release(block, bytes);
  }

  TEST_CASE("more memory than there is gives an error, not a crash") {
    CHECK_THROWS_WITH_AS(pool_allocate(std::size_t(1) << 60), doctest::Contains("[allocate] no memory for"), Error);
    if (pool_is_off()) return;  // a sanitizer ends the program instead
    const LeakGuard guard;
    CHECK_THROWS_AS(empty({Index(1) << 46}), Error);
  }

  TEST_CASE("more bytes than a number can count are an error, not a small block") {
    CHECK_THROWS_WITH_AS(empty({Index(1) << 61}, DType::f64), doctest::Contains("too many elements: f64 [23"), Error);
  }

  TEST_CASE("the counters follow every buffer: alive, bytes and peak") {
    const LeakGuard guard;
    const MemoryUse before = memory_use();
    reset_peak_memory();
    {
      const Tensor a = empty({1000});
      const Tensor view = a.untaped_view({10, 100});
      CHECK(memory_use().live_buffers == before.live_buffers + 1);
      CHECK(memory_use().live_bytes == before.live_bytes + 4000);
      { const Tensor b = empty({500}, DType::f64); }
      CHECK(memory_use().live_bytes == before.live_bytes + 4000);
      CHECK(memory_use().peak_bytes == before.live_bytes + 8000);
    }
    CHECK(memory_use().live_bytes == before.live_bytes);
    reset_peak_memory();
    CHECK(memory_use().peak_bytes == before.live_bytes);
  }

  TEST_CASE("a tensor may be made on one thread and freed on another") {
    const LeakGuard guard;
    std::vector<Tensor> made;
    std::thread([&] {
      for (int n = 0; n < 50; ++n) made.push_back(full({n + 1}, n));
    }).join();
    double sum = 0;
    for (const Tensor& x : made) sum += value_at(x, 0);
    CHECK(sum == 1225);
    std::thread([&] { made.clear(); }).join();
  }
}
