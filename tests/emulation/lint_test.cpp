// The lint's figures for three ways to transpose a matrix, which are known exactly.
#include "cuda/emulation/lint.h"

#include "tests/emulation/emulation_helpers.h"

using namespace gradus::emulation;

namespace {

// A warp reads a row, and writes a column: each lane another sector.
constexpr int naive_read = __LINE__ + 3, naive_write = naive_read + 1;
__global__ void naive(const float* in, float* out, int n) {
  const int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 8 + threadIdx.y;
  const float v = in[r * n + c];
  out[c * n + r] = v;
}

constexpr int tile_write = __LINE__ + 6, tile_read = tile_write + 5;
template <int padding> __global__ void tiled(const float* in, float* out, int n) {
  __shared__ float tile[32][32 + padding];
  const int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) {
    const float v = in[(r + k) * n + c];
    tile[threadIdx.y + k][threadIdx.x] = v;
  }
  __syncthreads();
  const int to_c = blockIdx.y * 32 + threadIdx.x, to_r = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) {
    const float v = tile[threadIdx.x][threadIdx.y + k];
    out[(to_r + k) * n + to_c] = v;
  }
}

constexpr int copied = __LINE__ + 1;
template <class T> __global__ void copy(const T* in, T* out) { out[threadIdx.x] = in[threadIdx.x]; }

// The line with this number.
lint::Line found(const std::vector<lint::Line>& lines, int number, bool shared, bool writes) {
  for (const auto& l : lines)
    if (names_line(l.place, "lint_test.cpp", number) && l.shared == shared && l.writes == writes) return l;
  FAIL("no such line: " << number);
  return {};
}

struct Matrices {
  DeviceArray<float> in{std::vector<float>(128 * 128, 1)}, out{128 * 128};
};

TEST_CASE("lint: naive transpose") {
  if (!check::active()) return;
  const Matrices m;
  lint::begin();
  REQUIRE(report_of({{4, 16}, {32, 8}}, naive, m.in, m.out, 128) == "");
  const auto lines = lint::end();
  const auto write = found(lines, naive_write, false, true), read = found(lines, naive_read, false, false);
  CHECK(write.requests == 16);  // 2 blocks of 8 warps
  CHECK(write.sectors_per_request() == 32);
  CHECK(write.efficiency() == 0.125);
  CHECK(read.sectors_per_request() == 4);
  CHECK(read.efficiency() == 1);
}

TEST_CASE("lint: tiles, and why they are padded") {
  if (!check::active()) return;
  const Matrices m;
  lint::begin();
  REQUIRE(report_of({{4, 4}, {32, 8}}, tiled<0>, m.in, m.out, 128) == "");
  const auto plain = lint::end();
  lint::begin();
  REQUIRE(report_of({{4, 4}, {32, 8}}, tiled<1>, m.in, m.out, 128) == "");
  const auto padded = lint::end();
  CHECK(found(plain, tile_write, true, true).turns_per_request() == 1);
  CHECK(found(plain, tile_read, true, false).turns_per_request() == 32);  // a column lies in one bank
  CHECK(found(plain, tile_read + 1, false, true).efficiency() == 1);
  CHECK(found(padded, tile_read, true, false).turns_per_request() == 1);
  CHECK(found(padded, tile_read, true, false).efficiency() == 1);
}

TEST_CASE("lint: doubles are no conflict, and the table is the same in every run") {
  if (!check::active()) return;
  const DeviceArray<double> in(std::vector<double>(64, 1)), out(64);
  std::vector<lint::Line> runs[2];
  for (auto& run : runs) {
    lint::begin();
    REQUIRE(report_of({1, 64}, copy<double>, in, out) == "");
    run = lint::end();
  }
  const auto line = found(runs[0], copied, false, true);
  CHECK(line.requests == 2);
  CHECK(line.sectors_per_request() == 8);
  CHECK(line.efficiency() == 1);
  REQUIRE(runs[0].size() == 2);
  for (size_t i = 0; i < 2; ++i) CHECK(runs[0][i].sectors == runs[1][i].sectors);
}

}  // namespace
