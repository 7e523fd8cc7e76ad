// Is this gradient right? Measure the slopes of the function itself, and compare.
//
//   dL/dx  ~  (8 (L(x+h) - L(x-h)) - (L(x+2h) - L(x-2h))) / 12h          L = sum_j u_j y_j,  u random
//
// The familiar two points err by h^2 L'''/6, these four by h^4 L'''''/30. In f64 with h = 1e-3 this is 3e-14 of the fifth
// derivative, and the subtractions lose 1.5 eps/h = 3e-13 of the values of f. A tolerance of 1e-7 is far above both, which
// leaves room for functions that are badly conditioned, and far below any real mistake: a factor, a sign, a term.
//
//   relative error = |analytic - numeric| / max(|analytic|, |numeric|, |gradient|, 1e-4 sum_j |u_j| max(1, |x_i|, |y_j|))
//
// |gradient| is the length of the whole vector. The last term is where round-off begins to hide the slope: where it is ten
// thousand times smaller than the numbers that f computes with.
//
// Small functions are checked completely, every output against every entry of every input; large ones along random
// directions. The upstream gradient is never all ones: with ones, an op that ignores it would pass. Where a comparison fails,
// smaller steps are tried, because a kink may lie between x-2h and x+2h. If the slopes to the left and to the right still
// differ however small the step, x sits on the kink: it is counted in `kinks`, not as an error.
#pragma once
#include "engine/tape.h"

namespace gradus {

struct GradCheckOptions {
  double tolerance = 1e-7;   // of the relative error
  double step = 1e-3;        // h; entry x_i moves by h max(1, |x_i|)
  bool every_entry = false;  // the complete Jacobian, however large
  Index small = 2048;        // outputs times input entries up to which it is complete anyway
  int directions = 4;        // otherwise: so many random directions for each input, and so many upstream gradients
  std::uint64_t seed = 1;    // of what is random here
  std::vector<int> wrt;      // numbers of the inputs to differentiate by; empty: every floating-point one
};

struct GradCheckResult {
  bool passed = true;
  double worst = 0;              // the largest relative error, kinks aside
  Index checked = 0, kinks = 0;  // derivatives that were compared, and how many of them lie on a kink
  std::string message;           // what is wrong, where, and a guess why; empty when passed
};

// Runs f again and again on copies of the inputs in f64 (integers stay as they are). f must compute from its inputs alone:
// a parameter that it captures would still be f32. Also checked: two backward passes over one tape agree to the bit, and
// every op adds to a gradient that has arrived before.
GradCheckResult grad_check(const TensorFunction& f, const std::vector<Tensor>& inputs,
                           const GradCheckOptions& options = {});

// The same for one recorded op alone, at the values it met: runs its forward and backward again in f64 on what the node
// kept. Needs the inputs: a debug tape keeps them all. An op whose result is not f64 even then (a rounding to f32) is
// skipped. Checked alone, ops cannot show that they are wired wrongly; grad_check of the whole function comes first.
GradCheckResult check_node(const Tape& tape, NodeId id, const GradCheckOptions& options = {});
// All nodes. The message has a line for each wrong one.
GradCheckResult check_tape(const Tape& tape, const GradCheckOptions& options = {});

}  // namespace gradus
