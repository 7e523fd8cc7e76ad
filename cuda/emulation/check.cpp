// The rules for memory in kernels. See check.h.
//
// -fsanitize=thread puts a call before every load and store: __tsan_read4(address) and so on. Usually libtsan answers.
// Here we do (check_entries.cpp), and know which CUDA thread runs and how many barriers it has passed. So each access is
// compared with the allocations and with the last accesses to the same bytes. Two threads touch them, one writes, and no
// barrier lies between: a race, whatever order this run happened to take.
#include "cuda/emulation/check.h"

#include "cuda/emulation/check_access.h"
#include "cuda/emulation/check_source.h"
#include "cuda/emulation/lint_hook.h"

namespace gradus::emulation::check {

// ---- races

// Whether `before` may happen at the same time as what the running thread does now.
static bool at_once(const Access& before, const Access& now, const Position& at, Space space) {
  if (before.epoch < at.epoch_of_grid) return false;  // an earlier grid, or never
  if (before.atomic && now.atomic) return false;
  if (before.epoch < at.epoch_of_block) return space == Space::global;         // each block has its own shared memory
  if (before.thread == now.thread || before.epoch != now.epoch) return false;  // a __syncthreads() lies between
  if (before.thread / 32 != now.thread / 32) return true;
  return before.warp_time >= now.warp_time;  // else a __syncwarp() does
}

// `a` gives way to a newer access; it is kept where the newer one would not do in its place.
static void displace(const Access& a, Cell& cell, const Position& at) {
  const bool other_block = a.epoch >= at.epoch_of_grid && a.epoch < at.epoch_of_block;
  const bool other_atomic = a.atomic && a.epoch == at.epoch && a.thread != at.thread;
  if (!other_block && !other_atomic) return;
  if (cell.earlier.epoch >= at.epoch_of_grid && cell.earlier.writes && !a.writes) return;
  cell.earlier = a;
}

static void visit(Cell& cell, const Access& now, const Position& at, Kind kind, Space space) {
  if (at_once(cell.write, now, at, space)) race(cell.write, now, kind, space);
  if (at_once(cell.earlier, now, at, space) && (now.writes || cell.earlier.writes))
    race(cell.earlier, now, kind, space);
  if (now.writes) {
    if (at_once(cell.read, now, at, space)) race(cell.read, now, kind, space);
    if (at_once(cell.other_read, now, at, space)) race(cell.other_read, now, kind, space);
    displace(cell.write, cell, at);
    cell.write = now;
  } else {
    if (cell.read.thread != now.thread || cell.read.epoch < at.epoch_of_block) {
      displace(cell.other_read, cell, at);
      cell.other_read = cell.read;
    }
    cell.read = now;
  }
}

// ---- one access to a place that is right: a power of two bytes, which lie within the page

static void note(Page& page, const Request& r, const Access& now, const Position& at, Space space) {
  const size_t offset = reinterpret_cast<uintptr_t>(r.address) % page_bytes;
  if (space == Space::global) {
    const uint64_t bits = (~uint64_t(0) >> (64 - r.bytes)) << offset % 64;
    uint64_t& defined = page.defined[offset / 64];
    if (r.kind != Kind::write && (defined & bits) != bits)
      bad_access("uninitialised global memory", r, ", which nobody has written yet");
    if (r.kind != Kind::read) defined |= bits;
  }
  if (!page.cells || r.bytes >> page.shift == 0) {
    const Pause pause;
    prepare_cells(page, r.bytes, at.epoch_of_grid);
  }
  page.grid = at.epoch_of_grid;
  for (size_t i = offset >> page.shift, end = (offset + r.bytes) >> page.shift; i < end; ++i) {
    Cell& cell = page.cells[i];
    if (space == Space::shared && r.kind != Kind::write && cell.write.epoch < at.epoch_of_block)
      bad_access("uninitialised shared memory", r, ", which no thread of this block has written yet");
    visit(cell, now, at, r.kind, space);
  }
}

void kernel_access(const void* p, size_t bytes, Kind kind, Shape shape, const void* return_address) {
  Position& at = check_at;
  Request r{static_cast<const char*>(p), bytes, kind, 0};
  const bool on_stack = size_t(r.address - at.stack) < at.stack_bytes;
  if (on_stack || size_t(r.address - at.args) < at.args_bytes || bytes == 0) return;
  static uint32_t block_noted = 0;
  if (block_noted != at.epoch_of_block) {
    const Pause pause;
    block_noted = at.epoch_of_block;
    note_block();
  }
  r.place = place_of(return_address);
  Space space = Space::global;
  Page* page = find_page(r, space);
  if (!page) return;
  if (lint_hook) {
    const Pause pause;
    lint_hook({r.address, bytes, r.place, space == Space::shared, kind != Kind::read});
  }
  Access now;
  now.epoch = at.epoch, now.place = r.place, now.warp_time = at.warp_time[at.thread];
  now.thread = uint16_t(at.thread) & 1023, now.atomic = kind == Kind::atomic, now.writes = kind != Kind::read;
  if (shape == Shape::aligned) {
    if (reinterpret_cast<uintptr_t>(p) & (bytes - 1))
      bad_access("misaligned", r, ", whose address is no multiple of that");
    return note(*page, r, now, at, space);
  }
  for (size_t left = bytes; left > 0;
       r.address += r.bytes, left -= r.bytes) {  // in the largest pieces that are aligned
    for (r.bytes = 8; reinterpret_cast<uintptr_t>(r.address) % r.bytes || r.bytes > left;) r.bytes /= 2;
    note(*find_page(r, space), r, now, at, space);
  }
}

// ---- installation: this file is linked in, so it is in force

static const bool installed = [] {
  reserve_device_memory();
  hooks.allocate = allocate;
  hooks.release = release;
  hooks.define = define;
  hooks.copy = copy_defined;
  hooks.atomic = [](void* p, size_t bytes, void* pc) { touch(p, bytes, Kind::atomic, Shape::aligned, pc); };
  return true;
}();

}  // namespace gradus::emulation::check
