// What the threads of a block do together: barriers, shuffles and votes. The scheduler (block.cpp) does the waiting.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/emulation/where.h"

namespace gradus::emulation {

struct Parcel {  // what a lane brings to a warp operation: two numbers, so that it travels in registers
  uint64_t low, high;
};

void sync_block(Line);
void sync_warp(unsigned mask, Line);
// Waits for the lanes in mask, each of which brings a parcel; returns the parcel of lane `source`.
Parcel exchange(unsigned mask, Parcel mine, unsigned source, Line);
unsigned vote(unsigned mask, bool yes, Line);  // bit i: lane i said yes
unsigned lane_id();

template <class T> T shuffle(unsigned mask, T value, unsigned source, Line line) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(Parcel));
  Parcel parcel{};
  std::memcpy(&parcel, &value, sizeof(T));
  parcel = exchange(mask, parcel, source, line);
  std::memcpy(&value, &parcel, sizeof(T));
  return value;
}

}  // namespace gradus::emulation

inline void __syncthreads(gradus::emulation::Line at = gradus::emulation::Line::here()) {
  gradus::emulation::sync_block(at);
}
inline void __syncwarp(unsigned mask = ~0u, gradus::emulation::Line at = gradus::emulation::Line::here()) {
  gradus::emulation::sync_warp(mask, at);
}

// Lanes are grouped by `width`, a power of two; a lane whose source lies outside its group keeps its own value.
template <class T>
T __shfl_sync(unsigned mask, T mine, int source, int width = 32,
              gradus::emulation::Line at = gradus::emulation::Line::here()) {
  const unsigned me = gradus::emulation::lane_id(), group = me & ~unsigned(width - 1);
  return gradus::emulation::shuffle(mask, mine, group | (unsigned(source) & unsigned(width - 1)), at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T mine, int bits, int width = 32,
                  gradus::emulation::Line at = gradus::emulation::Line::here()) {
  const unsigned me = gradus::emulation::lane_id(), last = me | unsigned(width - 1), other = me ^ unsigned(bits);
  return gradus::emulation::shuffle(mask, mine, other <= last ? other : me, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T mine, unsigned by, int width = 32,
                   gradus::emulation::Line at = gradus::emulation::Line::here()) {
  const unsigned me = gradus::emulation::lane_id(), in_group = me & unsigned(width - 1);
  return gradus::emulation::shuffle(mask, mine, in_group + by < unsigned(width) ? me + by : me, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T mine, unsigned by, int width = 32,
                 gradus::emulation::Line at = gradus::emulation::Line::here()) {
  const unsigned me = gradus::emulation::lane_id(), in_group = me & unsigned(width - 1);
  return gradus::emulation::shuffle(mask, mine, in_group >= by ? me - by : me, at);
}

inline unsigned __ballot_sync(unsigned mask, int yes, gradus::emulation::Line at = gradus::emulation::Line::here()) {
  return gradus::emulation::vote(mask, yes != 0, at);
}
inline int __any_sync(unsigned mask, int yes, gradus::emulation::Line at = gradus::emulation::Line::here()) {
  return gradus::emulation::vote(mask, yes != 0, at) != 0;
}
inline int __all_sync(unsigned mask, int yes, gradus::emulation::Line at = gradus::emulation::Line::here()) {
  return gradus::emulation::vote(mask, yes == 0, at) == 0;
}
