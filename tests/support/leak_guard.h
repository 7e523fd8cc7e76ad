// Nothing may be left over: compares the buffers that are alive at the end of a scope with those at its beginning.
//
//   const LeakGuard guard;      // first in a test, so that everything else is destroyed before it looks
#pragma once
#include <doctest/doctest.h>

#include "engine/buffer.h"

struct LeakGuard {
  std::int64_t buffers = gradus::memory_use().live_buffers;
  LeakGuard() = default;
  LeakGuard(const LeakGuard&) = delete;
  ~LeakGuard() { CHECK(gradus::memory_use().live_buffers == buffers); }
};
