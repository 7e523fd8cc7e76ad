#include "losses/transport/sinkhorn.h"

#include <algorithm>
#include <cmath>

#include "losses/transport/problem.h"
#include "losses/transport/sinkhorn_core.h"
#include "losses/transport/sinkhorn_device.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// ---- as the derivation starts: the steps on the tape

struct Potentials {
  Tensor phi, gamma, s;  // [n,1], [m], [n,m], in units of epsilon
  Tensor plan() const { return exp(phi + gamma - s); }
};

Potentials definition(const Tensor& log_a, const Tensor& log_b, const Tensor& cost, const SinkhornOptions& o) {
  const Index n = cost.size(0), m = cost.size(1);
  Potentials at{zeros({n, 1}, cost.dtype(), cost.device()), zeros({m}, cost.dtype(), cost.device()), cost / o.epsilon};
  const auto row_step = [&] { at.phi = log_a.reshape({n, 1}) - logsumexp(at.gamma - at.s, 1, true); };
  const auto column_step = [&] { at.gamma = log_b - logsumexp(at.phi - at.s, 0); };
  for (Index k = 0; k < o.iterations; ++k) {
    if (o.first == First::column) column_step();
    row_step();
    if (o.first == First::row) column_step();
  }
  return at;
}

Tensor log_of(const Tensor& mass) { return log_masses(mass, mass.dtype()); }

// ---- as the derivation ends: one node for all iterations of all problems

// y_r = <P_r, C>,  P_r the plan after the last iteration
// dy_r/dC = P_r (1 - C / eps) + the chain rule through the steps;  dy_r/dlog a = sums of what arrives at phi
struct Sinkhorn final : Op {
  SinkhornOptions o;
  std::vector<double, PoolAllocator<double>> history;  // [N][iterations][n + m] potentials in units of epsilon
  Tensor set;                                          // the same on a GPU
  explicit Sinkhorn(const SinkhornOptions& options) : o(options) {}
  const char* name() const override { return "sinkhorn"; }

  // Problems that f32 has no room for are solved in f64.
  struct Problems {
    Numbers a, b;
    Tensor cost, wide;
    Index N, n, m;
    double epsilon;
    int first;
    std::vector<char> narrow;
    Problems(In in, const SinkhornOptions& o)
        : a(in[0].to_vector()),
          b(in[1].to_vector()),
          cost(in[2]),
          N(in[0].size(0)),
          n(cost.size(0)),
          m(cost.size(1)),
          epsilon(o.epsilon),
          first(o.first == First::column),
          narrow(std::size_t(N), 0) {
      bool all = cost.dtype() == DType::f32;
      for (Index r = 0; r < N && cost.dtype() == DType::f32; ++r) {
        narrow[std::size_t(r)] = fits_f32(a.data() + r * n, n) && fits_f32(b.data() + r * m, m);
        all = all && narrow[std::size_t(r)];
      }
      if (!all) wide = cost.detach().to(DType::f64);
    }
    template <class F> void with(Index r, const F& f) const {
      const double *log_a = a.data() + r * n, *log_b = b.data() + r * m;
      if (narrow[std::size_t(r)]) {
        f(SinkhornProblem<float>{n, m, cost.data<float>(), epsilon, log_a, log_b, first});
      } else {
        f(SinkhornProblem<double>{n, m, wide.data<double>(), epsilon, log_a, log_b, first});
      }
    }
  };

  SinkhornOnDevice on_device(In in) const {
    return {in[0], in[1], in[2].detach(), o.epsilon, o.first == First::column};
  }

  Tensor forward(In in) override {
    if (!in[2].device().is_cpu()) {
      const SinkhornOnDevice solver = on_device(in);
      set = solver.room(o.iterations);
      for (Index k = 0; k < o.iterations; ++k) solver.iterate(set, k);
      return solver.price(set, o.iterations - 1).to(in[2].dtype());
    }
    const Problems problems(in, o);
    const Index n = problems.n, m = problems.m, K = o.iterations;
    history.resize(std::size_t(problems.N * K * (n + m)));
    Numbers price(std::size_t(problems.N));
    parallel_for(problems.N, 1, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) {
        problems.with(r, [&]<class T>(const SinkhornProblem<T>& p) {
          SinkhornRun<T> run(p);
          for (Index k = 0; k < K; ++k) {
            run.iterate();
            double* to = history.data() + (r * K + k) * (n + m);
            std::copy(run.phi().begin(), run.phi().end(), to);
            std::copy(run.gamma().begin(), run.gamma().end(), to + n);
          }
          price[std::size_t(r)] = run.price();
        });
      }
    });
    return tensor(price, {problems.N}, in[2].dtype(), in[2].device());
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!in[2].device().is_cpu()) return on_device(in).back(set, dy, dx);
    const Problems problems(in, o);
    const Index n = problems.n, m = problems.m, N = problems.N, stride = o.iterations * (n + m);
    const Numbers upstream = dy.to_vector();
    const auto sums = [&](int i) { return dx.wants(i) ? zeros(in[i].shape(), DType::f64, in[i].device()) : Tensor(); };
    Tensor gradients[3] = {sums(0), sums(1), sums(2)};  // in f64: C's is a sum over all problems
    double* to[3] = {};
    for (int i = 0; i < 3; ++i) to[i] = gradients[i] ? gradients[i].data_mut<double>() : nullptr;
    // The problems share dC: then they go one after the other, each on all threads.
    parallel_for(N, dx.wants(2) ? N : 1, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) {
        problems.with(r, [&]<class T>(const SinkhornProblem<T>& p) {
          sinkhorn_back(p, o.iterations, history.data() + r * stride, upstream[std::size_t(r)], to[2],
                        to[0] ? to[0] + r * n : nullptr, to[1] ? to[1] + r * m : nullptr);
        });
      }
    });
    for (int i = 0; i < 3; ++i) {
      if (to[i]) add_numbers(dx.into(i), to[i]);
    }
  }
};

// One problem, of masses.
SinkhornOnDevice on_device(const Tensor& a, const Tensor& b, const Tensor& cost, const SinkhornOptions& o) {
  return {log_masses(a, DType::f64), log_masses(b, DType::f64), cost.detach(), o.epsilon, o.first == First::column};
}

// y = <P, C> + eps sum P log(P / (a b^T)) = eps (sum_i (P 1)_i (phi_i - log a_i) + sum_j (P^T 1)_j (gamma_j - log b_j))
// dy/dC = P
struct SinkhornRegularised final : Op {
  SinkhornOptions o;
  Tensor plan;  // [n,m]
  explicit SinkhornRegularised(const SinkhornOptions& options) : o(options) {}
  const char* name() const override { return "sinkhorn_regularised"; }
  Keep keep() const override { return Keep::nothing; }

  Tensor forward(In in) override {
    if (!in[2].device().is_cpu()) {
      const SinkhornOnDevice solver = on_device(in[0], in[1], in[2], o);
      const Tensor set = solver.run(o.iterations);
      plan = solver.plan(set, 0, in[2].dtype());
      return solver.regularised(set, 0).to(in[2].dtype()).untaped_view({});
    }
    SinkhornSolver solved(in[0], in[1], in[2], o.epsilon, o.first == First::column);
    for (Index k = 0; k < o.iterations; ++k) solved.run.iterate();
    const Numbers P = solved.plan();
    const Marginals sums(P, solved.problem.n, solved.problem.m);
    double value = 0;
    const auto add = [&](const Numbers& mass, const Numbers& potential, const Numbers& log_mass) {
      for (std::size_t i = 0; i < mass.size(); ++i) value += mass[i] > 0 ? mass[i] * (potential[i] - log_mass[i]) : 0;
    };
    add(sums.rows, solved.run.phi(), solved.log_a);
    add(sums.columns, solved.run.gamma(), solved.log_b);
    plan = tensor(P, in[2].shape(), in[2].dtype(), in[2].device());
    return scalar(o.epsilon * value, in[2].dtype(), in[2].device());
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    if (dx.wants(2)) dx.add(2, plan * dy);
  }
};

// ---- the public functions

}  // namespace

Tensor sinkhorn_rows(At log_a, const Tensor& log_b, const Tensor& cost, SinkhornOptions o) {
  constexpr auto op = "sinkhorn_rows";
  check_sinkhorn_options(op, o.epsilon, o.iterations);
  if (!log_a.tensor || !log_b || !cost) fail(op, "needs log_a, log_b and a cost; one of them is undefined");
  check_same_kind(op, log_a, cost);
  check_same_kind(op, log_b, cost);
  if (log_a->rank() != 2 || log_b.rank() != 2 || log_a->size(0) != log_b.size(0) ||
      cost.shape() != Shape{log_a->size(1), log_b.size(1)} || cost.numel() == 0) {
    fail(op, "needs log_a [N,n], log_b [N,m] and cost [n,m] with n, m >= 1, got " + log_a->describe() + ", " +
                 log_b.describe() + ", " + cost.describe());
  }
  check_finite_costs(op, cost);
  if (o.form == Form::closed || log_a->size(0) == 0) return apply(Sinkhorn(o), log_a, log_b, cost);
  std::vector<Tensor> values;
  for (Index r = 0; r < log_a->size(0); ++r) {
    values.push_back(sum(definition(log_a.tensor[r], log_b[r], cost, o).plan() * cost));
  }
  return stack(values, 0, log_a.line);
}

Tensor sinkhorn(const Tensor& a, const Tensor& b, At cost, SinkhornOptions o) {
  check_sinkhorn_options("sinkhorn", o.epsilon, o.iterations);
  check_transport("sinkhorn", a, b, cost);
  if (has_no_mass(a)) return 0.0 * sum(cost);
  if (o.form == Form::definition) return sum(definition(log_of(a), log_of(b), cost, o).plan() * cost);
  // One problem: the masses' logarithms in f64 would be lost in an f32 tensor, and need not be one.
  const Tensor log_a = log_masses(a, DType::f64), log_b = log_masses(b, DType::f64);
  const Index n = a.numel(), m = b.numel();
  return apply(Sinkhorn(o), At(log_a.untaped_view({1, n}), cost.line), log_b.untaped_view({1, m}), cost.tensor)
      .reshape(Shape{}, cost.line);
}

Tensor sinkhorn_plan(const Tensor& a, const Tensor& b, At cost, SinkhornOptions o) {
  check_sinkhorn_options("sinkhorn_plan", o.epsilon, o.iterations);
  check_transport("sinkhorn_plan", a, b, cost);
  if (has_no_mass(a)) return zeros(cost->shape(), cost->dtype(), cost->device());
  if (o.form == Form::definition) return definition(log_of(a), log_of(b), cost->detach(), o).plan();
  if (!cost->device().is_cpu()) {
    const SinkhornOnDevice solver = on_device(a, b, cost, o);
    return solver.plan(solver.run(o.iterations), 0, cost->dtype());
  }
  SinkhornSolver solved(a, b, cost, o.epsilon, o.first == First::column);
  for (Index k = 0; k < o.iterations; ++k) solved.run.iterate();
  return tensor(solved.plan(), cost->shape(), cost->dtype(), cost->device());
}

Tensor sinkhorn_regularised(const Tensor& a, const Tensor& b, At cost, SinkhornOptions o) {
  check_sinkhorn_options("sinkhorn_regularised", o.epsilon, o.iterations);
  check_transport("sinkhorn_regularised", a, b, cost);
  if (has_no_mass(a)) return 0.0 * sum(cost);
  if (o.form == Form::closed) return apply(SinkhornRegularised(o), At(a.detach(), cost.line), b.detach(), cost.tensor);
  const Potentials at = definition(log_of(a), log_of(b), cost, o);
  const Tensor P = at.plan(), product = a.detach().reshape({a.numel(), 1}) * b.detach();  // [n,m]
  const Tensor none = equal(product, zeros({}, product.dtype(), product.device()));       // 0 log 0 = 0
  const Tensor ratio = masked_fill(P, none, 1) / masked_fill(product, none, 1);
  return sum(P * cost) + o.epsilon * sum(P * log(ratio));
}

}  // namespace gradus
