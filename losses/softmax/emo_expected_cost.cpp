#include "losses/softmax/emo_expected_cost.h"

#include "losses/softmax/divergence_rows.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// ---- as the derivation starts

Tensor definition(const Tensor& logits, const Tensor& cost) { return sum(softmax(logits) * cost, {1}); }

// ---- as the derivation ends: one node

// L = sum_i p_i c_i
template <class T> struct ExpectedCostValue {
  LogitRows<T> softmax;
  const std::uint8_t* ignored;  // [N] or null
  const T* cost;
  T* y;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    T s = 0;
    if (!ignored || !ignored[r]) {
      const LogitRow<T> p = softmax.fit(r, team);
      const T* c = cost + r * softmax.classes;
      s = team.template sum<T>(softmax.classes, [=](Index i) { return vmath::exp(p.log_at(i)) * c[i]; });
    }
    if (team.leads()) y[r] = s;
  }
};

// dL/dz_j = p_j (c_j - L) = a_j - p_j sum_i a_i,  a_i = p_i c_i
template <class T> struct ExpectedCostLogits {
  LogitRows<T> softmax;
  const std::uint8_t* ignored;
  const T *dy, *cost;
  T* dz;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    if (ignored && ignored[r]) return;
    const LogitRow<T> p = softmax.row(r);
    const T* c = cost + r * softmax.classes;
    pull_to_logits(
        team, softmax.classes, p, dy[r], [=](Index i) { return vmath::exp(p.log_at(i)) * c[i]; },
        dz + r * softmax.classes);
  }
};

// dL/dc_j = p_j
template <class T> struct ExpectedCostCosts {
  LogitRows<T> softmax;
  const std::uint8_t* ignored;
  const T* dy;
  T* dc;
  HD void operator()(Index r, Index j) const {
    if (!ignored || !ignored[r]) dc[r * softmax.classes + j] += dy[r] * vmath::exp(softmax.row(r).log_at(j));
  }
};

// in: logits, costs, ignored u8 [N,1] or undefined
struct ExpectedCost final : Op {
  SoftmaxRows p;
  const char* name() const override { return "expected_cost"; }
  static const std::uint8_t* ignored(In in) { return in[2] ? in[2].data<std::uint8_t>() : nullptr; }

  Tensor forward(In in) override {
    const Tensor& z = in[0];
    Tensor y = empty({z.size(0)}, z.dtype(), z.device());
    p.make(z);
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(z.device(), z.size(0), z.size(1),
                  ExpectedCostValue<T>{p.of<T>(z), ignored(in), in[1].data<T>(), y.template data_mut<T>()});
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& z = in[0];
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      const LogitRows<T> softmax = p.of<T>(z);
      const T *g = dy.data<T>(), *cost = in[1].data<T>();
      if (dx.wants(0)) {
        T* to = dx.into(0).template data_mut<T>();
        launch_rows(z.device(), z.size(0), z.size(1), ExpectedCostLogits<T>{softmax, ignored(in), g, cost, to});
      }
      if (dx.wants(1)) {
        T* to = dx.into(1).template data_mut<T>();
        launch_grid(z.device(), z.size(0), z.size(1), ExpectedCostCosts<T>{softmax, ignored(in), g, to});
      }
    });
  }
};

}  // namespace

Tensor expected_cost_rows(At logits, const Tensor& cost, const Tensor& ignored) {
  return apply(ExpectedCost(), logits, cost, ignored);
}

Tensor expected_cost(At logits, const Tensor& cost, ExpectedCostOptions o) {
  check_rows("expected_cost", logits, cost, "costs");
  const Tensor rows = o.form == Form::definition ? definition(logits, cost) : expected_cost_rows(logits, cost, {});
  return reduce_rows(At(rows, logits.line), o.reduction, double(logits->size(0)));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto costs = [&](Index N, Index C) {
    return Inputs{{"logits", 2 * randn({N, C}, rng, DType::f64)}, {"cost", randn({N, C}, rng, DType::f64)}};
  };
  return {
      {"four classes", costs(5, 4)},
      {"two classes, none", costs(3, 2), {{"reduction", "none"}}},
      {"seven classes, sum", costs(2, 7), {{"reduction", "sum"}}},
      {"no rows", costs(0, 3)},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, 0, 60, 0}, {2, 3}, DType::f64)},
                  {"cost", tensor({1, 0, 2, 1, 0, 1}, {2, 3}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
  };
}

}  // namespace

Losses emo_expected_cost_losses() {
  return {{.name = "expected_cost",
           .family = Family::softmax,
           .formula = "sum_i p_i c_i, p = softmax(z)",
           .seeds = "A044",
           .task = "classification with a price for each mistake",
           .inputs = {{"logits", "[N,C]"}, {"cost", "[N,C]"}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return expected_cost(a["logits"], a["cost"], {.reduction = a.reduction(), .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
