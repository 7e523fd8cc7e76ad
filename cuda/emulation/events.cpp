// Events of the emulated device: marks in a stream, for which the host or another stream can wait.
#include <algorithm>
#include <chrono>

#include "cuda/emulation/error.h"
#include "cuda/emulation/stream_state.h"

namespace gradus::emulation {

static double milliseconds_now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
static bool reached(const Event& e) { return !e.stream || e.stream->done >= e.after; }
// Host code cannot wait for what happens in a graph.
static cudaError_t forbid_captured(cudaEvent_t e, const char* call) {
  Capture* capture = active_capture(e->capture);
  if (!capture) return forbid_in_capture(call);
  capture->spoilt = true;
  return report(cudaErrorCapturedEvent, std::string(call) + " on an event that was recorded in a stream capture");
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags) {
  *e = new Event;
  (*e)->timed = !(flags & cudaEventDisableTiming);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  const Lock lock;
  Stream* stream = find_stream(s);
  if (!stream) return cudaErrorInvalidResourceHandle;
  e->capture = 0;
  if (stream->capture) {
    e->capture = stream->capture->number;
    return cudaSuccess;
  }
  const auto time = std::make_shared<double>(0);
  if (const cudaError_t error = enqueue(s, [time] { *time = milliseconds_now(); })) return error;
  e->stream = stream, e->after = stream->enqueued, e->reached = time;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  const Lock lock;
  if (const cudaError_t error = forbid_captured(e, "cudaEventSynchronize")) return error;
  if (e->stream) run_until(e->stream, e->after);
  return last_error();
}
cudaError_t cudaEventQuery(cudaEvent_t e) {  // each question lets the device do one more piece of work
  const Lock lock;
  if (const cudaError_t error = forbid_captured(e, "cudaEventQuery")) return error;
  if (reached(*e)) return last_error();
  run_until(e->stream, e->stream->done + 1);
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  const Lock lock;
  if (!from->stream || !to->stream || !from->timed || !to->timed)
    return report(cudaErrorInvalidResourceHandle, "cudaEventElapsedTime: an event was not recorded, or has no time");
  if (!reached(*from) || !reached(*to)) return cudaErrorNotReady;
  *milliseconds = float(*to->reached - *from->reached);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  const Lock lock;
  Stream* stream = find_stream(s);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (Capture* capture = active_capture(e->capture)) {  // the stream joins the capture
    if (stream->capture && stream->capture != capture)
      return report(cudaErrorStreamCaptureUnsupported, "a stream of one capture waits for an event of another");
    if (!stream->capture) capture->streams.push_back(stream);
    stream->capture = capture;
    return cudaSuccess;
  }
  if (reached(*e)) return cudaSuccess;
  return enqueue(s, [target = e->stream, after = e->after] { run_until(target, after); });
}
