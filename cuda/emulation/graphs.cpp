// Stream capture and graphs of the emulated device: lists of work that can be run again.
#include <algorithm>

#include "cuda/emulation/error.h"
#include "cuda/emulation/stream_state.h"

namespace gradus::emulation {

static auto& active = *new std::vector<std::unique_ptr<Capture>>;
static uint64_t captures = 0;

Capture* active_capture(uint64_t number) {
  for (const auto& c : active)
    if (c->number == number) return c.get();
  return nullptr;
}

cudaError_t forbid_in_capture(const char* call) {
  for (const auto& c : active) {
    if (c->mode == cudaStreamCaptureModeRelaxed) continue;
    if (c->mode == cudaStreamCaptureModeThreadLocal && c->thread != std::this_thread::get_id()) continue;
    c->spoilt = true;
    return report(cudaErrorStreamCaptureUnsupported, std::string(call) + " while a stream is being captured");
  }
  return cudaSuccess;
}
bool forbids_default_stream() {
  return std::any_of(active.begin(), active.end(), [](const auto& c) { return c->origin->blocking; });
}
cudaError_t forbid_default_stream() {
  for (const auto& c : active) {
    if (!c->origin->blocking) continue;
    c->spoilt = true;
    return report(
        cudaErrorStreamCaptureImplicit,
        "work for the default stream while a blocking stream is being captured: the default stream would have "
        "to wait for it (make the captured stream with cudaStreamNonBlocking)");
  }
  return cudaSuccess;
}

}  // namespace gradus::emulation

using namespace gradus::emulation;

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
  const Lock lock;
  if (!s) return report(cudaErrorStreamCaptureUnsupported, "the default stream cannot be captured");
  Stream* stream = find_stream(s);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (stream->capture) return report(cudaErrorInvalidValue, "cudaStreamBeginCapture: the stream is being captured");
  auto capture = std::make_unique<Capture>();
  capture->number = ++captures, capture->mode = mode, capture->thread = std::this_thread::get_id();
  capture->origin = stream, capture->streams = {stream};
  stream->capture = capture.get();
  active.push_back(std::move(capture));
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  const Lock lock;
  *graph = nullptr;
  const auto found = std::find_if(active.begin(), active.end(), [=](const auto& c) { return c->origin == s; });
  if (found == active.end())
    return report(cudaErrorInvalidValue, "cudaStreamEndCapture: no capture began in this stream");
  for (Stream* stream : (*found)->streams) stream->capture = nullptr;
  const std::unique_ptr<Capture> capture = std::move(*found);
  active.erase(found);
  if (capture->spoilt)
    return report(cudaErrorStreamCaptureInvalidated, "cudaStreamEndCapture: a forbidden call spoilt the capture");
  *graph = capture->graph.release();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
  const Lock lock;
  Stream* stream = find_stream(s);
  if (!stream) return cudaErrorInvalidResourceHandle;
  *status = !stream->capture          ? cudaStreamCaptureStatusNone
            : stream->capture->spoilt ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new GraphExec{std::make_shared<Graph>(*graph)};
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  const Lock lock;
  if (const cudaError_t e = enqueue(s, [graph = exec->graph] {
        for (const Work& node : graph->nodes) node();
      }))
    return e;
  return last_error();
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
