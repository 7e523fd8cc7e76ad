#include "losses/logsumexp/nm.h"

#include <cmath>

#include "losses/logsumexp/log1p_sum_exp.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// ---- as the formulas read

Tensor from_values(const Tensor& f, const Tensor& t) { return sum(log1p(sum(t * exp(-f), {0}))); }

// sum_j log(1 + sum_i t_ij sum_{k != j} e^{s_ik - s_ij}), all pairs
Tensor all_pairs(const Tensor& s, const Tensor& t) {
  const Index m = s.size(1);
  const Tensor at = arange(m, DType::i64, s.device());
  const Tensor gap = unsqueeze(s, 1) - unsqueeze(s, 2);                              // [n,m,m] s_ik - s_ij at [i,j,k]
  const Tensor same = equal(at.reshape({m, 1}), at);                                 // [m,m]
  const Tensor x = sum(exp(masked_fill(gap, same, -vmath::infinity<double>)), {2});  // [n,m]
  return sum(log1p(sum(t * x, {0})));
}

// s - mean s. What a row has in common is taken off first, or scores of 1e4 would leave it few digits in f32.
Tensor centred(const Tensor& s) {
  if (s.numel() == 0) return s;
  const Tensor near = s - max(s.detach(), 1, true);
  return near - mean(near, {1}, true);
}

// ---- columns: one node

template <class T> struct ColumnLoss {
  Index n, m;
  const T *f, *t;
  T *loss, *parts;  // [m], [m,2]: m and rest of L_j
  template <class Team> HD void operator()(Index j, Team team) const {
    const T *x = f + j, *w = t + j;
    const Index step = m;
    const LogSum<T> L = log1p_sum_exp<T>(
        team, n, [=](Index i) { return w[i * step]; }, [=](Index i) { return -x[i * step]; });
    if (team.leads()) {
      loss[j] = L.value();
      parts[2 * j] = L.m;
      parts[2 * j + 1] = L.rest;
    }
  }
};

template <class T, bool ToLabels> struct ColumnGradient {
  Index m;
  const T *dy, *f, *t, *parts;
  T* to;
  HD void operator()(Index i, Index j) const {
    constexpr T most = sizeof(T) == 4 ? T(88) : T(709);
    const LogSum<T> L{parts[2 * j], parts[2 * j + 1]};
    const T x = L.exponent(-f[i * m + j]), g = dy[j];
    const T v = ToLabels ? vmath::exp(x > most ? most : x) : -weighted_exp(t[i * m + j], x);
    to[i * m + j] += g == 0 ? T(0) : g * v;
  }
};

// in: f, t [n,m].  L_j = log(1 + sum_i t_ij e^{-f_ij})
// dL_j/df_ij = -t_ij e^{-f_ij - L_j}        dL_j/dt_ij = e^{-f_ij - L_j}, cut off at e^88 (f32) or e^709 (f64)
struct NmColumns final : Op {
  Tensor parts;  // [m,2], for the backward pass
  const char* name() const override { return "nm_columns"; }
  Tensor forward(In in) override {
    const Tensor& f = in[0];
    const Index n = f.size(0), m = f.size(1);
    Tensor loss = empty({m}, f.dtype(), f.device());
    parts = empty({m, 2}, f.dtype(), f.device());
    dispatch_float(name(), f.dtype(), [&]<class T>() {
      launch_rows(f.device(), m, n,
                  ColumnLoss<T>{n, m, f.data<T>(), in[1].data<T>(), loss.data_mut<T>(), parts.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& f = in[0];
    const Index n = f.size(0), m = f.size(1);
    dispatch_float(name(), f.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *x = f.data<T>(), *t = in[1].data<T>(), *p = parts.data<T>();
      if (dx.wants(0)) {
        launch_grid(f.device(), n, m, ColumnGradient<T, false>{m, g, x, t, p, dx.into(0).template data_mut<T>()});
      }
      if (dx.wants(1)) {
        launch_grid(f.device(), n, m, ColumnGradient<T, true>{m, g, x, t, p, dx.into(1).template data_mut<T>()});
      }
    });
  }
};

template <class T> struct Negative {
  const T* t;
  HD bool operator()(Index i) const { return !(t[i] >= 0); }
};

void check_arguments(std::string_view op, const Tensor& s, const Tensor& t) {
  if (!s || !t) fail(op, "needs scores and labels; one of them is undefined");
  if (s.rank() != 2 || t.shape() != s.shape()) {
    fail(op, "needs scores [n,m] and labels [n,m], got " + s.describe() + " and " + t.describe());
  }
  check_same_kind(op, s, t);
  const Index i = dispatch_float(
      op, t.dtype(), [&]<class T>() { return find_first(t.device(), t.numel(), Negative<T>{t.data<T>()}); });
  if (i < 0) return;
  fail(op, "label " + std::to_string(value_at(t, i)) + " at " + index_text(t.shape(), i) + " is negative or NaN");
}

}  // namespace

Tensor nm_from_values(At f, const Tensor& t, NmOptions o) {
  check_arguments("nm_eq2", f, t);
  if (o.form == Form::definition) return from_values(f, t);
  const Tensor columns = apply(NmColumns{}, f, t);
  return sum(At(columns, f.line));
}

Tensor nm_eq2(At s, const Tensor& t, const std::function<Tensor(const Tensor&)>& f, NmOptions o) {
  check_arguments("nm_eq2", s, t);
  const Tensor values = f(s);
  return nm_from_values(At(values, s.line), t, o);
}

Tensor nm_eq2(At s, const Tensor& t, NmScore f, NmOptions o) {
  if (f == NmScore::score) return nm_from_values(s, t, o);
  return f == NmScore::centred ? nm_eq3(s, t, o) : nm_eq1(s, t, o);
}

Tensor nm_eq1(At s, const Tensor& t, NmOptions o) {
  check_arguments("nm_eq1", s, t);
  if (o.form == Form::definition) return all_pairs(s, t);
  const Tensor f = log_odds(s);
  return nm_from_values(At(f, s.line), t, o);
}

Tensor nm_eq3(At s, const Tensor& t, NmOptions o) {
  check_arguments("nm_eq3", s, t);
  if (s->size(1) == 0) return sum(s);
  const Tensor f = centred(s);
  return nm_from_values(At(f, s.line), t, o);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> soft_samples(Rng& rng, const Options& more) {
  const auto scores = [&](Index n, Index m) { return 2 * randn({n, m}, rng, DType::f64); };
  const auto soft = [&](Index n, Index m) {
    const Tensor e = exp(randn({n, m}, rng, DType::f64));
    return e / sum(e, {1}, true);
  };
  return {
      {"five tasks, three classes, soft", {{"s", scores(5, 3)}, {"t", soft(5, 3)}}, more},
      {"one task", {{"s", scores(1, 4)}, {"t", soft(1, 4)}}, more},
      {"seven tasks, two classes", {{"s", scores(7, 2)}, {"t", soft(7, 2)}}, more},
      {"no task", {{"s", scores(0, 3)}, {"t", soft(0, 3)}}, more},
      {.what = "scores of 1e4",
       .inputs = {{"s", tensor({1e4, -1e4, 5, 0, 2e4, -1e4}, {2, 3}, DType::f64)},
                  {"t", tensor({.5, .25, .25, .125, .75, .125}, {2, 3}, DType::f64)}},
       .options = more,
       .extreme = true},
  };
}
// Labels of 0 and 1: dL/dt leaves the range of f32 where t is 0.
std::vector<LossSample> hard_samples(Rng& rng) {
  std::vector<LossSample> all = soft_samples(rng, {});
  all.push_back({"0/1 labels",
                 {{"s", randn({4, 3}, rng, DType::f64)},
                  {"t", tensor({0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1}, {4, 3}, DType::f64)}}});
  all.push_back({.what = "scores of 1e4, 0/1 labels",
                 .inputs = {{"s", tensor({1e4, -1e4, 5, 0, 2e4, -1e4}, {2, 3}, DType::f64)},
                            {"t", tensor({0, 1, 0, 0, 0, 1}, {2, 3}, DType::f64)}},
                 .extreme = true});
  all.push_back({.what = "a loss of 1e-26",
                 .inputs = {{"s", tensor({60, 0, -60, 55, 0, -55}, {2, 3}, DType::f64)},
                            {"t", tensor({1, 0, 0, 1, 0, 0}, {2, 3}, DType::f64)}},
                 .extreme = true});
  return all;
}
std::vector<LossSample> centred_samples(Rng& rng) { return soft_samples(rng, {}); }
std::vector<LossSample> template_samples(Rng& rng) {
  std::vector<LossSample> all;
  for (const char* f : {"score", "centred", "log_odds"}) {
    for (LossSample& sample : soft_samples(rng, {{"f", f}})) {
      sample.what += std::string(", f = ") + f;
      all.push_back(std::move(sample));
    }
  }
  return all;
}

NmScore score_named(const std::string& word) {
  return word == "score" ? NmScore::score : word == "centred" ? NmScore::centred : NmScore::log_odds;
}

}  // namespace

Losses nm_losses() {
  return {{.name = "nm_eq1",
           .family = Family::logsumexp,
           .formula = "sum_j log(1 + sum_i t_ij sum_{k!=j} e^{s_ik - s_ij})",
           .seeds = "A102-A105",
           .task = "n classifications of m classes, unbalanced classes",
           .inputs = {{"s", "[N,M]"}, {"t", "[N,M]", Kind::constant}},
           .options = {},
           .run = [](const Arguments& a) { return nm_eq1(a["s"], a["t"], {.form = a.form}); },
           .samples = hard_samples},
          {.name = "nm_eq2",
           .family = Family::logsumexp,
           .formula = "sum_j log(1 + sum_i t_ij e^{-f(s_ij)})",
           .seeds = "A106",
           .task = "n classifications of m classes, any f",
           .inputs = {{"s", "[N,M]"}, {"t", "[N,M]"}},
           .options = {{"f", "centred", {"score", "centred", "log_odds"}}},
           .run = [](const Arguments& a) { return nm_eq2(a["s"], a["t"], score_named(a.text("f")), {.form = a.form}); },
           .samples = template_samples},
          {.name = "nm_eq3",
           .family = Family::logsumexp,
           .formula = "sum_j log(1 + sum_i t_ij e^{-s_ij + mean_k s_ik})",
           .seeds = "A107",
           .task = "n classifications of m classes, soft labels",
           .inputs = {{"s", "[N,M]"}, {"t", "[N,M]"}},
           .options = {},
           .run = [](const Arguments& a) { return nm_eq3(a["s"], a["t"], {.form = a.form}); },
           .samples = centred_samples}};
}

}  // namespace gradus
