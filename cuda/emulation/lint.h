// Counts how well the warps of kernels use memory; in the check build, where every access is seen.
//
// Lanes of a warp that execute the same instruction for the same time form one request, as on the GPU. A request to global
// memory fetches sectors of 32 bytes; we count those it touches against the fewest that could hold its bytes. A request to
// shared memory takes as many turns as the busiest of the 32 banks has different words of 4 bytes. Both are exact and the
// same in every run, so a test can demand them. The first two blocks of each grid are counted.
//
//   lint::begin();  kernel launches;  for (const lint::Line& line : lint::end()) ...
//
// With GRADUS_EMULATION_LINT=1 the whole program is counted, and the table printed at its end.
#pragma once
#include <string>
#include <vector>

#include "cuda/emulation/check.h"

namespace gradus::emulation::lint {

struct Line {
  std::string place;  // file:line
  bool shared, writes;
  size_t requests;
  size_t sectors, fewest_sectors;  // global memory, all requests together
  size_t turns, fewest_turns;      // shared memory

  double sectors_per_request() const { return double(sectors) / double(requests); }
  double turns_per_request() const { return double(turns) / double(requests); }
  // 1: every byte fetched was asked for; no bank was waited for.
  double efficiency() const {
    return shared ? double(fewest_turns) / double(turns) : double(fewest_sectors) / double(sectors);
  }
};

// Without the checker nothing is seen, and the result is empty.
inline void begin() {
  if (check::hooks.lint_begin) check::hooks.lint_begin();
}
inline std::vector<Line> end() { return check::hooks.lint_end ? check::hooks.lint_end() : std::vector<Line>(); }

}  // namespace gradus::emulation::lint
