#include "losses/transport/sinkhorn_fit.h"

#include <algorithm>

#include "losses/transport/problem.h"
#include "ops/elementwise.h"

namespace gradus {
namespace {

// What one step leaves to the next, on the device.
struct Scalars {
  double start, before, stopped;  // z.residual at the first step and at the last; 0 or 1
};

template <class T> struct Priced {
  const double* P;
  const T* cost;
  double scale;
  Index n, m;
  double *out, *transposed;
  HD void operator()(Index i, Index j) const {
    const double x = P[i * m + j] * (double(cost[i * m + j]) * scale);
    out[i * m + j] = x;
    transposed[j * n + i] = x;
  }
};

struct Quotient {
  const double *x, *by;
  double* out;
  HD void operator()(Index i) const { out[i] = by[i] > 0 ? x[i] / by[i] : 0.0; }
};

// out_i = (K x)_i / by_i, 0 where by_i is 0; or (minus_i - (K x)_i) / by_i
struct DividedProduct {
  const double *K, *x, *minus, *by;
  Index width;
  double* out;
  template <class Team> HD void operator()(Index i, Team team) const {
    const double *row = K + i * width, *v = x;
    const double sum = team.template sum<double>(width, [=](Index j) { return row[j] * v[j]; });
    if (team.leads()) out[i] = by[i] > 0 ? (minus ? minus[i] - sum : sum) / by[i] : 0.0;
  }
};

// out_j = a_j b_j - (K x)_j; b null: 1
struct Difference {
  const double *K, *x, *a, *b;
  Index width;
  double* out;
  template <class Team> HD void operator()(Index j, Team team) const {
    const double *row = K + j * width, *v = x;
    const double sum = team.template sum<double>(width, [=](Index i) { return row[i] * v[i]; });
    if (team.leads()) out[j] = a[j] * (b ? b[j] : 1.0) - sum;
  }
};

// z = residual / c - drift, direction = z + (z.residual / the one before) direction
struct Direct {
  const double *residual, *c;
  Index m;
  double* direction;
  Scalars* scalars;
  template <class Team> HD void operator()(Index, Team team) const {
    const double *r = residual, *weight = c;
    double* d = direction;
    const Scalars s = *scalars;
    // Rounding brings in some of the null vector 1, which would grow: it is taken out.
    const double all = team.template sum<double>(m, [=](Index j) { return weight[j]; });
    const double drift = team.template sum<double>(m, [=](Index j) { return r[j]; }) / all;
    const auto z = [=](Index j) { return weight[j] > 0 ? r[j] / weight[j] - drift : 0.0; };
    const double now = team.template sum<double>(m, [=](Index j) { return z(j) * r[j]; });
    const double start = s.before == 0 ? now : s.start, turn = s.before > 0 ? now / s.before : 0.0;
    const bool stop = s.stopped != 0 || !(now > 1e-30 * start);
    if (!stop) team.each(m, [=](Index j) { d[j] = z(j) + turn * d[j]; });
    team.sync();  // all have read what the leader writes
    if (team.leads()) *scalars = {start, stop ? s.before : now, stop ? 1.0 : 0.0};
  }
};

struct Move {
  const double *direction, *image;
  Index m;
  double *beta, *residual;
  Scalars* scalars;
  template <class Team> HD void operator()(Index, Team team) const {
    const double *d = direction, *q = image;
    double *b = beta, *r = residual;
    const Scalars s = *scalars;
    const double curvature = team.template sum<double>(m, [=](Index j) { return d[j] * q[j]; });
    const bool stop = s.stopped != 0 || !(curvature > 0);
    const double step = stop ? 0.0 : s.before / curvature;
    if (!stop) {
      team.each(m, [=](Index j) {
        b[j] += step * d[j];
        r[j] -= step * q[j];
      });
    }
    team.sync();
    if (team.leads()) *scalars = {s.start, s.before, stop ? 1.0 : 0.0};
  }
};

template <class T, class G> struct FittedGradient {
  const double *P, *alpha, *beta;
  const T* cost;
  const G* dy;
  double scale;
  Index m;
  double* out;
  HD void operator()(Index i, Index j) const {
    const double s = double(cost[i * m + j]) * scale;
    out[i * m + j] = P[i * m + j] * (double(*dy) * (1 + (alpha[i] + beta[j] - s)));
  }
};

struct Stopped {
  const Scalars* scalars;
  HD bool operator()(Index) const { return scalars->stopped != 0; }
};

}  // namespace

Tensor implicit_cost_gradient(const Tensor& plan, const Tensor& transposed, const Tensor& cost, double epsilon,
                              const Tensor& dy) {
  Device& device = plan.device();
  const Index n = plan.size(0), m = plan.size(1);
  const auto vector = [&](Index size) { return zeros({size}, DType::f64, device); };
  const double *P = plan.data<double>(), *Pt = transposed.data<double>();
  const Tensor r = row_totals(plan, m), c = row_totals(transposed, n);
  Tensor prices = empty({n, m}, DType::f64, device), crossed = empty({m, n}, DType::f64, device);
  dispatch_float("sinkhorn_implicit", cost.dtype(), [&]<class T>() {
    launch_grid(device, n, m,
                Priced<T>{P, cost.data<T>(), 1 / epsilon, n, m, prices.data_mut<double>(), crossed.data_mut<double>()});
  });
  const Tensor down_wanted = row_totals(prices, m), across_wanted = row_totals(crossed, n);
  // alpha is eliminated:  (diag c - P^T diag(1/r) P) beta = across - P^T (down / r), preconditioned by c.
  Tensor down = vector(n), residual = vector(m), beta = vector(m), direction = vector(m), image = vector(m);
  Tensor numbers = zeros({Index(sizeof(Scalars) / sizeof(double))}, DType::f64, device);
  auto* scalars = reinterpret_cast<Scalars*>(numbers.data_mut<double>());
  const double *by_row = r.data<double>(), *by_column = c.data<double>(), *mean = down.data<double>();
  double *to_down = down.data_mut<double>(), *d = direction.data_mut<double>(), *to_image = image.data_mut<double>();
  launch(device, n, Quotient{down_wanted.data<double>(), by_row, to_down});
  launch_rows(device, m, n,
              Difference{Pt, mean, across_wanted.data<double>(), nullptr, n, residual.data_mut<double>()});
  const Index most = 4 * m + 20, glance = 16;  // whether it has stopped is read back once in a while
  for (Index step = 0; step < most; ++step) {
    if (step % glance == glance - 1 && find_first(device, 1, Stopped{scalars}) == 0) break;
    launch_rows(device, 1, m, Direct{residual.data<double>(), by_column, m, d, scalars});
    launch_rows(device, n, m, DividedProduct{P, d, nullptr, by_row, m, to_down});
    launch_rows(device, m, n, Difference{Pt, mean, by_column, d, n, to_image});
    launch_rows(device, 1, m, Move{d, to_image, m, beta.data_mut<double>(), residual.data_mut<double>(), scalars});
  }
  Tensor alpha = vector(n), out = empty({n, m}, DType::f64, device);
  launch_rows(device, n, m,
              DividedProduct{P, beta.data<double>(), down_wanted.data<double>(), by_row, m, alpha.data_mut<double>()});
  dispatch_float("sinkhorn_implicit", cost.dtype(), [&]<class T>() {
    dispatch_float("sinkhorn_implicit", dy.dtype(), [&]<class G>() {
      launch_grid(device, n, m,
                  FittedGradient<T, G>{P, alpha.data<double>(), beta.data<double>(), cost.data<T>(), dy.data<G>(),
                                       1 / epsilon, m, out.data_mut<double>()});
    });
  });
  return out;
}

}  // namespace gradus
