// See lint.h.
#include "cuda/emulation/lint.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <unordered_map>

#include "cuda/emulation/check_source.h"
#include "cuda/emulation/lint_hook.h"

namespace gradus::emulation {

namespace check {
void (*lint_hook)(const Seen&) = nullptr;
}

namespace lint {

using Words = std::vector<uintptr_t>;  // addresses / 4

// An instruction, a warp of the running block, and the how-manieth time.
struct Key {
  uint32_t place;
  int warp;
  uint32_t time;
  auto operator<=>(const Key&) const = default;
};
struct Request {
  Words words;
  bool shared = false, writes = false;
};
struct Count {
  bool shared = false, writes = false;
  size_t requests = 0, sectors = 0, fewest_sectors = 0, turns = 0, fewest_turns = 0;
};

static std::map<Key, Request> open_requests;               // of the running block
static std::unordered_map<uint64_t, uint32_t> times;       // place and thread: how often
static std::map<std::pair<uint32_t, bool>, Count> counts;  // by place, reads and writes apart
static uint32_t grid, block, blocks_of_grid;

static size_t different(Words v) {
  std::sort(v.begin(), v.end());
  return size_t(std::unique(v.begin(), v.end()) - v.begin());
}

static void close_requests() {
  for (auto& [key, r] : open_requests) {
    Words& words = r.words;
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    Words sectors;
    std::array<size_t, 32> in_bank{};
    for (uintptr_t w : words) sectors.push_back(w / 8), ++in_bank[w % 32];
    Count& c = counts[{key.place, r.writes}];
    c.shared = r.shared, c.writes = r.writes;
    c.requests += 1;
    c.sectors += different(sectors), c.fewest_sectors += (words.size() + 7) / 8;
    c.turns += *std::max_element(in_bank.begin(), in_bank.end()), c.fewest_turns += (words.size() + 31) / 32;
  }
  open_requests.clear(), times.clear();
}

static void see(const check::Seen& s) {
  const Position& at = check_at;
  if (block != at.epoch_of_block) {
    close_requests();
    if (grid != at.epoch_of_grid) grid = at.epoch_of_grid, blocks_of_grid = 0;
    block = at.epoch_of_block, ++blocks_of_grid;
  }
  if (blocks_of_grid > 2) return;
  const uint32_t time = times[uint64_t(s.place) << 16 | uint64_t(at.thread) << 1 | s.writes]++;
  Request& r = open_requests[{s.place, at.thread / 32, time * 2 + s.writes}];
  r.shared = s.shared, r.writes = s.writes;
  for (uintptr_t w = reinterpret_cast<uintptr_t>(s.address) / 4,
                 end = (reinterpret_cast<uintptr_t>(s.address) + s.bytes + 3) / 4;
       w < end; ++w)
    r.words.push_back(w);
}

static void start() {
  open_requests.clear(), times.clear(), counts.clear();
  grid = block = blocks_of_grid = 0;
  check::lint_hook = see;
}

static std::vector<Line> stop() {
  check::lint_hook = nullptr;
  close_requests();
  std::vector<uint32_t> places;
  for (const auto& [key, c] : counts) places.push_back(key.first);
  const auto names = check::source_lines(places);
  std::map<std::pair<std::string, bool>, Line> lines;  // of one line, several instructions
  size_t i = 0;
  for (const auto& [key, c] : counts) {
    const std::string& name = names[i++];
    Line& l =
        lines.try_emplace({name + (c.shared ? " s" : " g"), c.writes}, Line{name, c.shared, c.writes, 0, 0, 0, 0, 0})
            .first->second;
    l.requests += c.requests, l.sectors += c.sectors, l.fewest_sectors += c.fewest_sectors;
    l.turns += c.turns, l.fewest_turns += c.fewest_turns;
  }
  std::vector<Line> result;
  for (auto& [key, line] : lines) result.push_back(line);
  return result;
}

static std::string table(const std::vector<Line>& lines) {
  char text[512];
  std::snprintf(text, sizeof text, "%-40s %-12s %9s %24s %11s\n", "line", "access", "requests", "per request",
                "efficiency");
  std::string result = text;
  for (const Line& l : lines) {
    std::snprintf(text, sizeof text, "%-40s %-6s %-5s %9zu %16.2f %-7s %10.0f%%\n", l.place.c_str(),
                  l.shared ? "shared" : "global", l.writes ? "write" : "read", l.requests,
                  l.shared ? l.turns_per_request() : l.sectors_per_request(), l.shared ? "turns" : "sectors",
                  100 * l.efficiency());
    result += text;
  }
  return result;
}

static const bool installed = [] {
  check::hooks.lint_begin = start;
  check::hooks.lint_end = stop;
  const char* wanted = std::getenv("GRADUS_EMULATION_LINT");
  if (!wanted || std::string(wanted) != "1") return true;
  start();
  std::atexit([] { std::fputs(table(stop()).c_str(), stdout); });
  return true;
}();

}  // namespace lint
}  // namespace gradus::emulation
