// Kernels with the mistakes that people make with memory, each beside its correct twin; those with barriers and races
// stand in planted_races_test.cpp. nvcc accepts all of them without a warning.
//
// The device itself reports what no run can survive (a divergent barrier, a deadlock, a write into a guard zone). The rest
// is seen by the check build only: there each report must name the line of the mistake.
#include "tests/emulation/emulation_helpers.h"

using namespace gradus::emulation;

namespace {

constexpr const char* here = "planted_bugs_test.cpp";

// ---- no bound: 1000 elements, 1024 threads

constexpr int write_beyond = __LINE__ + 3;
template <bool bound> __global__ void twice(const float* a, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (!bound || i < n) out[i] = 2 * a[i % n];
}

TEST_CASE("planted bug: write beyond the end") {
  const DeviceArray<float> a(counting(1000)), out(1000);
  const auto child = in_child([&] { return report_of({4, 256}, twice<false>, a, out, 1000); });
  CAPTURE(child.words);
  if (child.exit_code == 0)
    CHECK(child.words.find("past the end of an allocation of 4000 bytes") != std::string::npos);
  else
    CHECK(child.words.find("AddressSanitizer") != std::string::npos);
  expect_report(child.words, " of block 3 writes 4 bytes at ", {write_beyond});
  CHECK(report_of({4, 256}, twice<true>, a, out, 1000) == "");
  CHECK(out.fetch()[999] == 2 * counting(1000)[999]);
}

// ---- += into memory that nobody has set

constexpr int accumulated = __LINE__ + 1;
__global__ void accumulate(const float* a, float* out) { out[threadIdx.x] += a[threadIdx.x]; }

// clang leaves out the call for a read that a write to the same place follows, unless it is told
// -mllvm -tsan-instrument-read-before-write.
bool sees_read_before_write() {
#ifdef __clang__
  return false;
#else
  return true;
#endif
}

TEST_CASE("planted bug: accumulate into fresh memory") {
  const DeviceArray<float> a(counting(32)), out(32);
  const std::string words = report_of({1, 32}, accumulate, a, out);
  if (sees_read_before_write()) expect_report(words, "uninitialised global memory", {accumulated});
  REQUIRE(cudaMemset(out, 0, 128) == cudaSuccess);
  CHECK(report_of({1, 32}, accumulate, a, out) == "");
  CHECK(out.fetch() == counting(32));
}

// ---- beyond the end of a __shared__ array

constexpr int shared_beyond = __LINE__ + 3;
__global__ void shared_overflow(const float* a, float* out, int shift) {
  __shared__ float row[32];
  row[threadIdx.x + shift] = a[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = row[threadIdx.x];
}

TEST_CASE("planted bug: overflow of a shared array") {
  const DeviceArray<float> a(counting(32)), out(32);
  if (check::active()) {  // which stops before it happens; anywhere else the write would hit another variable
    // Seen by the index, when compiled with -fsanitize=bounds; by the address, as long as no other shared array lies there.
    const std::string words = report_of({1, 32}, shared_overflow, a, out, 1 << 20);
    CAPTURE(words);
    CHECK((words.find("out of bounds") != words.npos || words.find("not device memory") != words.npos));
    CHECK(names_line(words, here, shared_beyond));
  }
  CHECK(report_of({1, 32}, shared_overflow, a, out, 0) == "");
  CHECK(out.fetch() == counting(32));
}

constexpr int dynamic_beyond = __LINE__ + 3;
__global__ void dynamic_overflow(const float* a, float* out) {
  float* const row = static_cast<float*>(dynamic_shared());
  row[threadIdx.x] = a[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = row[31 - threadIdx.x];
}

TEST_CASE("planted bug: too little dynamic shared memory") {
  const DeviceArray<float> a(counting(32)), out(32);
  if (check::active())
    expect_report(report_of({1, 32, 31 * sizeof(float)}, dynamic_overflow, a, out), "thread 31 of block 0",
                  {dynamic_beyond});
  CHECK(report_of({1, 32, 32 * sizeof(float)}, dynamic_overflow, a, out) == "");
}

// ---- a pointer of the host

constexpr int scaled = __LINE__ + 3;
__global__ void scale(const float* a, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = 2 * a[i];
}

TEST_CASE("planted bug: host pointer in a kernel") {
  const auto v = counting(32);
  const DeviceArray<float> out(32);
  expect_report(report_of({1, 32}, scale, v.data(), out, 32), "not device memory: thread ", {scaled});
  const DeviceArray<float> a(v);
  CHECK(report_of({1, 32}, scale, a, out, 32) == "");
}

TEST_CASE("planted bug: a copy of undefined memory is undefined") {
  const DeviceArray<float> a(counting(32)), undefined(32), out(32);
  REQUIRE(cudaMemcpy(out, undefined, 128, cudaMemcpyDeviceToDevice) == cudaSuccess);
  expect_report(report_of({1, 32}, scale, out, a, 32), "uninitialised global memory", {scaled});
}

TEST_CASE("planted bug: memory that was freed") {
  const DeviceArray<float> a(counting(32));
  const float* freed = DeviceArray<float>(counting(32));
  const auto child = in_child([&] { return report_of({1, 32}, scale, freed, a, 32); });
  expect_report(child.words, "memory that was freed", {scaled});
}

TEST_CASE("planted bug: before the start") {
  const DeviceArray<float> a(counting(32)), out(32);
  const auto child = in_child([&] { return report_of({1, 32}, scale, a - 1, out, 32); });
  expect_report(child.words, " before an allocation of 128 bytes", {scaled});
}

// ---- an address that is no multiple of the size: the GPU refuses it, this processor does not

constexpr int misread = __LINE__ + 2;
__global__ void read_doubles(const float* a, float* out) {
  out[threadIdx.x] = float(reinterpret_cast<const double*>(a)[threadIdx.x]);
}
constexpr int misread_four = __LINE__ + 2;
__global__ void read_fours(const float* a, float* out) {
  const float4 v = reinterpret_cast<const float4*>(a)[threadIdx.x];
  out[threadIdx.x] = v.x + v.y + v.z + v.w;
}

TEST_CASE("planted bug: misaligned") {
  const DeviceArray<float> a(counting(132)), out(32);
  const auto doubles = in_child([&] { return report_of({1, 32}, read_doubles, a + 1, out); });
  expect_report(doubles.words, "misaligned", {misread});
  const auto fours = in_child([&] { return report_of({1, 32}, read_fours, a + 1, out); });
  if (fours.words.empty())
    MESSAGE("a misaligned float4 is seen with -fsanitize=alignment only");
  else
    expect_report(fours.words, "misaligned", {misread_four});
  CHECK(report_of({1, 32}, read_doubles, a, out) == "");
  CHECK(report_of({1, 32}, read_fours, a, out) == "");
}

// ---- the host touches device memory: on a GPU the program would crash; the check build ends it

constexpr int touched = __LINE__ + 1;
float read_on_host(const float* p) { return p[3]; }
void copy_on_host(std::vector<float>& to, const float* p) { std::copy(p, p + to.size(), to.begin()); }

TEST_CASE("planted bug: host code touches device memory") {
  const DeviceArray<float> a(counting(32));
  std::vector<float> to(32);
  const auto direct = in_child([&] { return std::to_string(read_on_host(a)); });
  const auto copied = in_child([&] { return copy_on_host(to, a), std::to_string(to[3]); });
  if (!check::active()) {
    MESSAGE("not the check build: read " << direct.words);
    return;
  }
  CAPTURE(direct.words);
  CAPTURE(copied.words);
  CHECK(direct.exit_code == 1);
  CHECK(direct.words.find("host code reads device memory") != std::string::npos);
  CHECK(names_line(direct.words, here, touched));
  CHECK(copied.exit_code == 1);
  CHECK(copied.words.find("host code reads device memory (mem") != std::string::npos);
  CHECK(names_line(copied.words, here, touched + 1));
}

}  // namespace
