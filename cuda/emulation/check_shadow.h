// What the checker knows of device and shared memory: for each page of 4096 bytes where it belongs, which of its bytes
// are defined, and which accesses touched it last.
//
// Accesses are remembered in cells. A page begins with cells as large as the first access to it (8 bytes at most), and
// is cut into smaller ones when a smaller access comes. So f64 data costs 6 bytes of notes for a byte, f32 12. Only what
// happens within one grid can race: beyond a limit, the cells that the running grid has not used are given up.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gradus::emulation::check {

struct Access {
  uint32_t epoch = 0;  // when; see Position. 0: never
  uint32_t place = 0;  // the instruction; see check_source.h
  uint16_t warp_time = 0;
  uint16_t thread : 10 = 0;
  uint16_t atomic : 1 = 0;
  uint16_t writes : 1 = 0;
};
static_assert(sizeof(Access) == 12);

struct Cell {
  Access write;
  Access read, other_read;  // two readers, so that one of them differs from any writer
  Access earlier;  // what these displaced, when it was by another block or an atomic operation of another thread
};

inline constexpr size_t page_bytes = 4096;

struct Page {
  const char* start = nullptr;  // of the allocation or variable that was looked up here last
  size_t bytes = 0;
  Cell* cells = nullptr;
  int shift = 0;                           // a cell covers 1 << shift bytes
  uint32_t grid = 0;                       // that used the cells last
  size_t listed = 0;                       // number among the pages with cells
  uint64_t defined[page_bytes / 64] = {};  // device memory: a bit for each byte
};

// Makes sure that cells cover at most `bytes`, a power of two. `grid`: the running one.
void prepare_cells(Page&, size_t bytes, uint32_t grid);
void drop_cells(Page&);
void set_defined(Page&, size_t first, size_t count, bool defined);

// ---- device memory: addresses that nothing else has, so that one comparison tells them from the host's
inline constexpr uintptr_t device_memory = 0x600000000000, device_range = uintptr_t(1) << 40;

extern Page** device_pages;  // one entry per page of the range, null where nothing is allocated
inline bool in_device_memory(const void* p) { return reinterpret_cast<uintptr_t>(p) - device_memory < device_range; }
inline Page* device_page(const void* p) {
  return device_pages[(reinterpret_cast<uintptr_t>(p) - device_memory) / page_bytes];
}

void reserve_device_memory();
void* allocate(size_t bytes);  // on pages of its own, with a gap behind
void release(void* p);
void define(void* p, size_t bytes, bool defined);
void copy_defined(void* to, const void* from, size_t bytes);

struct Allocation {
  const char* start;
  size_t bytes;
  bool live;
};
// The one that holds p, or ends at most 64 KiB before p, or was released a while ago; null when there is none.
const Allocation* allocation_near(const void* p);

}  // namespace gradus::emulation::check
