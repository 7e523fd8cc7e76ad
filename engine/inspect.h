// Looking at a tape: as a listing, as a picture, and with answers to "why has x no gradient?" and "where is the NaN from?".
#pragma once
#include <iosfwd>

#include "engine/backward.h"

namespace gradus {

// One line a node; `const` stands for an input that is not on the tape. With a pass, the length of each gradient that it
// still holds (a debug tape holds all of them).
//
//   0  leaf 'w' [3]                               |dy| 1.41
//   1  mul 'wx' [3]  <- 0 const  train.cpp:12     |dy| 1.73
//   2  sum []        <- 1        train.cpp:13     |dy| 1       freed
std::string listing(const Tape& tape, const BackwardPass* pass = nullptr);

// The same as a graph in the language of Graphviz: `dot -Tsvg`.
std::string to_dot(const Tape& tape, const BackwardPass* pass = nullptr);

// Why x has no gradient of the loss, or that it has one, in one sentence. Call it while the tape is alive.
std::string explain(const Tensor& x, const Tensor& loss);

// "'h1' f32 [4,3]: min -1.2, mean 0.05, max 2.5", over the finite elements; then how many are NaN or infinite.
std::string summary(const Tensor& x);

// Prints the summary of y now, and that of its gradient when a backward pass completes it.
void watch(const Tensor& y, std::ostream& out);

// The first value on the tape that is NaN or infinite, with its node: "" when there is none among what the tape kept.
std::string first_non_finite(const Tape& tape);

}  // namespace gradus
