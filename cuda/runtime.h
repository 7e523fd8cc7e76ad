// The one GPU of this program: its stream, its errors, its memory. For cuda/ and for kernels that stand beside their loss;
// everything else sees engine/device.h.
//
// <cuda_runtime.h> is NVIDIA's under nvcc, and that of cuda/emulation under g++ (its folder comes first in the path).
#pragma once
#include <cuda_runtime.h>

#include <string>
#include <string_view>

#include "engine/device.h"

namespace gradus::cuda {

// Fails with what was tried and the runtime's words, unless all is well.
void check(cudaError_t error, std::string_view what);

// All work of this program is queued on one stream, so what is released can be handed out again at once: whatever uses it
// next comes later on the stream.
cudaStream_t stream();

// After each launch. With GRADUS_SYNC=1 it waits for the kernel, so that an error names the kernel that made it; without,
// an error inside a kernel appears at a later call.
void check_launch(std::string_view kernel, UserLine line);

// Memory for the length of one scope.
class Scratch {
 public:
  Scratch(Device& device, std::size_t bytes) : device_(device), bytes_(bytes), memory_(device.allocate(bytes)) {}
  ~Scratch() { device_.release(memory_, bytes_); }
  Scratch(const Scratch&) = delete;
  template <class T> T* as() const { return static_cast<T*>(memory_); }

 private:
  Device& device_;
  std::size_t bytes_;
  void* memory_;
};

// "gradus::AddForward<float>" out of the compiler's name for a function template of T.
template <class T> std::string_view name_of_type() {
  const std::string_view text = __PRETTY_FUNCTION__;
  const auto begin = text.find("T = ") + 4, end = text.find_first_of(";]", begin);
  return text.substr(begin, end - begin);
}

}  // namespace gradus::cuda
