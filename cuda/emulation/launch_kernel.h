// What stands for kernel<<<grid, block, shared, stream>>>(args...), which only nvcc can parse.
#pragma once
#include <cstddef>
#include <type_traits>

#include "cuda/emulation/runtime.h"
#include "cuda/emulation/vector_types.h"
#include "cuda/emulation/where.h"

namespace gradus::emulation {

// A kernel with copies of its arguments, its type forgotten: run(call) runs one CUDA thread.
struct KernelCall {
  void (*run)(const void* call);
  const void* call;
  size_t call_bytes;
  const void* kernel;
};
// Runs the grid now, or later, or puts it into a graph, as the stream says. Errors are left for cudaGetLastError.
void enqueue_kernel(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t, Where, const KernelCall&);

// P are the kernel's parameters, A the arguments, converted as in any call.
template <class... P, class... A>
void launch_kernel(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, Where where, void (*kernel)(P...),
                   const A&... args) {
  static_assert(((std::is_trivially_copy_constructible_v<P> && std::is_trivially_destructible_v<P>)&&...),
                "a kernel's arguments are sent to the device as bytes");
  const auto call = [kernel, ... copies = static_cast<P>(args)] { kernel(copies...); };
  using Call = decltype(call);
  static_assert(alignof(Call) <= alignof(std::max_align_t));
  const auto run = [](const void* c) { (*static_cast<Call*>(c))(); };
  enqueue_kernel(grid, block, shared_bytes, stream, where,
                 {run, &call, sizeof call, reinterpret_cast<const void*>(kernel)});
}

// The dynamic shared memory of the running block: `extern __shared__` under nvcc.
void* dynamic_shared();

}  // namespace gradus::emulation
