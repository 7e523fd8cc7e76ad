// Errors: one clear line that names the op, the shapes, the tensor and what to do.
//
//   [matmul] inner sizes differ: [4,3] x [5,2]; did you mean transpose_b?
//
// Everything the library refuses, it refuses by throwing Error before anything is written.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace gradus {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Error("[op] text").
[[noreturn]] void fail(std::string_view op, const std::string& text);

// A line of the user's program, found by default arguments (`At` in tensor.h), printed as "train.cpp:41".
// clang 14 has no std::source_location; __builtin_FILE and __builtin_LINE work in g++, clang and nvcc alike.
struct UserLine {
  const char* file = "";
  int line = 0;
  std::string text() const;  // base name of the file and the line, "" when unknown
};

// As a default argument, `UserLine = user_line()` is the line of the call.
constexpr UserLine user_line(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }

}  // namespace gradus
