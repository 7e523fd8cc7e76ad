// Learning-rate schedules: pure functions from the step, 0-based, to a factor of the base rate. No state, so a resumed run
// continues as if it had not stopped.
//
//   train(model, adam, loss, {.steps = 1000, .schedule = [](Index step) { return warmup_cosine(step, 100, 1000); }});
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/dtype.h"

namespace gradus {

using Schedule = std::function<double(Index step)>;

inline double constant_rate(Index) { return 1; }

// (step + 1) / warmup, then 1. The first step already moves; warmup = 0 is the constant rate.
inline double linear_warmup(Index step, Index warmup) {
  return step + 1 < warmup ? double(step + 1) / double(warmup) : 1;
}

// last + (1 - last) (1 + cos(pi step / steps)) / 2: from 1 at step 0 to `last` at `steps`, and there it stays
// (Loshchilov and Hutter 2017, one period).
inline double cosine_decay(Index step, Index steps, double last = 0) {
  const double done = steps > 0 ? std::min(1.0, double(step) / double(steps)) : 1;
  return last + (1 - last) * (1 + std::cos(3.141592653589793 * done)) / 2;
}

// linear_warmup up to `warmup`, then cosine_decay over the rest, which ends at `steps`.
inline double warmup_cosine(Index step, Index warmup, Index steps, double last = 0) {
  return step < warmup ? linear_warmup(step, warmup) : cosine_decay(step - warmup, steps - warmup, last);
}

}  // namespace gradus
