// A buffer is a stretch of bytes on a device, shared by the tensors that view it, with counters of what is alive.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/device.h"
#include "engine/pool.h"

namespace gradus {

struct Buffer {
  Device& device;
  void* memory;
  std::size_t bytes;
  std::uint32_t version = 0;  // goes up with every writer, so that the tape notices a kept tensor that changed

  Buffer(Device& device, std::size_t bytes);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
};

// device.memory.use() counts the buffers of one device.
MemoryUse memory_use();    // over all devices and threads
void reset_peak_memory();  // every peak starts again at what is alive now

}  // namespace gradus
