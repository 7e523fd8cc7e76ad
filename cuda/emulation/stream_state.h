// What streams, events and captures of the emulated device are made of.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "cuda/emulation/streams.h"

namespace gradus::emulation {

struct Graph {
  std::vector<Work> nodes;  // in the order of capture, which is one that all dependencies allow
};
struct GraphExec {
  std::shared_ptr<const Graph> graph;
};

struct Capture {
  uint64_t number;  // no two captures have the same
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  Stream* origin;
  std::vector<Stream*> streams;  // the origin, and those that joined by waiting for an event of the capture
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  bool spoilt = false;  // by a call that is forbidden
};

struct Stream {
  bool blocking = true;  // waits for the default stream, and it for this one
  std::deque<Work> work;
  uint64_t enqueued = 0, done = 0;  // pieces of work so far
  Capture* capture = nullptr;
  bool alive = true;
};

struct Event {
  bool timed = true;
  Stream* stream = nullptr;  // where it was recorded, after how much work
  uint64_t after = 0;
  uint64_t capture = 0;  // the number of the capture it was recorded in, if any
  std::shared_ptr<double> reached = std::make_shared<double>(0);  // the time in ms
};

Stream* find_stream(cudaStream_t);  // null, with a report, when it was destroyed
Capture* active_capture(uint64_t number);
void run_until(Stream*, uint64_t done);

}  // namespace gradus::emulation
