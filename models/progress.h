// How far a long loop is: one line that rewrites itself on a terminal, a plain line every tenth elsewhere (a file, CI).
//
//   [=========>          ]  450/1000  loss 0.8123  lr 0.00081  5.2k items/s  0:12 left
#pragma once
#include <chrono>
#include <cstdio>
#include <string>

#include "engine/dtype.h"

namespace gradus {

class Progress {
 public:
  // Counts from `first` to `total`; items are what one step processes. out = nullptr prints nothing.
  Progress(Index first, Index total, Index items_per_step, std::FILE* out);
  ~Progress();  // an error message begins on a line of its own
  Progress(const Progress&) = delete;

  void update(Index step, const std::string& values);  // steps done, and what to show: "loss 0.81  lr 0.001"
  void note(const std::string& line);                  // a line of its own
  double seconds() const;                              // since the start

 private:
  using Clock = std::chrono::steady_clock;
  Index first_, total_, items_;
  std::FILE* out_;
  bool terminal_;
  Clock::time_point start_ = Clock::now();
  double shown_at_ = -1;  // seconds
  Index shown_tenth_;
  bool open_line_ = false;  // the cursor stands in a line that will be rewritten
};

// "450/1000  loss 0.8123  5.2k items/s  0:12 left", of steps first..total after `seconds`.
std::string progress_text(Index first, Index step, Index total, Index items_per_step, double seconds,
                          const std::string& values);

}  // namespace gradus
