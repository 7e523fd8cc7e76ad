// A device owns memory and knows how to multiply matrices; nothing else about mathematics.
//
// Elementwise and row formulas reach a device through ops/launch.h, so a device needs only the virtual functions below.
// The CPU device is always there; the CUDA device is added by cuda/ without a change to this file.
#pragma once
#include <cstddef>

#include "engine/dtype.h"

namespace gradus {

// C = A B  or, when accumulate, C += A B, for `batch` matrices in a row-major layout.
//   A is [m,k] (or [k,m] when transpose_a), B is [k,n] (or [n,k] when transpose_b), C is [m,n].
//   Consecutive matrices of a batch lie stride_* elements apart; 0 means one matrix is used for all.
struct Gemm {
  bool transpose_a = false, transpose_b = false, accumulate = false;
  Index m = 0, n = 0, k = 0, batch = 1;
  Index stride_a = 0, stride_b = 0, stride_c = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const char* name() const = 0;
  virtual bool is_cpu() const = 0;
  virtual void* allocate(std::size_t bytes) = 0;                         // 64-byte aligned, not initialised
  virtual void release(void* memory, std::size_t bytes) = 0;             // bytes as given to allocate
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;  // within this device
  virtual void fill_zero(void* memory, std::size_t bytes) = 0;
  virtual void gemm(DType dtype, const Gemm& g, const void* a, const void* b, void* c) = 0;
  virtual void synchronize() = 0;

  static Device& cpu();
};

}  // namespace gradus
