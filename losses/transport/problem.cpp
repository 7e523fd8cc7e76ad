#include "losses/transport/problem.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "ops/elementwise.h"

namespace gradus {

double total_of(const std::vector<double>& mass) { return std::accumulate(mass.begin(), mass.end(), 0.0); }

void check_masses(const char* op, const char* what, const Tensor& x, Index length, double total) {
  const std::vector<double> mass = x.to_vector();
  for (std::size_t i = 0; i < mass.size(); ++i) {
    if (!(mass[i] >= 0 && std::isfinite(mass[i]))) {
      fail(op, std::string(what) + " must be finite and >= 0, got " + std::to_string(mass[i]) + " at [" +
                   std::to_string(i) + "] of " + x.describe());
    }
  }
  for (Index r = 0; r * length < Index(mass.size()); ++r) {
    const double got = std::accumulate(mass.begin() + r * length, mass.begin() + (r + 1) * length, 0.0);
    if (std::abs(got - total) > 1e-5 * std::max(got, total)) {
      std::ostringstream text;
      text.precision(9);
      text << what << " " << x.describe() << (x.rank() > 1 ? " row " + std::to_string(r) : "") << " has the mass "
           << got << " where " << total << " is to be moved; divide each side by its sum";
      fail(op, text.str());
    }
  }
}

void check_finite_costs(const char* op, const Tensor& cost) {
  dispatch_float(op, cost.dtype(), [&]<class T>() {
    for (const T c : cost.span<T>()) {
      if (!std::isfinite(c)) {
        fail(op, "costs must be finite, " + cost.describe() + " has " + std::to_string(c) +
                     "; forbid a pair by a large cost");
      }
    }
  });
}

void check_transport(const char* op, const Tensor& a, const Tensor& b, const Tensor& cost) {
  if (!a || !b || !cost) fail(op, "needs masses a and b and a cost; one of them is undefined");
  check_same_kind(op, cost, a);
  check_same_kind(op, cost, b);
  if (a.rank() != 1 || b.rank() != 1 || a.numel() == 0 || b.numel() == 0 ||
      cost.shape() != Shape{a.numel(), b.numel()}) {
    fail(op, "needs a [n], b [m] and cost [n,m] with n, m >= 1, got " + a.describe() + ", " + b.describe() + ", " +
                 cost.describe());
  }
  if (!is_floating(cost.dtype())) fail(op, std::string("needs f32 or f64, got ") + name_of(cost.dtype()));
  const double total = total_of(a.to_vector());
  check_masses(op, "a", a, a.numel(), total);
  check_masses(op, "b", b, b.numel(), total);
  check_finite_costs(op, cost);
}

}  // namespace gradus
