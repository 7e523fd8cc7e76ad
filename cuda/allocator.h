// GPU memory that is kept and handed out again: cudaMalloc costs a hundred times a kernel launch, and cudaFree waits for
// the GPU.
//
// Released blocks wait in a list for their size. Because all work is queued on one stream, a block can be handed out at
// once: whoever uses it next comes later on the stream. Sizes are rounded up to multiples of 512 bytes, from 1 MiB on to
// an eighth of their power of two.
//
// While a graph is captured, addresses become part of it, so the blocks it used must stay its own until it is gone:
// they go to the list of the graph instead. GRADUS_POOL=0 switches the lists off, for tools that watch each allocation;
// a capture still needs them, as nothing can be allocated meanwhile.
#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

namespace gradus::cuda {

class Allocator {
 public:
  using FreeBlocks = std::map<std::size_t, std::vector<void*>>;  // by size
  // The blocks of one graph. What is released while they are all free again may serve the graph's own capture.
  struct Private {
    FreeBlocks free;
    std::unordered_map<void*, std::size_t> blocks;
  };

  Allocator();
  void* allocate(std::size_t bytes);
  void release(void* memory, std::size_t bytes);
  void trim();  // gives all free blocks back to the system

  void keep_for_capture(bool on);
  void begin_private(std::shared_ptr<Private> pool) { capturing_ = std::move(pool); }
  void end_private() { capturing_.reset(); }
  void give_back(Private& pool);  // the graph is gone: what is free serves everybody again

 private:
  bool pooled_, keep_;
  FreeBlocks free_;
  std::shared_ptr<Private> capturing_;
  std::unordered_map<void*, std::weak_ptr<Private>> owner_;  // of blocks that belong to a graph

  static std::size_t rounded(std::size_t bytes);
  static void* take(FreeBlocks& from, std::size_t bytes);
};

}  // namespace gradus::cuda
