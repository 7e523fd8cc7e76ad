// Sorting on a GPU: ops/sort.cpp makes the keys, this orders them.
#pragma once
#include "engine/device.h"

namespace gradus::cuda {

// `lines` lines of n keys each, one after the other; a key is an unsigned number, of which the lowest `bits` bits count.
// positions[line n + j] is where in its line the j-th key stands; equal keys keep their order.
void sort_lines(Device& device, const Index* keys, Index lines, Index n, int bits, Index* positions);

}  // namespace gradus::cuda
