#include "engine/buffer.h"

namespace gradus {
namespace {
MemoryCounter all_devices;
}

void MemoryCounter::add(std::size_t bytes) {
  live_buffers_.fetch_add(1, std::memory_order_relaxed);
  const auto now = live_bytes_.fetch_add(std::int64_t(bytes), std::memory_order_relaxed) + std::int64_t(bytes);
  auto peak = peak_bytes_.load(std::memory_order_relaxed);
  while (now > peak && !peak_bytes_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {}
}

void MemoryCounter::remove(std::size_t bytes) {
  live_buffers_.fetch_sub(1, std::memory_order_relaxed);
  live_bytes_.fetch_sub(std::int64_t(bytes), std::memory_order_relaxed);
}

Buffer::Buffer(Device& on, std::size_t size) : device(on), memory(on.allocate(size)), bytes(size) {
  all_devices.add(bytes);
  if (!device.is_cpu()) device.memory.add(bytes);
}

Buffer::~Buffer() {
  device.release(memory, bytes);
  all_devices.remove(bytes);
  if (!device.is_cpu()) device.memory.remove(bytes);
}

MemoryUse memory_use() { return all_devices.use(); }

void reset_peak_memory() {
  all_devices.reset_peak();
  if (cuda_available()) Device::cuda().memory.reset_peak();
}

}  // namespace gradus
