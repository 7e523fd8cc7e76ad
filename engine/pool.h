// Pooled memory: a block that is released is kept and handed out again, so the hot path never reaches malloc.
//
// Sizes are rounded up to classes, four per doubling (256, 320, 384, 448, 512, ...): at most 25 % more than was asked, but
// blocks are cut at multiples of 64 bytes.
//   small    up to 64 KiB   cut from 2 MiB slabs of the thread, cached per thread, no lock
//   medium   below 2 MiB    cut from 32 MiB slabs, shared by all threads
//   large    from 2 MiB     a mapping of its own, in multiples of 2 MiB; pool_trim can give it back
//
// Memory is mapped with huge pages: the first touch of a fresh 4 KiB page costs more than any kernel on a large loss, so
// pages are touched once and kept. Under AddressSanitizer the pool steps aside, so that it cannot hide a use after free.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gradus {

// Whether blocks are kept: not under AddressSanitizer.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool pooled = false;
#elif defined(__has_feature)
constexpr bool pooled = !__has_feature(address_sanitizer);
#else
constexpr bool pooled = true;
#endif

void* pool_allocate(std::size_t bytes);  // 64-byte aligned; throws Error when memory is exhausted
void pool_release(void* memory, std::size_t bytes);
void pool_trim();  // gives cached large blocks back to the system

// For containers and make_shared.
template <class T> struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U> PoolAllocator(const PoolAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(pool_allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) { pool_release(p, n * sizeof(T)); }
  bool operator==(const PoolAllocator&) const { return true; }
};

}  // namespace gradus
