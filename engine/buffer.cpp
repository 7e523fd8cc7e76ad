#include "engine/buffer.h"

#include <atomic>

namespace gradus {
namespace {
std::atomic<std::int64_t> live_buffers{0}, live_bytes{0}, peak_bytes{0};
}

Buffer::Buffer(Device& on, std::size_t size) : device(on), memory(on.allocate(size)), bytes(size) {
  live_buffers.fetch_add(1, std::memory_order_relaxed);
  const auto now = live_bytes.fetch_add(std::int64_t(size), std::memory_order_relaxed) + std::int64_t(size);
  auto peak = peak_bytes.load(std::memory_order_relaxed);
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {}
}

Buffer::~Buffer() {
  device.release(memory, bytes);
  live_buffers.fetch_sub(1, std::memory_order_relaxed);
  live_bytes.fetch_sub(std::int64_t(bytes), std::memory_order_relaxed);
}

MemoryUse memory_use() { return {live_buffers, live_bytes, peak_bytes}; }
void reset_peak_memory() { peak_bytes = live_bytes.load(); }

}  // namespace gradus
