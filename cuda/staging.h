// Uploads through pinned memory. The GPU's copy engine reads host memory while the program runs on, which is only safe from
// pages that cannot move; so data is first copied into one of two pinned blocks, and a block is used again when its last
// copy has been done, which an event tells.
#pragma once
#include <cstring>

#include "cuda/runtime.h"

namespace gradus::cuda {

class Staging {
 public:
  void upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    for (std::size_t done = 0; done < bytes;) {
      Block& block = blocks_[next_];
      next_ = 1 - next_;
      if (!block.memory) {
        check(cudaMallocHost(&block.memory, block_bytes), "allocate pinned memory");
        check(cudaEventCreateWithFlags(&block.copied, cudaEventDisableTiming), "create an event");
      } else {
        check(cudaEventSynchronize(block.copied), "wait for an upload");
      }
      const std::size_t count = bytes - done < block_bytes ? bytes - done : block_bytes;
      std::memcpy(block.memory, static_cast<const char*>(from) + done, count);
      check(cudaMemcpyAsync(static_cast<char*>(to) + done, block.memory, count, cudaMemcpyHostToDevice, stream),
            "upload");
      check(cudaEventRecord(block.copied, stream), "record an event");
      done += count;
    }
  }

 private:
  struct Block {
    void* memory = nullptr;
    cudaEvent_t copied = nullptr;
  };
  static constexpr std::size_t block_bytes = std::size_t(4) << 20;
  Block blocks_[2];
  int next_ = 0;
};

}  // namespace gradus::cuda
