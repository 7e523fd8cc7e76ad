#include "losses/transport/problem.h"

#include <cmath>
#include <numeric>
#include <sstream>

#include "ops/elementwise.h"

namespace gradus {
namespace {

template <class T> struct RowTotal {
  const T* x;
  Index length;
  double* total;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* row = x + r * length;
    const double sum = team.template sum<double>(length, [=](Index j) { return double(row[j]); });
    if (team.leads()) total[r] = sum;
  }
};

template <class T> struct NoMass {
  const T* x;
  HD bool operator()(Index i) const { return !(x[i] >= 0 && x[i] < vmath::infinity<T>); }
};
template <class T> struct NotFinite {
  const T* x;
  HD bool operator()(Index i) const { return !(std::abs(x[i]) < vmath::infinity<T>); }
};
template <class T, class To> struct LogMass {
  const T* x;
  To* y;
  HD void operator()(Index i) const { y[i] = To(std::log(double(x[i]))); }
};
struct OtherTotal {
  const double *total, *wanted;
  HD bool operator()(Index r) const {
    const double got = total[r], want = *wanted;
    return std::abs(got - want) > 1e-5 * (got > want ? got : want);
  }
};
struct IsZero {
  const double* x;
  HD bool operator()(Index i) const { return x[i] == 0; }
};

}  // namespace

double total_of(const std::vector<double>& mass) { return std::accumulate(mass.begin(), mass.end(), 0.0); }

Tensor row_totals(const Tensor& x, Index length) {
  const Index rows = x.numel() / length;
  Tensor totals = empty({rows}, DType::f64, x.device());
  dispatch_float("row_totals", x.dtype(), [&]<class T>() {
    launch_rows(x.device(), rows, length, RowTotal<T>{x.data<T>(), length, totals.data_mut<double>()});
  });
  return totals;
}

bool is_zero(const Tensor& total) { return find_first(total.device(), 1, IsZero{total.data<double>()}) == 0; }

bool has_no_mass(const Tensor& a) { return is_zero(row_totals(a, a.numel())); }

Tensor log_masses(const Tensor& mass, DType dtype) {
  Tensor y = empty(mass.shape(), dtype, mass.device());
  dispatch_float("log_masses", mass.dtype(), [&]<class T>() {
    dispatch_float("log_masses", dtype, [&]<class To>() {
      launch(mass.device(), mass.numel(), LogMass<T, To>{mass.data<T>(), y.data_mut<To>()});
    });
  });
  return y;
}

void check_masses(const char* op, const char* what, const Tensor& x, Index length, const Tensor& wanted) {
  dispatch_float(op, x.dtype(), [&]<class T>() {
    const Index i = find_first(x.device(), x.numel(), NoMass<T>{x.data<T>()});
    if (i < 0) return;
    fail(op, std::string(what) + " must be finite and >= 0, got " + std::to_string(value_at(x, i)) + " at [" +
                 std::to_string(i) + "] of " + x.describe());
  });
  const Tensor totals = row_totals(x, length);
  const Index r = find_first(x.device(), totals.numel(), OtherTotal{totals.data<double>(), wanted.data<double>()});
  if (r < 0) return;
  std::ostringstream text;
  text.precision(9);
  text << what << " " << x.describe() << (x.rank() > 1 ? " row " + std::to_string(r) : "") << " has the mass "
       << value_at(totals, r) << " where " << value_at(wanted, 0) << " is to be moved; divide each side by its sum";
  fail(op, text.str());
}

void check_finite_costs(const char* op, const Tensor& cost) {
  dispatch_float(op, cost.dtype(), [&]<class T>() {
    const Index i = find_first(cost.device(), cost.numel(), NotFinite<T>{cost.data<T>()});
    if (i < 0) return;
    fail(op, "costs must be finite, " + cost.describe() + " has " + std::to_string(value_at(cost, i)) +
                 "; forbid a pair by a large cost");
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
  const Tensor total = row_totals(a, a.numel());
  check_masses(op, "a", a, a.numel(), total);
  check_masses(op, "b", b, b.numel(), total);
  check_finite_costs(op, cost);
}

}  // namespace gradus
