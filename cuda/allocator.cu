#include "cuda/allocator.h"

#include <bit>
#include <cstdlib>
#include <cstring>

#include "cuda/runtime.h"

namespace gradus::cuda {

Allocator::Allocator() {
  const char* pool = std::getenv("GRADUS_POOL");
  keep_ = pooled_ = !(pool && std::strcmp(pool, "0") == 0);
}

void Allocator::keep_for_capture(bool on) {
  keep_ = pooled_ || on;
  if (!keep_) trim();
}

std::size_t Allocator::rounded(std::size_t bytes) {
  const std::size_t large = std::size_t(1) << 20;
  const std::size_t step = bytes < large ? 512 : std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

void* Allocator::take(FreeBlocks& from, std::size_t bytes) {
  const auto found = from.find(bytes);
  if (found == from.end() || found->second.empty()) return nullptr;
  void* block = found->second.back();
  found->second.pop_back();
  return block;
}

void* Allocator::allocate(std::size_t bytes) {
  if (bytes == 0) bytes = 1;
  const std::size_t asked = bytes;
  if (pooled_) bytes = rounded(bytes);  // exactly what was asked where a tool is to find the first byte beyond it
  void* block = capturing_ ? take(capturing_->free, bytes) : nullptr;
  if (!block) block = take(free_, bytes);
  if (!block) {
    cudaError_t error = cudaMalloc(&block, bytes);
    if (error == cudaErrorMemoryAllocation && !capturing_) {
      cudaGetLastError();  // it is dealt with
      trim();
      error = cudaMalloc(&block, bytes);
    }
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail("allocate", "no GPU memory for " + std::to_string(asked >> 20) + " MiB; use smaller batches or sequences");
    }
    check(error, capturing_ ? "allocate while a graph is captured; run the step once before" : "allocate");
  }
  if (capturing_) {
    capturing_->blocks.emplace(block, bytes);
    owner_[block] = capturing_;
  }
  return block;
}

void Allocator::release(void* memory, std::size_t bytes) {
  if (bytes == 0) bytes = 1;
  if (pooled_) bytes = rounded(bytes);
  if (!owner_.empty()) {
    if (const auto found = owner_.find(memory); found != owner_.end()) {
      if (const auto pool = found->second.lock()) return pool->free[bytes].push_back(memory);
      owner_.erase(found);
    }
  }
  if (keep_) return free_[bytes].push_back(memory);
  cudaFree(memory);  // an error appears at the next check; a destructor may be calling
}

void Allocator::trim() {
  for (auto& [bytes, blocks] : free_) {
    for (void* block : blocks) cudaFree(block);
  }
  free_.clear();
}

void Allocator::give_back(Private& pool) {
  for (auto& [bytes, blocks] : pool.free) {
    for (void* block : blocks) {
      owner_.erase(block);
      free_[bytes].push_back(block);
    }
  }
  if (!keep_) trim();
}

}  // namespace gradus::cuda
