// Device::cuda(): memory, copies, and the elementary fills and conversions; matrix products stand in gemm.cu.
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "cuda/allocator.h"
#include "cuda/gemm.h"
#include "cuda/graph.h"
#include "cuda/launch.cuh"
#include "cuda/staging.h"

namespace gradus {
namespace cuda {
namespace {

bool sync_after_launch() {
  static const bool on = [] {
    const char* text = std::getenv("GRADUS_SYNC");
    return text && std::strcmp(text, "0") != 0;
  }();
  return on;
}

// y_i = value        y_i = i        y = x as another type        y += x
template <class T> struct Fill {
  T value;
  T* y;
  HD void operator()(Index i) const { y[i] = value; }
};
template <class T> struct Count {
  T* y;
  HD void operator()(Index i) const { y[i] = T(i); }
};
template <class From, class To> struct Convert {
  const From* x;
  To* y;
  HD void operator()(Index i) const { y[i] = To(x[i]); }
};
template <class T> struct Add {
  const T* x;
  T* y;
  HD void operator()(Index i) const { y[i] += x[i]; }
};

class CudaDevice final : public Device {
 public:
  CudaDevice() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "create the stream"); }

  const char* name() const override { return "cuda"; }
  bool is_cpu() const override { return false; }
  void* allocate(std::size_t bytes) override { return allocator_.allocate(bytes); }
  void release(void* memory, std::size_t bytes) override { allocator_.release(memory, bytes); }

  void copy(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copy on the GPU");
  }
  void upload(void* to, const void* from, std::size_t bytes) override {
    if (capturing()) {
      fail("upload",
           "data from the CPU cannot enter a captured step: move it with to(device) before, and copy_from later");
    }
    staging_.upload(to, from, bytes, stream_);
  }
  void download(void* to, const void* from, std::size_t bytes) override {
    if (capturing()) { fail("download", "a captured step cannot be read (item, to_vector, cpu): read after replay()"); }
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copy to the CPU");
    synchronize();
  }
  void fill(DType dtype, void* memory, Index n, double value) override {
    dispatch(dtype, [&]<class T>() { fill_with(Fill<T>{T(value), static_cast<T*>(memory)}, n); });
  }
  void count(DType dtype, void* memory, Index n) override {
    dispatch(dtype, [&]<class T>() { fill_with(Count<T>{static_cast<T*>(memory)}, n); });
  }
  void convert(DType from, const void* x, DType to, void* y, Index n) override {
    dispatch(from, [&]<class From>() {
      dispatch(to, [&]<class To>() {
        fill_with(Convert<From, To>{static_cast<const From*>(x), static_cast<To*>(y)}, n);
      });
    });
  }
  void add(DType dtype, const void* x, void* y, Index n) override {
    dispatch_float("add", dtype, [&]<class T>() {
      fill_with(Add<T>{static_cast<const T*>(x), static_cast<T*>(y)}, n);
    });
  }
  void gemm(DType dtype, const Gemm& g, const void* a, const void* b, void* c) override {
    dispatch_float("gemm", dtype, [&]<class T>() {
      multiply(*this, g, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c));
    });
  }
  void synchronize() override { check(cudaStreamSynchronize(stream_), "wait for the GPU"); }

  std::unique_ptr<Graph> capture(const std::function<void()>& f) override {
    return capture_graph(*this, allocator_, capturing_, f);
  }
  bool capturing() const override { return capturing_; }

  cudaStream_t stream() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
  Allocator allocator_;
  Staging staging_;
  bool capturing_ = false;

  // A function of its own: nvcc takes no kernel body from within a generic lambda.
  template <class Body> void fill_with(const Body& body, Index n) { cuda::launch(*this, n, body, user_line()); }
};

struct Found {
  std::string why_not;
  CudaDevice* device = nullptr;
};

// Looked for once. A machine without a GPU is an ordinary answer.
const Found& found() {
  static const Found result = [] {
    int count = 0;  // an error leaves it untouched
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
      cudaGetLastError();
      return Found{"no CUDA device (" + std::to_string(int(error)) + ": " + cudaGetErrorString(error) + ")"};
    }
    if (count == 0) return Found{"no CUDA device (the driver lists none)"};
    return Found{"", new CudaDevice};  // outlives every tensor
  }();
  return result;
}

}  // namespace

void check(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return;
  const std::string words = cudaGetErrorString(error);
  cudaGetLastError();
  const bool late = !sync_after_launch() && what.find("launch") == std::string_view::npos;
  fail("cuda", std::string(what) + ": " + words + " (" + std::to_string(int(error)) + ")" +
                   (late ? "; an earlier kernel may be the cause: GRADUS_SYNC=1 names it" : ""));
}

void check_launch(std::string_view kernel, UserLine line) {
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess && sync_after_launch() && !found().device->capturing()) {
    error = cudaStreamSynchronize(stream());
  }
  if (error != cudaSuccess) check(error, "launch of " + std::string(kernel) + " at " + line.text());
}

cudaStream_t stream() { return found().device->stream(); }

}  // namespace cuda

std::string why_no_cuda() { return cuda::found().why_not; }

Device& Device::cuda() {
  if (!cuda_available()) fail("cuda", why_no_cuda());
  return *cuda::found().device;
}

}  // namespace gradus
