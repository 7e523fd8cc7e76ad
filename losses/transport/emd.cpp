#include "losses/transport/emd.h"

#include <algorithm>
#include <cmath>

#include "engine/tape.h"
#include "losses/transport/problem.h"
#include "losses/transport/simplex.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

using Numbers = std::vector<double>;

// Read on the CPU: the masses and costs as doubles, b scaled to the total of a.
struct Problem {
  std::size_t n, m;
  Numbers a, b, cost;
  Problem(const Tensor& from, const Tensor& to, const Tensor& C)
      : n(std::size_t(from.numel())),
        m(std::size_t(to.numel())),
        a(from.to_vector()),
        b(to.to_vector()),
        cost(C.to_vector()) {
    const double total = total_of(b), scale = total > 0 ? total_of(a) / total : 1;
    for (double& x : b) x *= scale;
  }
};

// ---- as the definition says: a linear program. One constraint follows from the others and is left out.

Numbers plan_by_simplex(const Problem& p) {
  std::vector<Numbers> A(p.n + p.m - 1, Numbers(p.n * p.m, 0.0));
  for (std::size_t i = 0; i < p.n; ++i) {
    for (std::size_t j = 0; j < p.m; ++j) {
      A[i][i * p.m + j] = 1;
      if (j + 1 < p.m) A[p.n + j][i * p.m + j] = 1;
    }
  }
  Numbers sums = p.a;
  sums.insert(sums.end(), p.b.begin(), p.b.end() - 1);
  return simplex(std::move(A), sums, p.cost);
}

// ---- as the derivation ends: shortest paths in residual costs

class ShortestPaths {
 public:
  explicit ShortestPaths(Problem problem)
      : p_(std::move(problem)), plan(p_.n * p_.m, 0.0), u_(p_.n, 0.0), v_(p_.m, 0.0) {
    // v_j = min_i C_ij makes all residual costs >= 0.
    for (std::size_t j = 0; j < p_.m; ++j) {
      v_[j] = p_.cost[j];
      for (std::size_t i = 1; i < p_.n; ++i) v_[j] = std::min(v_[j], p_.cost[i * p_.m + j]);
    }
    for (std::size_t i = 0; i < p_.n; ++i) {
      while (p_.a[i] > 0 && search(i)) augment(i);
    }
  }

 private:
  Problem p_;  // a and b: what is still to be moved

 public:
  Numbers plan;

 private:
  Numbers u_, v_, far_;                   // duals; distance of each column from the source
  std::vector<std::size_t> from_, back_;  // row before a column; column before a row, m: the source
  std::size_t sink_ = 0;

  // Dijkstra over columns. A row is reached from the source, or backwards along mass that it already sends.
  bool search(std::size_t source) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    far_.assign(p_.m, infinity);
    from_.assign(p_.m, source);
    back_.assign(p_.n, p_.m);
    std::vector<char> done(p_.m, 0), reached(p_.n, 0);
    Numbers row_far(p_.n, infinity);
    const auto relax = [&](std::size_t i, double distance) {
      reached[i] = 1;
      row_far[i] = distance;
      for (std::size_t j = 0; j < p_.m; ++j) {
        const double to = distance + std::max(0.0, p_.cost[i * p_.m + j] - u_[i] - v_[j]);
        if (!done[j] && to < far_[j]) far_[j] = to, from_[j] = i;
      }
    };
    relax(source, 0);
    for (;;) {
      std::size_t j = p_.m;
      for (std::size_t k = 0; k < p_.m; ++k) {
        if (!done[k] && far_[k] < infinity && (j == p_.m || far_[k] < far_[j])) j = k;
      }
      if (j == p_.m) return false;  // nothing wants mass any more: what is left is rounding
      done[j] = 1;
      if (p_.b[j] > 0) {
        sink_ = j;
        break;
      }
      for (std::size_t i = 0; i < p_.n; ++i) {
        if (reached[i] || !(plan[i * p_.m + j] > 0)) continue;
        back_[i] = j;
        relax(i, far_[j]);
      }
    }
    // u_i + D - d_i, v_j - D + d_j for what was reached keeps all residual costs >= 0, and 0 along the path.
    const double D = far_[sink_];
    for (std::size_t i = 0; i < p_.n; ++i) {
      if (reached[i]) u_[i] += D - row_far[i];
    }
    for (std::size_t j = 0; j < p_.m; ++j) {
      if (done[j]) v_[j] -= D - far_[j];
    }
    return true;
  }

  void augment(std::size_t source) {
    double amount = std::min(p_.a[source], p_.b[sink_]);
    for (std::size_t i = from_[sink_]; back_[i] != p_.m; i = from_[back_[i]]) {
      amount = std::min(amount, plan[i * p_.m + back_[i]]);
    }
    p_.a[source] -= amount;
    p_.b[sink_] -= amount;
    for (std::size_t j = sink_;;) {
      const std::size_t i = from_[j];
      plan[i * p_.m + j] += amount;
      j = back_[i];
      if (j == p_.m) break;
      plan[i * p_.m + j] -= amount;
    }
  }
};

Tensor best_plan(const Tensor& a, const Tensor& b, const Tensor& cost, Form form) {
  const Problem p(a, b, cost);
  return tensor(form == Form::definition ? plan_by_simplex(p) : ShortestPaths(p).plan, cost.shape(), cost.dtype(),
                cost.device());
}

// y = <P, C>, P the best plan
// dy/dC = P
struct Emd final : Op {
  Tensor plan;  // [n,m]
  const char* name() const override { return "emd"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    const Problem p(in[0], in[1], in[2]);
    const Numbers P = ShortestPaths(p).plan;
    plan = tensor(P, in[2].shape(), in[2].dtype(), in[2].device());
    double total = 0;
    for (std::size_t i = 0; i < P.size(); ++i) total += P[i] * p.cost[i];
    return scalar(total, in[2].dtype(), in[2].device());
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    if (dx.wants(2)) dx.add(2, plan * dy);
  }
};

}  // namespace

Tensor emd_plan(const Tensor& a, const Tensor& b, const Tensor& cost, EmdOptions o) {
  check_transport("emd_plan", a, b, cost);
  return best_plan(a, b, cost, o.form);
}

Tensor emd(const Tensor& a, const Tensor& b, At cost, EmdOptions o) {
  check_transport("emd", a, b, cost);
  if (o.form == Form::definition) return sum(At(best_plan(a, b, cost, o.form), cost.line) * cost);
  return apply(Emd{}, At(a.detach(), cost.line), b.detach(), cost.tensor);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> emd_samples(Rng& rng) {
  const auto mass = [&](Index n) {
    const Tensor x = rand({n}, rng, DType::f64) + 0.2;
    return x / sum(x);
  };
  const auto cost = [&](Index n, Index m) { return rand({n, m}, rng, DType::f64); };
  const Tensor with_zero = tensor({0.25, 0, 0.75}, DType::f64);
  return {
      {"5 onto 4", {{"a", mass(5)}, {"b", mass(4)}, {"cost", cost(5, 4)}}},
      {"3 onto 7", {{"a", mass(3)}, {"b", mass(7)}, {"cost", cost(3, 7)}}},
      {"costs of either sign", {{"a", mass(4)}, {"b", mass(6)}, {"cost", cost(4, 6) - 0.5}}},
      {"a mass of 0", {{"a", with_zero}, {"b", mass(4)}, {"cost", cost(3, 4)}}},
      {"one point onto three", {{"a", mass(1)}, {"b", mass(3)}, {"cost", cost(1, 3)}}},
      {"one point onto one", {{"a", mass(1)}, {"b", mass(1)}, {"cost", cost(1, 1)}}},
      {.what = "costs of 1e6 and 1e-6",
       .inputs = {{"a", mass(2)}, {"b", mass(3)}, {"cost", tensor({1e6, 1e-6, 1, 3, 1e6, 2e-6}, {2, 3}, DType::f64)}},
       .extreme = true},
  };
}

}  // namespace

Losses emd_losses() {
  return {{.name = "emd",
           .family = Family::transport,
           .formula = "min_P <P,C>, P 1 = a, P^T 1 = b",
           .seeds = "A040 A041 A043",
           .task = "the distance of two distributions when moving mass has a price",
           .inputs = {{"a", "[n]", Kind::constant}, {"b", "[m]", Kind::constant}, {"cost", "[n,m]"}},
           .options = {},
           .run = [](const Arguments& a) { return emd(a["a"], a["b"], a["cost"], {.form = a.form}); },
           .samples = emd_samples}};
}

}  // namespace gradus
