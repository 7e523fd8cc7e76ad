// A device owns memory, moves it, and knows how to multiply matrices; nothing else about mathematics.
//
// Elementwise and row formulas reach a device through ops/launch.h, so a device needs only the virtual functions below.
// The CPU device is always there. Device::cuda() is there when the program was linked with cuda/: with the real one (nvcc)
// or with the emulated one, which runs the same kernels on the CPU (cuda/emulation).
#pragma once
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

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

struct MemoryUse {
  std::int64_t live_buffers, live_bytes, peak_bytes;
};
class MemoryCounter {
 public:
  void add(std::size_t bytes);
  void remove(std::size_t bytes);
  MemoryUse use() const { return {live_buffers_, live_bytes_, peak_bytes_}; }
  void reset_peak() { peak_bytes_ = live_bytes_.load(); }

 private:
  std::atomic<std::int64_t> live_buffers_{0}, live_bytes_{0}, peak_bytes_{0};
};

// Work that was recorded once and runs again on the same memory.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void replay() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const char* name() const = 0;
  virtual bool is_cpu() const = 0;
  virtual void* allocate(std::size_t bytes) = 0;                           // 64-byte aligned, not initialised
  virtual void release(void* memory, std::size_t bytes) = 0;               // bytes as given to allocate
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;    // within this device
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;  // from CPU memory, which is free afterwards
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;  // to CPU memory, when all work is done
  virtual void fill(DType dtype, void* memory, Index n, double value) = 0;
  virtual void count(DType dtype, void* memory, Index n) = 0;  // 0, 1, ..., n - 1
  virtual void convert(DType from, const void* x, DType to, void* y, Index n) = 0;
  virtual void add(DType dtype, const void* x, void* y, Index n) = 0;  // y += x
  virtual void gemm(DType dtype, const Gemm& g, const void* a, const void* b, void* c) = 0;
  virtual void synchronize() = 0;

  // Runs f and keeps the work it started. On the CPU a replay runs f again.
  virtual std::unique_ptr<Graph> capture(const std::function<void()>& f) = 0;
  virtual bool capturing() const { return false; }  // nothing can be read back now

  MemoryCounter memory;

  static Device& cpu();
  static Device& cuda();                        // error that says why, when there is none
  static Device& named(std::string_view name);  // "cpu" or "cuda"
};

// Whether Device::cuda() is there, and if not, why: "this program was built without CUDA; ..."; "" when it is there.
std::string why_no_cuda();
inline bool cuda_available() { return why_no_cuda().empty(); }

// Where tensor(), zeros(), randn(), ... put what they make, when they are not told: the CPU, or what was set last.
Device& default_device();
void set_default_device(Device& device);

// How a GPU multiplies f32 matrices; the CPU always computes exactly.
//   exact  in f32                                         (PyTorch: "highest")
//   tf32   inputs rounded to 10 bits, sums in f32         ("high")
//   bf16   inputs rounded to bfloat16, sums in f32        ("medium")
enum class MatmulPrecision : std::uint8_t { exact, tf32, bf16 };
MatmulPrecision matmul_precision();
void set_matmul_precision(MatmulPrecision precision);

}  // namespace gradus
