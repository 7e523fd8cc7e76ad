// Kernels whose threads do not wait for each other, or wait for ever, each beside its correct twin. See
// planted_bugs_test.cpp.
#include "tests/emulation/emulation_helpers.h"

using namespace gradus::emulation;

namespace {

constexpr const char* here = "planted_races_test.cpp";

// ---- transpose without the barrier between writing a tile and reading it

constexpr int tile_read = __LINE__ + 7;
template <bool barrier> __global__ void transpose(const float* in, float* out, int rows, int cols) {
  __shared__ float tile[32][33];
  const int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) tile[threadIdx.y + k][threadIdx.x] = in[(r + k) * cols + c];
  if (barrier) __syncthreads();
  const int to_c = blockIdx.y * 32 + threadIdx.x, to_r = blockIdx.x * 32 + threadIdx.y;
  for (int k = 0; k < 32; k += 8) out[(to_r + k) * rows + to_c] = tile[threadIdx.x][threadIdx.y + k];
}

TEST_CASE("planted bug: transpose without a barrier") {
  const auto a = counting(64 * 64);
  const DeviceArray<float> in(a), out(64 * 64);
  const Shape shape({2, 2}, {32, 8});
  expect_report(report_of(shape, transpose<false>, in, out, 64, 64), "shared memory: thread (", {tile_read});
  CHECK(report_of(shape, transpose<true>, in, out, 64, 64) == "");
  const auto b = out.fetch();
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 64; ++j) REQUIRE(b[j * 64 + i] == a[i * 64 + j]);
}

// ---- threads of a block at two different barriers

constexpr int first_barrier = __LINE__ + 5;
__global__ void divergent_barrier(float* out) {
  __shared__ float s[64];
  s[threadIdx.x] = float(threadIdx.x);
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = s[63 - threadIdx.x];
}

TEST_CASE("planted bug: divergent barrier") {
  const DeviceArray<float> out(64);
  const std::string words = report_of({1, 64}, divergent_barrier, out);
  CAPTURE(words);
  CHECK(words.find("divergent barrier") != words.npos);
  CHECK(names_line(words, here, first_barrier));
  CHECK(names_line(words, here, first_barrier + 2));
}

// ---- the classic: the second reduction overwrites what slow warps still read from the first

__device__ float warp_sum(float v, unsigned mask = ~0u) {
  for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(mask, v, distance);
  return v;
}
constexpr int part_written = __LINE__ + 4, part_read = part_written + 2;
template <bool trailing> __device__ float block_sum(float v) {
  __shared__ float part[32];
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = threadIdx.x % 32 < blockDim.x / 32 ? part[threadIdx.x % 32] : 0;
  if (trailing) __syncthreads();
  return warp_sum(v);
}
template <bool trailing> __global__ void two_sums(const float* a, float* out) {
  const float s = block_sum<trailing>(a[threadIdx.x]);
  const float q = block_sum<trailing>(a[threadIdx.x] * a[threadIdx.x]);
  if (threadIdx.x == 0) out[0] = s, out[1] = q;
}

TEST_CASE("planted bug: reduction without its trailing barrier") {
  const auto v = counting(256);
  const DeviceArray<float> a(v), out(2);
  expect_report(report_of({1, 256}, two_sums<false>, a, out), "race in shared memory", {part_written, part_read});
  CHECK(report_of({1, 256}, two_sums<true>, a, out) == "");
  float s = 0, q = 0;
  for (float x : v) s += x, q += x * x;
  CHECK(out.fetch() == std::vector<float>{s, q});
}

// ---- blocks add to the same rows

constexpr int scattered = __LINE__ + 7;
template <bool atomic> __global__ void scatter_add(const int* id, const float* dy, float* dw, int columns) {
  const int to = id[blockIdx.x] * columns + threadIdx.x;
  const float v = dy[blockIdx.x * columns + threadIdx.x];
  if (atomic) {
    atomicAdd(&dw[to], v);
  } else {
    dw[to] += v;
  }
}

TEST_CASE("planted bug: scatter without atomics") {
  const auto v = counting(4 * 32);
  const DeviceArray<int> id(std::vector<int>{2, 0, 2, 2});
  const DeviceArray<float> dy(v), dw(std::vector<float>(3 * 32));
  const std::string words = report_of({4, 32}, scatter_add<false>, id, dy, dw, 32);
  expect_report(words, "race in global memory", {scattered});
  expect_report(words, "blocks run in any order", {});
  REQUIRE(cudaMemset(dw, 0, 3 * 32 * sizeof(float)) == cudaSuccess);
  CHECK(report_of({4, 32}, scatter_add<true>, id, dy, dw, 32) == "");
  CHECK(dw.fetch()[64] == v[0] + v[64] + v[96]);
}

// ---- a shuffle among 32 lanes, of which 16 are missing

constexpr int shuffle_line = __LINE__ + 2;
__device__ float partial_sum(float v) {
  for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(~0u, v, distance);
  return v;
}
template <bool masked> __global__ void sums_of_warps(const float* a, float* out) {
  const float mine = a[threadIdx.x];
  float v = 0;
  if (masked && threadIdx.x >= 32) {
    for (int i = 32; i < 48; ++i) v += a[i];
  } else {
    v = masked ? warp_sum(mine) : partial_sum(mine);
  }
  if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = v;
}

TEST_CASE("planted bug: shuffle in a partial warp") {
  const auto v = counting(48);
  const DeviceArray<float> a(v), out(2);
  const std::string words = report_of({1, 48}, sums_of_warps<false>, a, out);
  CAPTURE(words);
  CHECK(words.find("which takes no part") != words.npos);
  CHECK(names_line(words, here, shuffle_line));
  CHECK(report_of({1, 48}, sums_of_warps<true>, a, out) == "");
  float s = 0;
  for (int i = 32; i < 48; ++i) s += v[i];
  CHECK(out.fetch()[1] == s);
}

// ---- trip counts differ between the threads of a block

constexpr int in_loop = __LINE__ + 5;
__global__ void barrier_in_loop(const float* a, float* out, int n) {
  __shared__ float s[64];
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    s[threadIdx.x] = a[i];
    __syncthreads();
    if (threadIdx.x == 0) out[i / 64] = s[63];
    __syncthreads();
  }
  const float v = __shfl_xor_sync(~0u, s[threadIdx.x], 1);
  if (threadIdx.x == 63) out[3] = v;
}

TEST_CASE("planted bug: barrier in a loop with unequal trip counts") {
  const DeviceArray<float> a(counting(128)), out(4);
  const std::string words = report_of({1, 64}, barrier_in_loop, a, out, 70);
  CAPTURE(words);
  CHECK(words.find("deadlock in block 0") != words.npos);
  CHECK(names_line(words, here, in_loop));
  CHECK(names_line(words, here, in_loop + 4));
  CHECK(report_of({1, 64}, barrier_in_loop, a, out, 128) == "");
}

// ---- lanes of a warp do not run in step: what they write for each other needs __syncwarp()

constexpr int other_lane = __LINE__ + 5;
template <bool sync> __global__ void reverse_warp(const float* a, float* out) {
  __shared__ float s[32];
  s[threadIdx.x] = a[threadIdx.x];
  if (sync) __syncwarp();
  out[threadIdx.x] = s[31 - threadIdx.x];
}

TEST_CASE("planted bug: warp without __syncwarp") {
  const DeviceArray<float> a(counting(32)), out(32);
  expect_report(report_of({1, 32}, reverse_warp<false>, a, out), "shared memory", {other_lane});
  CHECK(report_of({1, 32}, reverse_warp<true>, a, out) == "");
  CHECK(out.fetch()[0] == counting(32)[31]);
}

// ---- where finer rules decide

constexpr int plain_read = __LINE__ + 4;
template <bool barrier> __global__ void count_and_read(int* counter, int* out) {
  atomicAdd(counter, 1);
  if (barrier) __syncthreads();
  if (threadIdx.x == 63) out[0] = *counter;
}

TEST_CASE("planted bug: a plain read beside atomic additions") {
  const DeviceArray<int> counter(std::vector<int>{0}), out(1);
  expect_report(report_of({1, 64}, count_and_read<false>, counter, out), "race in global memory", {plain_read});
  REQUIRE(cudaMemset(counter, 0, 4) == cudaSuccess);
  CHECK(report_of({1, 64}, count_and_read<true>, counter, out) == "");
  CHECK(out.fetch()[0] == 64);
  // A barrier orders the threads of one block only.
  expect_report(report_of({2, 64}, count_and_read<true>, counter, out), "race in global memory", {plain_read});
}

// Halves of one warp, each in order by its own __syncwarp; then a common one.
template <bool common> __global__ void halves(int* out) {
  __shared__ int s[32];
  const unsigned lane = threadIdx.x, mine = lane < 16 ? 0xffffu : 0xffff0000u;
  s[lane] = int(lane);
  __syncwarp(mine);
  s[lane ^ 1] += 1;
  __syncwarp(mine);
  if (lane >= 16) __syncwarp(mine);
  s[lane] += 1;
  __syncwarp(common ? ~0u : mine);
  out[lane] = s[31 - lane];
}

TEST_CASE("planted bug: __syncwarp of one half does not order the other") {
  const DeviceArray<int> out(32);
  expect_report(report_of({1, 32}, halves<false>, out), "shared memory", {});
  CHECK(report_of({1, 32}, halves<true>, out) == "");
  CHECK(out.fetch()[5] == 28);
}

// Bytes, shorts, words and doubles of the same memory: each byte has its own story.
__global__ void mixed_sizes(double* whole, unsigned char* bytes) {
  if (threadIdx.x < 4) whole[threadIdx.x] = 1;
  __syncthreads();
  bytes[threadIdx.x] = (unsigned char)threadIdx.x;
  __syncthreads();
  if (threadIdx.x < 16) reinterpret_cast<unsigned short*>(bytes)[threadIdx.x] += 1;
}
constexpr int word_written = __LINE__ + 4, byte_written = word_written + 2;
// Thread 0 writes a word, the others bytes.
__global__ void bytes_and_words(unsigned* words, unsigned char* bytes) {
  if (threadIdx.x == 0) {
    words[0] = 1;
  } else {
    bytes[threadIdx.x - 1] = 2;
  }
}

TEST_CASE("planted bug: a byte within another thread's word") {
  const DeviceArray<double> memory(4);
  const auto bytes = reinterpret_cast<unsigned char*>(memory.p);
  CHECK(report_of({1, 32}, mixed_sizes, memory, bytes) == "");
  expect_report(report_of({1, 2}, bytes_and_words, reinterpret_cast<unsigned*>(bytes), bytes + 3),
                "race in global memory", {word_written, byte_written});
  CHECK(report_of({1, 2}, bytes_and_words, reinterpret_cast<unsigned*>(bytes), bytes + 4) == "");
}

}  // namespace
