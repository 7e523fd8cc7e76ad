// The way of an access through the checker: touch() for every load and store of code compiled with -fsanitize=thread
// (check_entries.cpp); find_page(): whose memory is it (check_find.cpp)? the rules (check.cpp); reports (check_report.cpp).
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "cuda/emulation/check.h"
#include "cuda/emulation/check_shadow.h"

namespace gradus::emulation::check {

// aligned: the type promises that its address is a multiple of its size. any: a number of bytes, as in a copy.
enum class Kind { read, write, atomic };
enum class Shape { aligned, any };
enum class Space { global, shared };

void kernel_access(const void* p, size_t bytes, Kind, Shape, const void* return_address);
[[noreturn]] void host_access(Kind, const char* function);

// Host code turns back here, after two comparisons; other host threads may run while a kernel does.
inline void touch(const void* p, size_t bytes, Kind kind, Shape shape, const void* return_address,
                  const char* function = "") {
  if (check_at.in_kernel)
    kernel_access(p, bytes, kind, shape, return_address);
  else if (in_device_memory(p) && !check_at.at_work && bytes > 0)
    host_access(kind, function);
}

// While the checker does more than a few comparisons of its own: what it calls may be instrumented, and is no kernel.
struct Pause {
  Pause() { check_at.in_kernel = false; }
  ~Pause() { check_at.in_kernel = true; }
};

struct Request {
  const char* address;
  size_t bytes;
  Kind kind;
  uint32_t place;  // the instruction
};
// The page of notes; null where there is nothing to check.
Page* find_page(const Request&, Space&);

// Something is wrong: ends the grid, or the program when host code did it. `what`: "out of bounds"; `more`: ", 4 past ..."
[[noreturn]] void bad_access(std::string_view what, const Request&, std::string_view more);
[[noreturn]] void race(const Access& before, const Access& now, Kind, Space);
[[noreturn]] void kernel_error(const std::string& text);
[[noreturn]] void host_error(const std::string& text);
std::string running_thread();  // "thread 3 of block 1"
void note_block();             // a block begins; reports name blocks by their epochs

}  // namespace gradus::emulation::check
