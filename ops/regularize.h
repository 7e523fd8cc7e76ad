// Ops that change what is learnt, not what is computed: dropout, stop_gradient, scale_gradient (reversal).
#pragma once
#include "engine/random.h"

namespace gradus {

// y = x m / (1 - p), m_i = 1 with probability 1 - p        dx = dy m / (1 - p)
// The mask is a function of the generator's seed and position, so it is stored nowhere. p = 0 is the identity.
// For training only: leave it out when evaluating, since E[y] = x.
Tensor dropout(At x, double p, Rng& rng);

// y = x        dx = 0
Tensor stop_gradient(const Tensor& x);
// y = x        dx = c dy;   c = -1 is gradient reversal (Ganin and Lempitsky 2015)
Tensor scale_gradient(At x, double c);

}  // namespace gradus
