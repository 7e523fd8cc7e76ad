// The emulated device keeps CUDA's rules: order of threads, barriers, warps, streams, events, graphs, limits; and its
// stand-in for cuBLAS computes products.
#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "tests/emulation/emulation_helpers.h"

using namespace gradus::emulation;

namespace {

struct With {  // settings for one test
  Settings before = settings;
  ~With() { settings = before; }
};

// ---- order

__global__ void sequence(int* counter, int* turn) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  turn[i] = atomicAdd(counter, 1);
}
std::vector<int> turns(Order order, uint64_t seed = 1) {
  With with;
  settings.order = order, settings.seed = seed;
  const DeviceArray<int> counter(std::vector<int>{0}), turn(256);
  CHECK(report_of({4, 64}, sequence, counter, turn) == "");
  return turn.fetch();
}

TEST_CASE("threads and blocks run forward, in reverse, or at random, and repeatably") {
  const auto forward = turns(Order::forward), reverse = turns(Order::reverse);
  for (int i = 0; i < 256; ++i) REQUIRE((forward[i] == i && reverse[i] == 255 - i));
  CHECK(turns(Order::random, 3) == turns(Order::random, 3));
  CHECK(turns(Order::random, 3) != turns(Order::random, 4));
  CHECK(turns(Order::random, 3) != forward);
}

__global__ void neighbours(int* out, int rounds) {
  __shared__ int s[96];
  const int t = int(threadIdx.x), n = int(blockDim.x);
  s[t] = t;
  for (int k = 0; k < rounds; ++k) {
    __syncthreads();
    const int next = s[(t + 1) % n];
    __syncthreads();
    s[t] = next;
  }
  out[blockIdx.x * n + t] = s[t];
}

TEST_CASE("barriers hold in every order, also when the last warp is partial") {
  for (Order order : {Order::forward, Order::reverse, Order::random})
    for (int n : {1, 31, 33, 70, 96}) {
      With with;
      settings.order = order;
      const DeviceArray<int> out(2 * size_t(n));
      CHECK(report_of({2, unsigned(n)}, neighbours, out, 5) == "");
      const auto v = out.fetch();
      for (int i = 0; i < 2 * n; ++i) REQUIRE(v[i] == (i % n + 5) % n);
    }
}

__global__ void returns_early(int* out) {
  if (threadIdx.x >= 40) return;
  __syncthreads();  // of those who are still there
  out[threadIdx.x] = int(threadIdx.x);
}

TEST_CASE("threads that have returned do not hold up a barrier") {
  const DeviceArray<int> out(40);
  CHECK(report_of({1, 64}, returns_early, out) == "");
  CHECK(out.fetch()[39] == 39);
}

__global__ void waits_for_ever(int* out) {
  if (threadIdx.x == 0)
    __syncthreads();
  else
    __syncwarp();
  out[threadIdx.x] = 1;
}

TEST_CASE("a deadlock is named, and the device goes on") {
  const DeviceArray<int> out(32);
  const std::string words = report_of({1, 32}, waits_for_ever, out);
  CAPTURE(words);
  CHECK(words.find("deadlock") != words.npos);
  CHECK(report_of({1, 64}, returns_early, DeviceArray<int>(40)) == "");
}

// ---- warps

__global__ void warp_operations(int* out) {
  const int lane = int(threadIdx.x);
  out[lane] = __shfl_sync(~0u, lane, 3);
  out[32 + lane] = __shfl_xor_sync(~0u, lane, 1);
  out[64 + lane] = __shfl_down_sync(~0u, lane, 4);
  out[96 + lane] = __shfl_up_sync(~0u, lane, 4);
  out[128 + lane] = __shfl_sync(~0u, lane, 1, 8);
  out[160 + lane] = int(__ballot_sync(~0u, lane < 5));
  out[192 + lane] = __any_sync(~0u, lane == 9) + 2 * __all_sync(~0u, lane == 9);
  if (lane < 16) out[224 + lane] = __shfl_xor_sync(0xffffu, lane, 8);
}

TEST_CASE("shuffles and votes") {
  const DeviceArray<int> out(256);
  CHECK(report_of({1, 32}, warp_operations, out) == "");
  std::vector<int> v(256);
  REQUIRE(cudaMemcpy(v.data(), out, 240 * sizeof(int), cudaMemcpyDeviceToHost) == cudaSuccess);
  for (int lane = 0; lane < 32; ++lane) {
    CAPTURE(lane);
    CHECK(v[lane] == 3);
    CHECK(v[32 + lane] == (lane ^ 1));
    CHECK(v[64 + lane] == (lane < 28 ? lane + 4 : lane));
    CHECK(v[96 + lane] == (lane < 4 ? lane : lane - 4));
    CHECK(v[128 + lane] == lane / 8 * 8 + 1);
    CHECK(v[160 + lane] == 31);
    CHECK(v[192 + lane] == 1);
    if (lane < 16) CHECK(v[224 + lane] == (lane ^ 8));
  }
}

// ---- limits

__global__ void nothing() {}

TEST_CASE("launches that a GPU would refuse") {
  CHECK(report_of({0, 32}, nothing).find("invalid configuration") == 0);
  CHECK(report_of({1, 0}, nothing).find("invalid configuration") == 0);
  CHECK(report_of({1, 1025}, nothing).find("invalid configuration") == 0);
  CHECK(report_of({dim3(1, 65536), 1}, nothing).find("invalid configuration") == 0);
  CHECK(report_of({1, dim3(1, 1, 65)}, nothing).find("invalid configuration") == 0);
  CHECK(report_of({1, 1, 48 * 1024 + 1}, nothing).find("cudaFuncSetAttribute") != std::string::npos);
  CHECK(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 * 1024) == cudaSuccess);
  CHECK(report_of({1, 1, 100 * 1024}, nothing) == "");
  CHECK(report_of({1, dim3(16, 16, 4)}, nothing) == "");
}

// ---- streams, events, graphs

__global__ void add_one(int* p) { p[threadIdx.x] += 1; }
void queue_add_one(int* p, cudaStream_t s) { launch_kernel(1, 4, 0, s, Where::here("add_one"), add_one, p); }

TEST_CASE("lazy streams: nothing has happened before someone waits") {
  With with;
  settings.lazy_streams = true;
  cudaStream_t s;
  REQUIRE(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) == cudaSuccess);
  int* pinned;
  REQUIRE(cudaMallocHost(&pinned, 4 * sizeof(int)) == cudaSuccess);
  std::fill_n(pinned, 4, -1);
  {
    const DeviceArray<int> a(std::vector<int>{1, 2, 3, 4});
    queue_add_one(a, s);
    CHECK(cudaMemcpyAsync(pinned, a, 4 * sizeof(int), cudaMemcpyDeviceToHost, s) == cudaSuccess);
    CHECK(pinned[0] == -1);  // the planted bug: read without waiting
    CHECK(cudaStreamQuery(s) == cudaErrorNotReady);
    cudaGetLastError();
    CHECK(cudaStreamSynchronize(s) == cudaSuccess);
    CHECK(pinned[3] == 5);
  }
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
  CHECK(cudaStreamDestroy(s) == cudaSuccess);
}

TEST_CASE("events: one stream waits for a mark in another") {
  for (bool lazy : {false, true}) {
    With with;
    settings.lazy_streams = lazy;
    cudaStream_t first, second;
    cudaEvent_t done;
    REQUIRE(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaEventCreateWithFlags(&done, cudaEventDisableTiming) == cudaSuccess);
    const DeviceArray<int> a(std::vector<int>(4)), b(std::vector<int>(4));
    queue_add_one(a, first);
    CHECK(cudaEventRecord(done, first) == cudaSuccess);
    queue_add_one(a, first);
    CHECK(cudaStreamWaitEvent(second, done) == cudaSuccess);
    CHECK(cudaMemcpyAsync(b, a, 4 * sizeof(int), cudaMemcpyDeviceToDevice, second) == cudaSuccess);
    CHECK(cudaStreamSynchronize(second) == cudaSuccess);
    CHECK(b.fetch()[0] == (lazy ? 1 : 2));  // at least what came before the mark
    CHECK(cudaStreamSynchronize(first) == cudaSuccess);
    CHECK(a.fetch()[0] == 2);
    CHECK(cudaEventDestroy(done) == cudaSuccess);
    CHECK(cudaStreamDestroy(first) == cudaSuccess);
    CHECK(cudaStreamDestroy(second) == cudaSuccess);
  }
}

TEST_CASE("graphs: a capture runs nothing, each launch all of it") {
  cudaStream_t s;
  REQUIRE(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) == cudaSuccess);
  const DeviceArray<int> a(std::vector<int>(4));
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  REQUIRE(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  queue_add_one(a, s);
  queue_add_one(a, s);
  REQUIRE(cudaStreamEndCapture(s, &graph) == cudaSuccess);
  CHECK(a.fetch()[0] == 0);
  REQUIRE(cudaGraphInstantiate(&exec, graph) == cudaSuccess);
  for (int k = 0; k < 3; ++k) CHECK(cudaGraphLaunch(exec, s) == cudaSuccess);
  CHECK(cudaStreamSynchronize(s) == cudaSuccess);
  CHECK(a.fetch()[3] == 6);
  CHECK(cudaGraphExecDestroy(exec) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);

  // What waits, or makes memory, cannot be captured.
  REQUIRE(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  void* p;
  CHECK(cudaMalloc(&p, 16) == cudaErrorStreamCaptureUnsupported);
  cudaGetLastError();
  CHECK(cudaStreamEndCapture(s, &graph) == cudaErrorStreamCaptureInvalidated);
  cudaGetLastError();
  CHECK(cudaStreamDestroy(s) == cudaSuccess);
}

TEST_CASE("other host threads work while kernels run") {
  std::atomic<bool> stop{false};
  std::atomic<long> rounds{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 2; ++w)
    workers.emplace_back([&] {
      std::vector<int> mine(1000);
      while (!stop) {
        for (int& x : mine) x += 1;
        std::vector<int> copy = mine;
        rounds.fetch_add(copy[999] == mine[0] ? 1 : 0);
      }
    });
  const DeviceArray<int> a(std::vector<int>(4));
  for (int k = 0; k < 2000; ++k) queue_add_one(a, nullptr);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  stop = true;
  for (auto& w : workers) w.join();
  CHECK(a.fetch()[3] == 2000);
}

TEST_CASE("copies say where memory lies, and fresh memory is NaN") {
  const DeviceArray<float> a(3);
  float host[4] = {};  // one more than there is on the device
  constexpr size_t three = 3 * sizeof(float);
  CHECK(cudaMemcpy(host, a, three, cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(std::isnan(host[2]));
  CHECK(cudaMemcpy(host, a, three, cudaMemcpyHostToDevice) != cudaSuccess);
  cudaGetLastError();
  CHECK(cudaMemcpy(a, host, three + 1, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  cudaGetLastError();
  CHECK(cudaFree(a.p + 1) == cudaErrorInvalidValue);
  cudaGetLastError();
}

// ---- libraries

template <class T> T element(const std::vector<T>& m, int rows, int columns, bool transposed, int i, int j) {
  return transposed ? m[size_t(i) * columns + j] : m[size_t(j) * rows + i];  // stored by columns
}
template <class T, class Gemm> void check_products(Gemm gemm, double tolerance) {
  cublasHandle_t handle;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  const int m = 7, n = 5, k = 9;
  std::vector<T> a(m * k), b(k * n), c(m * n);
  for (size_t i = 0; i < a.size(); ++i) a[i] = T(std::sin(double(i)));
  for (size_t i = 0; i < b.size(); ++i) b[i] = T(std::cos(double(i)));
  for (size_t i = 0; i < c.size(); ++i) c[i] = T(i) / 10;
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      for (T beta : {T(0), T(0.5)}) {
        const DeviceArray<T> da(a), db(b), dc(c);
        const T alpha = 2;
        REQUIRE(gemm(handle, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, &alpha, da.p,
                     ta ? k : m, db.p, tb ? n : k, &beta, dc.p, m) == CUBLAS_STATUS_SUCCESS);
        const auto got = dc.fetch();
        for (int i = 0; i < m; ++i)
          for (int j = 0; j < n; ++j) {
            double sum = 0;
            for (int l = 0; l < k; ++l) sum += double(element(a, m, k, ta, i, l)) * double(element(b, k, n, tb, l, j));
            const double right = 2 * sum + double(beta) * double(c[size_t(j) * m + i]);
            REQUIRE(std::abs(double(got[size_t(j) * m + i]) - right) < tolerance);
          }
      }
  CHECK(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("the stand-in for cuBLAS computes products") {
  check_products<float>(cublasSgemm, 1e-5);
  check_products<double>(cublasDgemm, 1e-13);
}

TEST_CASE("bfloat16 rounds to nearest, ties to even") {
  const auto rounded = [](float f) { return __bfloat162float(__float2bfloat16(f)); };
  const float unit = 1.f / 128;  // bfloat16 has 8 bits of precision
  CHECK(rounded(1 + unit) == 1 + unit);
  CHECK(rounded(1 + unit / 2) == 1);                 // a tie: 1 is even
  CHECK(rounded(1 + 3 * unit / 2) == 1 + 2 * unit);  // a tie: the upper one is
  CHECK(rounded(1 + unit / 2 + unit / 256) == 1 + unit);
  CHECK(rounded(-1 - unit / 2 - unit / 256) == -1 - unit);
  CHECK(rounded(3.4e38f) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
