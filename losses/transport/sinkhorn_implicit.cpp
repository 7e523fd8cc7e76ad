// sinkhorn_implicit of sinkhorn.h: the limit of the iterations, and its gradient by the implicit function theorem.
#include <cmath>

#include "losses/transport/problem.h"
#include "losses/transport/sinkhorn.h"
#include "losses/transport/sinkhorn_core.h"
#include "losses/transport/sinkhorn_device.h"
#include "losses/transport/sinkhorn_fit.h"
#include "ops/arithmetic.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

// Solves   r_i alpha_i + sum_j P_ij beta_j = (P s) 1_i,   sum_i P_ij alpha_i + c_j beta_j = (P s)^T 1_j
// (P s elementwise), with r = P 1, c = P^T 1. alpha is eliminated; conjugate gradients, preconditioned by c, solve
//   (diag c - P^T diag(1/r) P) beta = (P s)^T 1 - P^T (P s) 1 / r
// whose null vector 1 is orthogonal to the right side.
struct Fit {
  Numbers alpha, beta;
  Fit(const Numbers& P, const Numbers& s, Index n, Index m) : alpha(std::size_t(n)), beta(std::size_t(m), 0.0) {
    const Marginals sums(P, n, m);
    Numbers prices(P.size()), down(std::size_t(n), 0.0), across(std::size_t(m), 0.0);
    for (std::size_t k = 0; k < P.size(); ++k) prices[k] = P[k] * s[k];
    const Marginals wanted(prices, n, m);
    const auto over_rows = [&](Numbers& x) {  // x / r
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = sums.rows[i] > 0 ? x[i] / sums.rows[i] : 0.0;
    };
    down = wanted.rows;
    over_rows(down);
    kernel_times(P, n, m, 1, down.data(), across.data());
    Numbers residual(across.size()), z(across.size()), direction(across.size(), 0.0), image(across.size());
    for (std::size_t j = 0; j < residual.size(); ++j) residual[j] = wanted.columns[j] - across[j];
    double before = 0, start = 0;
    for (Index step = 0; step < 4 * m + 20; ++step) {
      // Rounding brings in some of the null vector, which would grow: it is taken out.
      const double drift = total_of(residual) / total_of(sums.columns);
      double now = 0;
      for (std::size_t j = 0; j < z.size(); ++j) {
        z[j] = sums.columns[j] > 0 ? residual[j] / sums.columns[j] - drift : 0.0;
        now += z[j] * residual[j];
      }
      if (step == 0) start = now;
      if (!(now > 1e-30 * start)) break;
      for (std::size_t j = 0; j < z.size(); ++j) direction[j] = z[j] + (before > 0 ? now / before : 0) * direction[j];
      kernel_times(P, n, m, 0, direction.data(), down.data());
      over_rows(down);
      kernel_times(P, n, m, 1, down.data(), image.data());
      double curvature = 0;
      for (std::size_t j = 0; j < z.size(); ++j) {
        image[j] = sums.columns[j] * direction[j] - image[j];
        curvature += direction[j] * image[j];
      }
      if (!(curvature > 0)) break;
      for (std::size_t j = 0; j < z.size(); ++j) {
        beta[j] += now / curvature * direction[j];
        residual[j] -= now / curvature * image[j];
      }
      before = now;
    }
    kernel_times(P, n, m, 0, beta.data(), alpha.data());
    for (std::size_t i = 0; i < alpha.size(); ++i) alpha[i] = wanted.rows[i] - alpha[i];
    over_rows(alpha);
  }
};

// ---- on a GPU: errors are read back once for `glance` iterations, and that of them is taken which stopped

// sum_i mass_i |e^{old - new} - 1|: before a row step moves phi_i, e^{old - new} is its row sum over a_i
struct MarginalError {
  const double *mass, *old, *now;
  Index n;
  double* error;
  template <class Team> HD void operator()(Index, Team team) const {
    const double *a = mass, *before = old, *after = now;
    const double sum = team.template sum<double>(
        n, [=](Index i) { return a[i] > 0 ? a[i] * std::abs(vmath::expm1(before[i] - after[i])) : 0.0; });
    if (team.leads()) *error = sum;
  }
};

struct Converged {
  Tensor set;  // glance iterations' potentials
  Index slot;  // the one
};

Converged converge(const SinkhornOnDevice& solver, const Tensor& a, const SinkhornImplicitOptions& o) {
  constexpr Index glance = 16;
  const Index n = a.numel();
  const Tensor mass = a.detach().to(DType::f64);
  const double total = row_totals(a, n).item();
  Tensor errors = zeros({glance}, DType::f64, a.device());
  Converged at{solver.room(glance), 0};
  const Index places = at.set.size(2);
  for (Index k = 0; k < o.iterations; ++k) {
    at.slot = k % glance;
    solver.iterate(at.set, k);
    if (k > 0) {
      const double* sets = at.set.data<double>();
      launch_rows(a.device(), 1, n,
                  MarginalError{mass.data<double>(), sets + (k - 1) % glance * places, sets + at.slot * places, n,
                                errors.data_mut<double>() + at.slot});
    }
    if (at.slot + 1 < glance && k + 1 < o.iterations) continue;
    const std::vector<double> seen = errors.to_vector();
    for (Index slot = k < glance ? 1 : 0; slot <= at.slot; ++slot) {
      if (seen[std::size_t(slot)] <= o.tolerance * total) return {at.set, slot};
    }
  }
  return at;
}

// y = <P, C>,  P the limit of the iterations
// dy/dC_ij = P_ij (1 + (alpha_i + beta_j - C_ij) / eps)
struct SinkhornImplicit final : Op {
  SinkhornImplicitOptions o;
  Numbers phi, gamma;
  Converged limit;  // on a GPU
  explicit SinkhornImplicit(const SinkhornImplicitOptions& options) : o(options) {}
  const char* name() const override { return "sinkhorn_implicit"; }

  SinkhornOnDevice on_device(In in) const {
    return {log_masses(in[0], DType::f64), log_masses(in[1], DType::f64), in[2].detach(), o.epsilon, 0};
  }

  Tensor forward(In in) override {
    if (!in[2].device().is_cpu()) {
      const SinkhornOnDevice solver = on_device(in);
      limit = converge(solver, in[0], o);
      return solver.price(limit.set, limit.slot).to(in[2].dtype()).untaped_view({});
    }
    SinkhornSolver solved(in[0], in[1], in[2], o.epsilon, 0);
    // Before a row step moves phi_i, e^{old - new} is its row sum over a_i: the error costs nothing to know.
    const Numbers mass = in[0].to_vector();
    const double total = total_of(mass);
    Numbers old;
    for (Index k = 0; k < o.iterations; ++k) {
      old = solved.run.phi();
      solved.run.iterate();
      double error = 0;
      for (std::size_t i = 0; i < mass.size(); ++i) {
        if (mass[i] > 0) error += mass[i] * std::abs(std::expm1(old[i] - solved.run.phi()[i]));
      }
      if (k > 0 && error <= o.tolerance * total) break;
    }
    phi = solved.run.phi();
    gamma = solved.run.gamma();
    return scalar(solved.run.price(), in[2].dtype(), in[2].device());
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!dx.wants(2)) return;
    if (!in[2].device().is_cpu()) {
      const SinkhornOnDevice solver = on_device(in);
      const Tensor P = solver.plan(limit.set, limit.slot, DType::f64);
      const Tensor transposed = solver.plan(limit.set, limit.slot, DType::f64, true);
      return add_rounded(dx.into(2), implicit_cost_gradient(P, transposed, in[2], o.epsilon, dy));
    }
    const Numbers cost = in[2].to_vector();
    const Index n = in[2].size(0), m = in[2].size(1);
    Numbers d(cost.size()), s(cost);  // P, C / eps
    const SinkhornProblem<double> problem{n, m, cost.data(), o.epsilon, nullptr, nullptr};
    sinkhorn_plan_into(problem, phi.data(), gamma.data(), d.data());
    for (double& v : s) v /= o.epsilon;
    const Fit fit(d, s, n, m);
    const double g = dy.item();
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < m; ++j) {
        const std::size_t k = std::size_t(i * m + j);
        d[k] *= g * (1 + (fit.alpha[std::size_t(i)] + fit.beta[std::size_t(j)] - s[k]));
      }
    }
    add_numbers(dx.into(2), d.data());
  }
};

}  // namespace

Tensor sinkhorn_implicit(const Tensor& a, const Tensor& b, At cost, SinkhornImplicitOptions o) {
  check_sinkhorn_options("sinkhorn_implicit", o.epsilon, o.iterations);
  if (!(o.tolerance >= 0)) fail("sinkhorn_implicit", "tolerance must be >= 0, got " + std::to_string(o.tolerance));
  check_transport("sinkhorn_implicit", a, b, cost);
  if (has_no_mass(a)) return 0.0 * sum(cost);
  if (o.form == Form::closed) return apply(SinkhornImplicit(o), At(a.detach(), cost.line), b.detach(), cost.tensor);
  return sinkhorn(a, b, cost, {.epsilon = o.epsilon, .iterations = o.iterations, .form = Form::definition});
}

}  // namespace gradus
