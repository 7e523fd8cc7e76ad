#include "cuda/graph.h"

namespace gradus::cuda {
namespace {

class CudaGraph final : public Graph {
 public:
  CudaGraph(Allocator& allocator, std::shared_ptr<Allocator::Private> pool, cudaGraph_t graph)
      : allocator_(allocator), pool_(std::move(pool)), graph_(graph) {
    check(cudaGraphInstantiate(&ready_, graph_, 0), "make a captured step ready");
  }
  ~CudaGraph() override {
    cudaStreamSynchronize(stream());  // a replay may still be under way
    cudaGraphExecDestroy(ready_);
    cudaGraphDestroy(graph_);
    allocator_.give_back(*pool_);
  }
  void replay() override { check(cudaGraphLaunch(ready_, stream()), "replay a captured step"); }

 private:
  Allocator& allocator_;
  std::shared_ptr<Allocator::Private> pool_;
  cudaGraph_t graph_;
  cudaGraphExec_t ready_ = nullptr;
};

// While one is alive, blocks that the step releases wait for its recording.
struct KeepBlocks {
  Allocator& allocator;
  explicit KeepBlocks(Allocator& a) : allocator(a) { allocator.keep_for_capture(true); }
  ~KeepBlocks() { allocator.keep_for_capture(false); }
};

// Ends the capture whatever happens in f.
struct Capture {
  Allocator& allocator;
  bool& capturing;
  bool ended = false;
  Capture(Allocator& a, bool& flag, std::shared_ptr<Allocator::Private> pool) : allocator(a), capturing(flag) {
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "begin to capture a step");
    allocator.begin_private(std::move(pool));
    capturing = true;
  }
  cudaGraph_t end() {
    cudaGraph_t graph = nullptr;
    ended = true;
    capturing = false;
    allocator.end_private();
    check(cudaStreamEndCapture(stream(), &graph), "end the capture of a step");
    return graph;
  }
  ~Capture() {
    if (ended) return;
    cudaGraph_t graph = nullptr;
    capturing = false;
    allocator.end_private();
    if (cudaStreamEndCapture(stream(), &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
    cudaGetLastError();
  }
};

}  // namespace

std::unique_ptr<Graph> capture_graph(Device& device, Allocator& allocator, bool& capturing,
                                     const std::function<void()>& f) {
  if (capturing) fail("capture", "a step is being captured already; captures do not nest");
  const KeepBlocks keep(allocator);
  f();
  device.synchronize();
  auto pool = std::make_shared<Allocator::Private>();
  Capture capture(allocator, capturing, pool);
  f();
  return std::make_unique<CudaGraph>(allocator, std::move(pool), capture.end());
}

}  // namespace gradus::cuda
