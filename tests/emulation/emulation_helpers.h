// For tests of the emulated device itself: arrays of it, launches that return their error, and child processes.
#pragma once
#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "cuda/emulation/check.h"
#include "cuda/emulation/settings.h"

namespace gradus::emulation {

template <class T> struct DeviceArray {
  T* p = nullptr;
  size_t n;
  explicit DeviceArray(size_t count) : n(count) { REQUIRE(cudaMalloc(&p, n * sizeof(T)) == cudaSuccess); }
  explicit DeviceArray(const std::vector<T>& v) : DeviceArray(v.size()) {
    REQUIRE(cudaMemcpy(p, v.data(), n * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  ~DeviceArray() { cudaFree(p); }
  DeviceArray(const DeviceArray&) = delete;
  operator T*() const { return p; }
  std::vector<T> fetch() const {
    std::vector<T> v(n);
    REQUIRE(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return v;
  }
};

struct Shape {
  dim3 grid, block;
  size_t shared_bytes;
  Line line;
  Shape(dim3 g, dim3 b, size_t bytes = 0, Line at = Line::here()) : grid(g), block(b), shared_bytes(bytes), line(at) {}
};
// Runs a kernel to its end: what went wrong, in words, or "".
template <class... P, class... A> std::string report_of(const Shape& s, void (*kernel)(P...), const A&... args) {
  launch_kernel(s.grid, s.block, s.shared_bytes, nullptr, {s.line.file, s.line.line, "test"}, kernel, args...);
  cudaDeviceSynchronize();
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

// Whether the words name this line: a number that no digit follows.
inline bool names_line(const std::string& words, const std::string& file, int line) {
  const std::string place = file + ":" + std::to_string(line);
  const auto at = words.find(place);
  return at != words.npos && (at + place.size() == words.size() || !std::isdigit(words[at + place.size()]));
}

// 1, 2, 3, ...
inline std::vector<float> counting(size_t n) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = float(i % 101) + 1;
  return v;
}

// The check build must say `what`, and name the lines of the test's own file. Elsewhere the bug may pass unseen.
inline void expect_report(const std::string& words, const std::string& what, std::initializer_list<int> lines,
                          std::string file = __builtin_FILE()) {
  if (!check::active()) {
    MESSAGE("not the check build: " << (words.empty() ? "nothing seen" : words.substr(0, 200)));
    return;
  }
  file = file.substr(file.rfind('/') + 1);
  CAPTURE(words);
  CHECK(words.find(what) != words.npos);
  for (int line : lines) {
    CAPTURE(line);
    CHECK(names_line(words, file, line));
  }
  CHECK(words.find("kernel launched at") != words.npos);
}

// Runs f in a child process: for what may end the process, or leave its memory damaged.
struct ChildResult {
  int exit_code;      // -1: killed by a signal
  std::string words;  // what f returned, and what was written to stderr
};
template <class F> ChildResult in_child(F f) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    const std::string words = f();
    [[maybe_unused]] const auto written = write(2, words.data(), words.size());
    _exit(0);
  }
  close(ends[1]);
  ChildResult result;
  char text[512];
  for (ssize_t count; (count = read(ends[0], text, sizeof text)) > 0;) result.words.append(text, size_t(count));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

}  // namespace gradus::emulation
