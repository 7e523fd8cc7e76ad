// The matrix product of the emulated cuBLAS: inputs are packed into panels, which a small register tile multiplies.
#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda/emulation/check.h"
#include "cuda/emulation/error.h"
#include "cuda/emulation/memory.h"
#include "cuda/emulation/streams.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace gradus::emulation {

struct Operand {  // op(X), by rows and columns
  const void* data;
  cudaDataType type;
  bool transposed;
  int ld;
  long long stride;  // elements from one matrix of the batch to the next
};
struct Product {
  int m, n, k, batch;
  double alpha, beta;
  Operand a, b;
  void* c;
  cudaDataType type_c;
  int ldc;
  long long stride_c;
  bool double_sums, tf32;
};

static size_t size_of(cudaDataType t) { return t == CUDA_R_64F ? 8 : t == CUDA_R_32F ? 4 : 2; }

// Ten bits of mantissa, to the nearest; ties away from zero, as the tensor cores' conversion does.
static float to_tf32(float x) {
  if (!(x - x == 0)) return x;  // infinite or NaN
  return std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x1000u) & ~0x1FFFu);
}

// Panels of `width` rows (of A) or columns (of B): panel[l * width + i] for l in 0..k, zeros beyond the edge.
template <class T, class In>
static void pack(const In* x, size_t step, size_t step_k, int count, int k, int width, bool tf32, std::vector<T>& to) {
  const int panels = (count + width - 1) / width;
  to.assign(size_t(panels) * width * k, T(0));
  for (int p = 0; p < panels; ++p) {
    const int end = std::min(width, count - p * width);
    T* panel = to.data() + size_t(p) * width * k;
    for (int l = 0; l < k; ++l)
      for (int i = 0; i < end; ++i) panel[l * size_t(width) + i] = T(x[size_t(p * width + i) * step + l * step_k]);
  }
  if (tf32)
    for (T& v : to) v = T(to_tf32(float(v)));
}
template <class T>
static void pack_operand(const Operand& x, int b, bool is_a, int count, int k, int width, bool tf32,
                         std::vector<T>& to) {
  // The index that both matrices share, l, runs along the columns of A and the rows of B.
  const bool l_contiguous = is_a == x.transposed;
  const size_t step = l_contiguous ? size_t(x.ld) : 1, step_k = l_contiguous ? 1 : size_t(x.ld);
  const char* data = static_cast<const char*>(x.data) + ptrdiff_t(b) * x.stride * ptrdiff_t(size_of(x.type));
  const auto as = [&](auto* typed) { pack(typed, step, step_k, count, k, width, tf32, to); };
  if (x.type == CUDA_R_32F)
    as(reinterpret_cast<const float*>(data));
  else if (x.type == CUDA_R_64F)
    as(reinterpret_cast<const double*>(data));
  else
    as(reinterpret_cast<const __nv_bfloat16*>(data));
}

constexpr int rows = 16, columns = 4;  // of the register tile

template <class T> static void multiply_tile(const T* __restrict a, const T* __restrict b, int k, T* __restrict sums) {
  T s[columns][rows] = {};
  for (int l = 0; l < k; ++l)
    for (int j = 0; j < columns; ++j)
      for (int i = 0; i < rows; ++i) s[j][i] += a[l * rows + i] * b[l * columns + j];
  std::memcpy(sums, s, sizeof s);
}

template <class T, class Out> static void store_tile(const Product& g, Out* c, int i0, int j0, const T* sums) {
  for (int j = j0; j < std::min(j0 + columns, g.n); ++j)
    for (int i = i0; i < std::min(i0 + rows, g.m); ++i) {
      Out& y = c[size_t(j) * g.ldc + i];
      const T sum = T(g.alpha) * sums[(j - j0) * rows + i - i0];
      y = Out(g.beta == 0 ? sum : sum + T(g.beta) * T(y));
    }
}

template <class T> static void multiply(const Product& g) {
  static std::vector<T> a, b;
  T sums[columns * rows];
  for (int batch = 0; batch < g.batch; ++batch) {
    if (batch == 0 || g.a.stride) pack_operand(g.a, batch, true, g.m, g.k, rows, g.tf32, a);
    if (batch == 0 || g.b.stride) pack_operand(g.b, batch, false, g.n, g.k, columns, g.tf32, b);
    char* c = static_cast<char*>(g.c) + ptrdiff_t(batch) * g.stride_c * ptrdiff_t(size_of(g.type_c));
    for (int j = 0; j < g.n; j += columns)
      for (int i = 0; i < g.m; i += rows) {
        multiply_tile(a.data() + size_t(i) * g.k, b.data() + size_t(j) * g.k, g.k, sums);
        if (g.type_c == CUDA_R_32F)
          store_tile(g, reinterpret_cast<float*>(c), i, j, sums);
        else if (g.type_c == CUDA_R_64F)
          store_tile(g, reinterpret_cast<double*>(c), i, j, sums);
        else
          store_tile(g, reinterpret_cast<__nv_bfloat16*>(c), i, j, sums);
      }
    for (int j = 0; j < g.n; ++j)
      check::define(c + size_t(j) * g.ldc * size_of(g.type_c), g.m * size_of(g.type_c), true);
  }
}

// From the first element to the last of a matrix stored in `columns` columns of `rows`, over the batch.
static bool all_on_device(const void* p, size_t element, int rows, int columns, int ld, long long stride, int batch) {
  if (rows == 0 || columns == 0) return true;
  const size_t one = size_t(columns - 1) * size_t(ld) + size_t(rows);
  return on_device(p, (one + size_t(batch - 1) * size_t(stride)) * element);
}
static void run(const Product& g) {
  const AtWork at_work;
  const Operand &a = g.a, &b = g.b;
  if (!all_on_device(a.data, size_of(a.type), a.transposed ? g.k : g.m, a.transposed ? g.m : g.k, a.ld, a.stride,
                     g.batch) ||
      !all_on_device(b.data, size_of(b.type), b.transposed ? g.n : g.k, b.transposed ? g.k : g.n, b.ld, b.stride,
                     g.batch) ||
      !all_on_device(g.c, size_of(g.type_c), g.m, g.n, g.ldc, g.stride_c, g.batch)) {
    report(cudaErrorIllegalAddress, "cuBLAS: a matrix does not lie in one allocation of device memory");
    return;
  }
  if (g.double_sums)
    multiply<double>(g);
  else
    multiply<float>(g);
}

static cublasStatus_t start(cublasHandle_t h, Product g) {
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  const int rows_a = g.a.transposed ? g.k : g.m, rows_b = g.b.transposed ? g.n : g.k;
  if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0 || g.a.ld < std::max(1, rows_a) || g.b.ld < std::max(1, rows_b) ||
      g.ldc < std::max(1, g.m))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (g.m == 0 || g.n == 0 || g.batch == 0) return CUBLAS_STATUS_SUCCESS;
  if (g.a.type == CUDA_R_32F && h->math == CUBLAS_TF32_TENSOR_OP_MATH) g.tf32 = true;
  const Lock lock;
  return enqueue(h->stream, [g] { run(g); }) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

template <class T> static constexpr cudaDataType type_of = sizeof(T) == 8 ? CUDA_R_64F : CUDA_R_32F;

template <class T>
static cublasStatus_t gemm(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                           const T* alpha, const T* a, int lda, long long sa, const T* b, int ldb, long long sb,
                           const T* beta, T* c, int ldc, long long sc, int batch) {
  return start(h, {.m = m,
                   .n = n,
                   .k = k,
                   .batch = batch,
                   .alpha = *alpha,
                   .beta = *beta,
                   .a = {a, type_of<T>, op_a != CUBLAS_OP_N, lda, sa},
                   .b = {b, type_of<T>, op_b != CUBLAS_OP_N, ldb, sb},
                   .c = c,
                   .type_c = type_of<T>,
                   .ldc = ldc,
                   .stride_c = sc,
                   .double_sums = sizeof(T) == 8,
                   .tf32 = false});
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cublasStatus_t cublasSgemm(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                           const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta,
                           float* c, int ldc) {
  return gemm(h, op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
cublasStatus_t cublasDgemm(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                           const double* alpha, const double* a, int lda, const double* b, int ldb, const double* beta,
                           double* c, int ldc) {
  return gemm(h, op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                         int k, const float* alpha, const float* a, int lda, long long sa,
                                         const float* b, int ldb, long long sb, const float* beta, float* c, int ldc,
                                         long long sc, int batch) {
  return gemm(h, op_a, op_b, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, batch);
}
cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                         int k, const double* alpha, const double* a, int lda, long long sa,
                                         const double* b, int ldb, long long sb, const double* beta, double* c, int ldc,
                                         long long sc, int batch) {
  return gemm(h, op_a, op_b, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, batch);
}
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                          int n, int k, const void* alpha, const void* a, cudaDataType type_a, int lda,
                                          long long sa, const void* b, cudaDataType type_b, int ldb, long long sb,
                                          const void* beta, void* c, cudaDataType type_c, int ldc, long long sc,
                                          int batch, cublasComputeType_t compute, cublasGemmAlgo_t) {
  const bool f64 = compute == CUBLAS_COMPUTE_64F;
  if (type_a != type_b || f64 != (type_a == CUDA_R_64F) || f64 != (type_c == CUDA_R_64F) ||
      (type_a == CUDA_R_32F && type_c != CUDA_R_32F))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto scalar = [f64](const void* p) {
    return f64 ? *static_cast<const double*>(p) : *static_cast<const float*>(p);
  };
  return start(h, {.m = m,
                   .n = n,
                   .k = k,
                   .batch = batch,
                   .alpha = scalar(alpha),
                   .beta = scalar(beta),
                   .a = {a, type_a, op_a != CUBLAS_OP_N, lda, sa},
                   .b = {b, type_b, op_b != CUBLAS_OP_N, ldb, sb},
                   .c = c,
                   .type_c = type_c,
                   .ldc = ldc,
                   .stride_c = sc,
                   .double_sums = f64,
                   .tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32 && type_a == CUDA_R_32F});
}
cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType type_a, int lda, const void* b,
                            cudaDataType type_b, int ldb, const void* beta, void* c, cudaDataType type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(h, op_a, op_b, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb, 0, beta, c,
                                    type_c, ldc, 0, 1, compute, algorithm);
}

cublasStatus_t cublasCreate(cublasHandle_t* h) { return *h = new cublasContext, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasDestroy(cublasHandle_t h) { return delete h, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t s) { return h->stream = s, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasGetStream(cublasHandle_t h, cudaStream_t* s) { return *s = h->stream, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void* workspace, size_t bytes) {
  return bytes == 0 || is_device(workspace) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t h, cublasMath_t math) { return h->math = math, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetPointerMode(cublasHandle_t, cublasPointerMode_t mode) {
  return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown cuBLAS status";
}
const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }
