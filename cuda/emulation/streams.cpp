// Queues of work. See streams.h.
#include "cuda/emulation/streams.h"

#include <algorithm>

#include "cuda/emulation/error.h"
#include "cuda/emulation/memory.h"
#include "cuda/emulation/settings.h"
#include "cuda/emulation/stream_state.h"

namespace gradus::emulation {

static std::recursive_mutex device_mutex;
Lock::Lock() { device_mutex.lock(); }
Lock::~Lock() { device_mutex.unlock(); }

// Not destroyed when the program ends: other static objects may still use the device then.
static Stream& default_stream = *new Stream;
// Streams that the program destroyed stay, marked: events may still name them, and late uses are found.
static auto& others = *new std::deque<Stream>;

Stream* find_stream(cudaStream_t s) {
  if (!s) return &default_stream;
  if (s->alive) return s;
  report(cudaErrorInvalidResourceHandle, "a stream is used after cudaStreamDestroy");
  return nullptr;
}

// ---- running
static void step(Stream* s) {
  const Work work = std::move(s->work.front());
  s->work.pop_front();
  work();
  ++s->done;
}
void run_until(Stream* s, uint64_t done) {
  while (s->done < done && !s->work.empty()) step(s);
}
void drain(cudaStream_t s) {
  if (Stream* stream = find_stream(s)) run_until(stream, stream->enqueued);
}
void drain_all() {
  drain(nullptr);
  for (Stream& s : others)
    if (s.alive) drain(&s);
}

// ---- queueing
bool is_capturing(cudaStream_t s) { return (s ? s : &default_stream)->capture != nullptr; }

bool runs_at_once(cudaStream_t s) {
  const Stream& stream = s ? *s : default_stream;
  const bool some_capture = forbids_default_stream() && &stream == &default_stream;
  return !settings.lazy_streams && stream.alive && stream.work.empty() && !stream.capture && !some_capture;
}

static void push(Stream* s, Work work) {
  s->work.push_back(std::move(work));
  ++s->enqueued;
}
// The default stream waits for what was put before into any blocking stream, and each of these for the default stream.
static void keep_order_with_default(Stream* s) {
  const auto wait_for = [s](Stream* other) {
    if (other->done == other->enqueued) return;
    const uint64_t upto = other->enqueued;
    push(s, [other, upto] { run_until(other, upto); });
  };
  if (s != &default_stream) {
    if (s->blocking) wait_for(&default_stream);
    return;
  }
  for (Stream& other : others)
    if (other.alive && other.blocking) wait_for(&other);
}

cudaError_t enqueue(cudaStream_t handle, Work work) {
  Stream* s = find_stream(handle);
  if (!s) return cudaErrorInvalidResourceHandle;
  if (s->capture) {
    s->capture->graph->nodes.push_back(std::move(work));
    return cudaSuccess;
  }
  if (s == &default_stream)
    if (const cudaError_t e = forbid_default_stream()) return e;
  if (runs_at_once(handle)) {
    work();
    return cudaSuccess;
  }
  keep_order_with_default(s);
  push(s, std::move(work));
  if (!settings.lazy_streams) drain(handle);
  return cudaSuccess;
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  const Lock lock;
  *s = &others.emplace_back();
  (*s)->blocking = !(flags & cudaStreamNonBlocking);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  const Lock lock;
  if (!s || !find_stream(s))
    return report(cudaErrorInvalidResourceHandle,
                  "cudaStreamDestroy of the default stream, or of one already destroyed");
  drain(s);
  s->alive = false;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaStreamSynchronize")) return e;
  drain(s);
  if (guards_are_due()) check_guards("a kernel before cudaStreamSynchronize");
  return last_error();
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaDeviceSynchronize")) return e;
  drain_all();
  check_guards("a kernel before cudaDeviceSynchronize");
  return last_error();
}
cudaError_t cudaStreamQuery(cudaStream_t s) {  // each question lets the device do one more piece of work
  const Lock lock;
  if (const cudaError_t e = forbid_in_capture("cudaStreamQuery")) return e;
  Stream* stream = find_stream(s);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (stream->work.empty()) return last_error();
  step(stream);
  return cudaErrorNotReady;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, void (*f)(void*), void* data) {
  const Lock lock;
  return enqueue(s, [=] { f(data); });
}
