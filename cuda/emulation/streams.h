// Streams of the emulated device: queues of work, which runs at once, or when someone waits for it.
#pragma once
#include <functional>
#include <mutex>

#include "cuda/emulation/runtime.h"

namespace gradus::emulation {

// The device serves one host thread at a time. Every entry of the runtime takes this.
struct Lock {
  Lock();
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

using Work = std::function<void()>;
bool runs_at_once(cudaStream_t);          // nothing is queued before it, and it is not captured
cudaError_t enqueue(cudaStream_t, Work);  // runs it now, or later, or puts it into the graph that is captured
bool is_capturing(cudaStream_t);
// Calls that wait, or that change what memory there is, are errors while a stream is captured, and spoil the capture.
cudaError_t forbid_in_capture(const char* call);
// The default stream waits for all blocking streams, so it may not be used while one of them is captured.
bool forbids_default_stream();
cudaError_t forbid_default_stream();
void drain(cudaStream_t);
void drain_all();

}  // namespace gradus::emulation
