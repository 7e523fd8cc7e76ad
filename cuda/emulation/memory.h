// Device memory of the emulated device: one range of addresses, in which cudaMalloc finds places.
#pragma once
#include <cstddef>

#include "cuda/emulation/where.h"

namespace gradus::emulation {

bool is_device(const void* p);                 // an address of the device, allocated or not
bool on_device(const void* p, size_t bytes);   // all of it in one allocation
bool is_pinned(const void* p);                 // host memory from cudaMallocHost
void check_guards(const std::string& after);   // reports who wrote before or after an allocation
void check_guards_after(const Where& launch);  // the same after a kernel, while there are few allocations
bool guards_are_due();
void release(void* p);  // what cudaFree does, without its waiting

}  // namespace gradus::emulation
