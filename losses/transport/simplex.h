// The simplex method on a dense tableau: slow, short, and independent of everything that is to be checked by it.
//
//   min c.x   with   A x = b,  x >= 0                         A [R,V] of full rank, b >= 0
//
// Phase 1 starts from R artificial variables and drives their sum to 0; phase 2 goes on with c. Bland's rule (the lowest
// index that improves enters, the lowest index leaves among ties) cannot cycle.
#pragma once
#include <vector>

namespace gradus {

// The optimal x. Made for hundreds of variables, not for thousands.
std::vector<double> simplex(std::vector<std::vector<double>> A, const std::vector<double>& b,
                            const std::vector<double>& c);

}  // namespace gradus
