// What every test of a loss begins with: the proof on all its samples, and short ways to write numbers.
#pragma once
#include <string>
#include <vector>

#include "losses/loss.h"
#include "tests/support/op_case.h"

namespace gradus {

using Values = std::vector<double>;
inline const double inf = std::numeric_limits<double>::infinity(), NaN = std::numeric_limits<double>::quiet_NaN();

// On every sample: definition = closed form = central differences, f32 near f64, one thread and two give the same bits, no
// buffer is left over. Also: at least three samples that are not extreme, and a call by name of what does not exist fails.
void check_losses(const Losses& losses);

// f64
inline Tensor vec(const Values& v) { return tensor(v, {Index(v.size())}, DType::f64); }
inline Tensor matrix(const Values& v, Index rows) { return tensor(v, {rows, Index(v.size()) / rows}, DType::f64); }

// |got - wanted| <= tolerance max(1, |wanted|), entry by entry
void check_near(const Values& got, const Values& wanted, double tolerance);
inline void check_near(double got, double wanted, double tolerance) {
  check_near(Values{got}, Values{wanted}, tolerance);
}

// The smallest x of f(x) by plain gradient descent with halved steps where f does not fall: for claims about optima.
Values minimise(const std::function<Tensor(const Tensor&)>& f, const Tensor& start, int steps = 20000, double step = 1);

}  // namespace gradus
