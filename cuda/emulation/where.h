// Places in the source, taken by default arguments. std::source_location would do, but clang 14 lacks it; the builtins
// work in g++, clang and nvcc.
#pragma once
#include <cstring>
#include <string>

namespace gradus::emulation {

// Where a barrier or a warp operation stands. Two threads wait for the same one when their lines are equal.
struct Line {
  const char* file = "?";
  unsigned line = 0;
  static constexpr Line here(const char* f = __builtin_FILE(), unsigned l = __builtin_LINE()) { return {f, l}; }
  bool operator==(const Line& o) const { return line == o.line && (file == o.file || std::strcmp(file, o.file) == 0); }
  std::string text() const { return std::string(file) + ":" + std::to_string(line); }
};

// Where a kernel was launched, and what it computes: the name of an op, for reports.
struct Where {
  const char* file = "?";
  unsigned line = 0;
  const char* what = "";
  static constexpr Where here(const char* w = "", const char* f = __builtin_FILE(), unsigned l = __builtin_LINE()) {
    return {f, l, w};
  }
  std::string text() const {
    return std::string(what) + (*what ? " at " : "") + std::string(file) + ":" + std::to_string(line);
  }
};

}  // namespace gradus::emulation
