// Where the checker shows each good access to the lint; null while nobody counts.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gradus::emulation::check {

struct Seen {
  const char* address;
  size_t bytes;
  uint32_t place;
  bool shared, writes;
};
extern void (*lint_hook)(const Seen&);

}  // namespace gradus::emulation::check
