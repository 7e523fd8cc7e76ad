// Device memory of the check build, and its pages of notes. See check_shadow.h.
#include "cuda/emulation/check_shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <vector>

namespace gradus::emulation::check {

// ---- cells

constexpr size_t most_cell_bytes = size_t(512) << 20;
static size_t cell_bytes = 0;
static std::vector<Page*> with_cells;

static size_t cells_size(const Page& page) { return (page_bytes >> page.shift) * sizeof(Cell); }

void drop_cells(Page& page) {
  if (!page.cells) return;
  cell_bytes -= cells_size(page);
  std::free(page.cells);
  page.cells = nullptr;
  with_cells[page.listed] = with_cells.back();
  with_cells[page.listed]->listed = page.listed;
  with_cells.pop_back();
}

static void drop_cells_of_other_grids(uint32_t grid) {
  static uint32_t done_in_grid = 0;
  if (done_in_grid == grid) return;
  done_in_grid = grid;
  for (size_t i = 0; i < with_cells.size();) {
    if (with_cells[i]->grid == grid)
      ++i;
    else
      drop_cells(*with_cells[i]);
  }
}

static Cell* new_cells(Page& page) {
  cell_bytes += cells_size(page);
  return static_cast<Cell*>(std::calloc(1, cells_size(page)));
}

static int log2_of(size_t bytes) { return bytes >= 8 ? 3 : bytes >= 4 ? 2 : bytes >= 2 ? 1 : 0; }

void prepare_cells(Page& page, size_t bytes, uint32_t grid) {
  const int shift = log2_of(bytes);
  if (!page.cells) {
    if (cell_bytes > most_cell_bytes) drop_cells_of_other_grids(grid);
    page.shift = shift;
    page.cells = new_cells(page);
    page.listed = with_cells.size();
    with_cells.push_back(&page);
  } else if (page.shift > shift) {
    Cell* const coarse = page.cells;
    const int finer = page.shift - shift;
    cell_bytes -= cells_size(page);
    page.shift = shift;
    page.cells = new_cells(page);
    for (size_t i = 0; i < page_bytes >> shift; ++i) page.cells[i] = coarse[i >> finer];
    std::free(coarse);
  }
}

void set_defined(Page& page, size_t first, size_t count, bool defined) {
  for (size_t i = first; i < first + count;) {
    const size_t n = std::min(first + count - i, 64 - i % 64);
    const uint64_t bits = (n == 64 ? ~uint64_t(0) : (uint64_t(1) << n) - 1) << i % 64;
    if (defined)
      page.defined[i / 64] |= bits;
    else
      page.defined[i / 64] &= ~bits;
    i += n;
  }
}

// ---- device memory

Page** device_pages = nullptr;
static std::map<uintptr_t, Allocation> live;
static std::deque<Allocation> released;  // the last ones, so that a report can name them
static uintptr_t next_place = device_memory;

void reserve_device_memory() {
  // Neither takes memory before it is touched.
  const int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, may = PROT_READ | PROT_WRITE;
  void* at = mmap(reinterpret_cast<void*>(device_memory), device_range, may, how | MAP_FIXED_NOREPLACE, -1, 0);
  void* table = mmap(nullptr, device_range / page_bytes * sizeof(Page*), may, how, -1, 0);
  if (at == MAP_FAILED || table == MAP_FAILED) {
    std::fprintf(stderr, "the check build reserves 1 TiB of addresses from 0x%zx, and could not (see ulimit -v)\n",
                 size_t(device_memory));
    std::_Exit(1);
  }
  device_pages = static_cast<Page**>(table);
}

static size_t pages_of(size_t bytes) { return (bytes + page_bytes - 1) / page_bytes; }

// The first gap behind the last allocation, so that an address comes back as late as possible.
static uintptr_t find_place(size_t bytes) {
  for (int round = 0; round < 2; ++round, next_place = device_memory) {
    for (auto it = live.lower_bound(next_place);; ++it) {
      const uintptr_t end = it == live.end() ? device_memory + device_range : it->first;
      if (end - next_place >= bytes) return next_place;
      if (it == live.end()) break;
      next_place = it->first + (pages_of(it->second.bytes) + 16) * page_bytes;
    }
  }
  return 0;
}

void* allocate(size_t bytes) {
  const size_t pages = pages_of(bytes);
  const uintptr_t place = find_place((pages + 16) * page_bytes);
  if (!place) return nullptr;
  next_place = place + (pages + 16) * page_bytes;
  const auto start = reinterpret_cast<char*>(place);
  live[place] = {start, bytes, true};
  for (size_t i = 0; i < pages; ++i) {
    const auto page = new Page;
    page->start = start, page->bytes = bytes;
    device_pages[(place - device_memory) / page_bytes + i] = page;
  }
  return start;
}

void release(void* p) {
  const auto found = live.find(reinterpret_cast<uintptr_t>(p));
  if (found == live.end()) return;
  const size_t pages = pages_of(found->second.bytes);
  for (size_t i = 0; i < pages; ++i) {
    Page*& page = device_pages[(found->first - device_memory) / page_bytes + i];
    drop_cells(*page);
    delete page;
    page = nullptr;
  }
  madvise(p, pages * page_bytes, MADV_DONTNEED);
  released.push_back({found->second.start, found->second.bytes, false});
  if (released.size() > 10000) released.pop_front();
  live.erase(found);
}

void define(void* p, size_t bytes, bool defined) {
  auto at = reinterpret_cast<uintptr_t>(p);
  for (const uintptr_t end = at + bytes; at < end;) {
    const size_t count = std::min(end - at, page_bytes - at % page_bytes);
    Page* page = in_device_memory(p) ? device_page(reinterpret_cast<void*>(at)) : nullptr;
    if (page) set_defined(*page, at % page_bytes, count, defined);
    at += count;
  }
}

static bool is_defined(uintptr_t at) {
  const Page* page = device_page(reinterpret_cast<void*>(at));
  return page && (page->defined[at % page_bytes / 64] >> at % 64 & 1);
}

void copy_defined(void* to, const void* from, size_t bytes) {
  define(to, bytes, true);
  const auto source = reinterpret_cast<uintptr_t>(from);
  for (size_t i = 0; i < bytes; ++i) {
    const Page* page = device_page(static_cast<const char*>(from) + i);
    const size_t word = (source + i) % page_bytes / 64;
    if (page && page->defined[word] == ~uint64_t(0))
      i += 63 - (source + i) % 64;  // the usual case
    else if (!is_defined(source + i))
      define(static_cast<char*>(to) + i, 1, false);
  }
}

const Allocation* allocation_near(const void* p) {
  const auto at = reinterpret_cast<uintptr_t>(p);
  const auto within = [&](const Allocation& a, size_t slack) {
    return at - reinterpret_cast<uintptr_t>(a.start) < a.bytes + slack;
  };
  const auto next = live.upper_bound(at);
  if (next != live.begin() && within(std::prev(next)->second, 65536)) return &std::prev(next)->second;
  for (auto it = released.rbegin(); it != released.rend(); ++it)
    if (within(*it, 0)) return &*it;
  if (next != live.end() && next->first - at <= 65536) return &next->second;  // before its start
  return nullptr;
}

}  // namespace gradus::emulation::check
