// Copies between the host and the emulated device, and fills.
//
// As in CUDA, an asynchronous copy from pinned memory reads it when the stream gets there, which may be after the caller
// has changed it; one from any other memory reads it at once; one to any other memory has arrived when the call returns.
#include <memory>
#include <vector>

#include "cuda/emulation/check.h"
#include "cuda/emulation/error.h"
#include "cuda/emulation/memory.h"
#include "cuda/emulation/streams.h"

namespace gradus::emulation {

struct Direction {
  bool from_device, to_device;
};
static bool resolve(cudaMemcpyKind kind, const void* to, const void* from, Direction& d) {
  const bool from_device = is_device(from), to_device = is_device(to);
  switch (kind) {
    case cudaMemcpyHostToHost: d = {false, false}; break;
    case cudaMemcpyHostToDevice: d = {false, true}; break;
    case cudaMemcpyDeviceToHost: d = {true, false}; break;
    case cudaMemcpyDeviceToDevice: d = {true, true}; break;
    case cudaMemcpyDefault: d = {from_device, to_device}; break;
  }
  return d.from_device == from_device && d.to_device == to_device;
}

static void copy_now(void* to, const void* from, size_t bytes, Direction d) {
  const AtWork at_work;
  if ((d.from_device && !on_device(from, bytes)) || (d.to_device && !on_device(to, bytes))) {
    report(cudaErrorInvalidValue,
           "cudaMemcpy: its " + std::to_string(bytes) + " bytes do not lie in one allocation of device memory");
    return;
  }
  std::memmove(to, from, bytes);
  if (d.from_device && d.to_device)
    check::copied(to, from, bytes);
  else if (d.to_device)
    check::define(to, bytes, true);
}

static void fill_now(void* p, int byte, size_t bytes) {
  const AtWork at_work;
  if (!on_device(p, bytes)) {
    report(cudaErrorInvalidValue,
           "cudaMemset: its " + std::to_string(bytes) + " bytes do not lie in one allocation of device memory");
    return;
  }
  std::memset(p, byte, bytes);
  check::define(p, bytes, true);
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s) {
  const Lock lock;
  if (bytes == 0) return cudaSuccess;
  Direction d;
  if (!resolve(kind, to, from, d))
    return report(cudaErrorInvalidMemcpyDirection, "cudaMemcpy: the pointers do not lie where its direction says");
  if (runs_at_once(s)) {
    copy_now(to, from, bytes, d);
    return last_error();
  }
  const bool staged = !d.from_device && !is_pinned(from) && !is_capturing(s);
  if (!staged) {
    if (const cudaError_t e = enqueue(s, [=] { copy_now(to, from, bytes, d); })) return e;
  } else {
    const char* begin = static_cast<const char*>(from);
    const auto copy = std::make_shared<std::vector<char>>(begin, begin + bytes);
    if (const cudaError_t e = enqueue(s, [=] { copy_now(to, copy->data(), bytes, d); })) return e;
  }
  if (!d.to_device && !is_pinned(to) && !is_capturing(s)) drain(s);
  return last_error();
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaMemcpy")) return e;
  if (const cudaError_t e = cudaMemcpyAsync(to, from, bytes, kind, nullptr)) return e;
  drain(nullptr);
  return last_error();
}
cudaError_t cudaMemsetAsync(void* p, int byte, size_t bytes, cudaStream_t s) {
  const Lock lock;
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t e = enqueue(s, [=] { fill_now(p, byte, bytes); })) return e;
  return last_error();
}
cudaError_t cudaMemset(void* p, int byte, size_t bytes) {
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaMemset")) return e;
  return cudaMemsetAsync(p, byte, bytes, nullptr);
}
