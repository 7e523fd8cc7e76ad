// What the checker says: both threads, both lines; the device adds the line of the launch.
#include <execinfo.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cuda/emulation/check_access.h"
#include "cuda/emulation/check_source.h"
#include "cuda/emulation/language.h"

namespace gradus::emulation::check {

// ---- who: threads by number, blocks by the epoch in which they began

struct BlockBegin {
  uint32_t epoch;
  uint3 index;
};
static std::vector<BlockBegin> blocks_of_grid;

void note_block() {
  if (!blocks_of_grid.empty() && blocks_of_grid.back().epoch < check_at.epoch_of_grid) blocks_of_grid.clear();
  blocks_of_grid.push_back({check_at.epoch_of_block, blockIdx});
}

static std::string coordinates(unsigned x, unsigned y, unsigned z, const dim3& of) {
  if (of.y * of.z == 1) return std::to_string(x);
  const std::string text = "(" + std::to_string(x) + "," + std::to_string(y);
  return text + (of.z == 1 ? ")" : "," + std::to_string(z) + ")");
}

static std::string thread_text(unsigned t, uint32_t epoch) {
  const dim3& d = blockDim;
  const std::string text = "thread " + coordinates(t % d.x, t / d.x % d.y, t / (d.x * d.y), d);
  const auto after = std::upper_bound(blocks_of_grid.begin(), blocks_of_grid.end(), epoch,
                                      [](uint32_t e, const BlockBegin& b) { return e < b.epoch; });
  if (after == blocks_of_grid.begin()) return text;
  const uint3& b = after[-1].index;
  return text + " of block " + coordinates(b.x, b.y, b.z, gridDim);
}
std::string running_thread() { return thread_text(unsigned(check_at.thread), check_at.epoch); }

// ---- errors of kernels

void kernel_error(const std::string& text) {
  check_at.in_kernel = false;
  fail(cudaErrorIllegalAddress, text);
}

static const char* doing(Kind kind) {
  return kind == Kind::read ? "reads" : kind == Kind::write ? "writes" : "updates";
}
static const char* did(const Access& a) { return a.atomic ? "updated" : a.writes ? "wrote" : "read"; }

void race(const Access& before, const Access& now, Kind kind, Space space) {
  check_at.in_kernel = false;
  const bool same_block = before.epoch >= check_at.epoch_of_block;
  const auto lines = source_lines({now.place, before.place});
  kernel_error(std::string("race in ") + (space == Space::shared ? "shared" : "global") +
               " memory: " + thread_text(now.thread, now.epoch) + " " + doing(kind) + " at " + lines[0] + " what " +
               thread_text(before.thread, before.epoch) + " " + did(before) + " at " + lines[1] +
               (same_block ? ", with no barrier between" : "; blocks run in any order, or at once"));
}

void bad_access(std::string_view what, const Request& r, std::string_view more) {
  check_at.in_kernel = false;
  kernel_error(std::string(what) + ": " + running_thread() + " " + doing(r.kind) + " " + std::to_string(r.bytes) +
               " bytes at " + source_line(r.place) + std::string(more));
}

// ---- errors of host code end the program: on a GPU it would have crashed

// With the callers' lines: device memory is mostly touched in a helper, and the mistake stands further out.
void host_error(const std::string& text) {
  check_at.at_work = true;
  void* frames[32];
  std::vector<uint32_t> places;
  for (int i = 0, n = backtrace(frames, 32); i < n; ++i)
    if (const uint32_t place = place_of(frames[i])) places.push_back(place);
  std::string message = "gradus: " + text + "\n";
  int shown = 0;
  for (const std::string& line : source_lines(places)) {
    if (line.find("cuda/emulation/") != line.npos || shown == 5) continue;
    message += (shown++ ? "  called from " : "  at ") + line + "\n";
  }
  std::fflush(nullptr);
  std::fputs(message.c_str(), stderr);
  std::_Exit(1);
}
void host_access(Kind kind, const char* function) {
  check_at.at_work = true;
  host_error(std::string("host code ") + (kind == Kind::read ? "reads" : "writes") + " device memory" +
             (*function ? std::string(" (") + function + ")" : ""));
}

}  // namespace gradus::emulation::check
