// A step as a CUDA graph: the launches of f are recorded once and then replayed together, which costs one launch instead of
// the few hundred that a small training step has.
//
// What a step must keep to: the same shapes each time; nothing read back (item, cpu) and nothing uploaded; numbers that
// change from step to step (the optimizer's step count, the learning rate) in GPU memory.
#pragma once
#include <functional>
#include <memory>

#include "cuda/allocator.h"
#include "cuda/runtime.h"

namespace gradus::cuda {

// Runs f once as it is, so that memory and libraries are ready, and once more to record it (then nothing is computed).
std::unique_ptr<Graph> capture_graph(Device& device, Allocator& allocator, bool& capturing,
                                     const std::function<void()>& f);

}  // namespace gradus::cuda
