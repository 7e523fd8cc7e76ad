// Where did the NaN start? A debug tape asks after every forward and every backward step, so the first answer is the origin.
#pragma once
#include "engine/tape.h"

namespace gradus {

// Index of the first element that is NaN or infinite, -1 when all are finite (or the tensor holds integers).
Index first_non_finite(const Tensor& x);

// "-inf at [2,0]", of element i.
std::string value_and_place(const Tensor& x, Index i);

// Error "[log] first non-finite value: -inf at [2,0] of its output [3,4]; input 'p' ... ; recorded at train.cpp:41".
// Values that were not finite already in an input are not this op's doing.
void check_finite_forward(const Op& op, UserLine line, In in, const Tensor& y);
// Error when dy is finite and a gradient that this node's op made is not.
void check_finite_backward(const Tape& tape, NodeId id, const Tensor& dy, NodeId input, const Tensor& dx);

}  // namespace gradus
