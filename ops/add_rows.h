// y[index[k],:] += x[k,:] for all k, when an index may occur any number of times: the gradient of every kind of picking.
//
// On the CPU the rows are added one after the other. On a GPU many threads would meet at one row, so the sum is turned
// round: the k are sorted by index, and each run of equal indices is added up in the order of k, with no atomics and with
// the same bits in every run. A run may be as long as all of x, so it is cut: the sorted k are seen in pieces of 32, of
// which each column of each is one thread's. Within a piece a run is either whole, and goes to y; or it begins before the
// piece, and its sum waits in `head`; or it begins here and goes on, and its sum waits in `tail`. Then whoever wrote a tail
// collects the heads that follow it.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// x [K,W], index i64 [K] in 0..V-1, y [V,W]
void add_rows(const Tensor& x, const Tensor& index, Tensor& y);

}  // namespace gradus
