// cuBLAS reads matrices column by column. A row-major [m,k] matrix, read that way, is its transpose [k,m]. So instead of
//
//   C = A B             [m,n] = [m,k] [k,n]            row by row
// we ask for
//   C^T = B^T A^T       [n,m] = [n,k] [k,m]            column by column
//
// which is the same memory in all three places: the operands change sides and m and n change names, nothing is copied.
#include "cuda/gemm.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>

#include "cuda/launch.cuh"

namespace gradus::cuda {
namespace {

void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail("gemm", std::string(what) + ": cuBLAS says " + cublasGetStatusString(status));
}

// One handle on the one stream with a workspace of its own: so the same product has the same bits each time, and a captured
// graph needs no memory. 32 MiB is what NVIDIA advises for Hopper.
cublasHandle_t handle() {
  static cublasHandle_t made = [] {
    cublasHandle_t h = nullptr;
    check_blas(cublasCreate(&h), "start");
    check_blas(cublasSetStream(h, stream()), "choose the stream");
    constexpr std::size_t bytes = std::size_t(32) << 20;
    void* workspace = nullptr;
    check(cudaMalloc(&workspace, bytes), "allocate the workspace of cuBLAS");
    check_blas(cublasSetWorkspace(h, workspace, bytes), "set the workspace");
    return h;
  }();
  return made;
}

// Sizes as cuBLAS takes them: int, with the operands' sides changed.
struct Sizes {
  int m, n, k, lda, ldb, ldc, batch;
  cublasOperation_t ta, tb;
  explicit Sizes(const Gemm& g)
      : m(narrow(g.m)),
        n(narrow(g.n)),
        k(narrow(g.k)),
        lda(std::max(1, narrow(g.transpose_a ? g.m : g.k))),
        ldb(std::max(1, narrow(g.transpose_b ? g.k : g.n))),
        ldc(std::max(1, narrow(g.n))),
        batch(narrow(g.batch)),
        ta(g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N),
        tb(g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N) {}
  static int narrow(Index n) {
    if (n > 0x7fffffff) fail("gemm", "cuBLAS takes sizes below 2^31, got " + std::to_string(n));
    return int(n);
  }
};

// y = x rounded to bfloat16
struct ToBf16 {
  const float* x;
  __nv_bfloat16* y;
  __device__ void operator()(Index i) const { y[i] = __float2bfloat16(x[i]); }
};

// How many elements an operand of the batch spans.
Index span(Index matrix, Index stride, Index batch) { return stride * (batch - 1) + matrix; }

// The f32 operands stay as they are, as master copies; what is multiplied is a rounded copy, and sums are in f32.
void multiply_bf16(Device& device, const Gemm& g, const float* a, const float* b, float* c) {
  const Index a_count = span(g.m * g.k, g.stride_a, g.batch), b_count = span(g.k * g.n, g.stride_b, g.batch);
  const Scratch a16(device, std::size_t(a_count) * 2), b16(device, std::size_t(b_count) * 2);
  cuda::launch(device, a_count, ToBf16{a, a16.as<__nv_bfloat16>()}, user_line());
  cuda::launch(device, b_count, ToBf16{b, b16.as<__nv_bfloat16>()}, user_line());
  const Sizes s(g);
  const float one = 1, beta = g.accumulate ? 1 : 0;
  check_blas(
      cublasGemmStridedBatchedEx(handle(), s.tb, s.ta, s.n, s.m, s.k, &one, b16.as<void>(), CUDA_R_16BF, s.ldb,
                                 g.stride_b, a16.as<void>(), CUDA_R_16BF, s.lda, g.stride_a, &beta, c, CUDA_R_32F,
                                 s.ldc, g.stride_c, s.batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "multiply in bf16");
}

void multiply_f32(const Gemm& g, const float* a, const float* b, float* c, cublasComputeType_t compute) {
  const Sizes s(g);
  const float one = 1, beta = g.accumulate ? 1 : 0;
  check_blas(cublasGemmStridedBatchedEx(handle(), s.tb, s.ta, s.n, s.m, s.k, &one, b, CUDA_R_32F, s.ldb, g.stride_b, a,
                                        CUDA_R_32F, s.lda, g.stride_a, &beta, c, CUDA_R_32F, s.ldc, g.stride_c, s.batch,
                                        compute, CUBLAS_GEMM_DEFAULT),
             "multiply");
}

// Nothing to add up: C = 0, or stays.
template <class T> bool empty_product(Device& device, const Gemm& g, T* c) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return true;
  if (g.k > 0) return false;
  if (!g.accumulate) device.fill(dtype_of<T>, c, span(g.m * g.n, g.stride_c, g.batch), 0);
  return true;
}

}  // namespace

void multiply(Device& device, const Gemm& g, const float* a, const float* b, float* c) {
  if (empty_product(device, g, c)) return;
  switch (matmul_precision()) {
    case MatmulPrecision::exact: return multiply_f32(g, a, b, c, CUBLAS_COMPUTE_32F);
    case MatmulPrecision::tf32: return multiply_f32(g, a, b, c, CUBLAS_COMPUTE_32F_FAST_TF32);
    case MatmulPrecision::bf16: return multiply_bf16(device, g, a, b, c);
  }
}

void multiply(Device& device, const Gemm& g, const double* a, const double* b, double* c) {
  if (empty_product(device, g, c)) return;
  const Sizes s(g);
  const double one = 1, beta = g.accumulate ? 1 : 0;
  check_blas(cublasDgemmStridedBatched(handle(), s.tb, s.ta, s.n, s.m, s.k, &one, b, s.ldb, g.stride_b, a, s.lda,
                                       g.stride_a, &beta, c, s.ldc, g.stride_c, s.batch),
             "multiply");
}

}  // namespace gradus::cuda
