// Checks a launch as the GPU would, and puts the grid into its stream. See launch_kernel.h.
#include "cuda/emulation/launch_kernel.h"

#include <memory>
#include <unordered_map>

#include "cuda/emulation/block.h"
#include "cuda/emulation/check.h"
#include "cuda/emulation/error.h"
#include "cuda/emulation/scheduler.h"
#include "cuda/emulation/streams.h"

namespace gradus::emulation {

constexpr size_t most_shared = 227 * 1024, shared_without_asking = 48 * 1024;
static auto& shared_allowed = *new std::unordered_map<const void*, size_t>;  // by kernel: cudaFuncSetAttribute

static std::string text(dim3 d) {
  return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z);
}
static bool refuse(cudaError_t code, const std::string& why, const Where& where) {
  report(code, why + " [kernel launched at " + where.text() + "]");
  return false;
}
static bool can_launch(dim3 grid, dim3 block, size_t shared_bytes, const Where& where, const void* kernel) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > most_threads || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
    return refuse(cudaErrorInvalidConfiguration,
                  "invalid configuration: a grid of " + text(grid) + " blocks of " + text(block) + " threads", where);
  if (shared_bytes <= shared_without_asking) return true;
  const auto allowed = shared_allowed.find(kernel);
  if (allowed != shared_allowed.end() && shared_bytes <= allowed->second) return true;
  return refuse(cudaErrorInvalidValue,
                std::to_string(shared_bytes) +
                    " bytes of dynamic shared memory, but more than 48 KiB need "
                    "cudaFuncSetAttribute first, and there are 227 KiB at most",
                where);
}

void enqueue_kernel(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, Where where,
                    const KernelCall& call) {
  if (check_at.in_kernel) fail(cudaErrorNotSupported, "a kernel launches a kernel, at " + where.text());
  const Lock lock;
  if (!can_launch(grid, block, shared_bytes, where, call.kernel)) return;
  if (runs_at_once(stream)) return run_grid(grid, block, shared_bytes, where, call);
  // For later: with a copy of the arguments.
  const std::shared_ptr<Sixteen[]> copy(new_bytes(call.call_bytes));
  std::memcpy(copy[0].bytes, call.call, call.call_bytes);
  enqueue(stream, [=, run = call.run, bytes = call.call_bytes, kernel = call.kernel] {
    run_grid(grid, block, shared_bytes, where, {run, copy.get(), bytes, kernel});
  });
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const Lock lock;
  if (value < 0 || size_t(value) > most_shared)
    return report(cudaErrorInvalidValue, "cudaFuncSetAttribute: a block has at most 227 KiB of shared memory");
  shared_allowed[kernel] = size_t(value);
  return cudaSuccess;
}
