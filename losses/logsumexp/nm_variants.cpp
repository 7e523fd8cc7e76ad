#include "losses/logsumexp/nm_variants.h"

#include <cmath>

#include "losses/logsumexp/multilabel_sides.h"
#include "losses/logsumexp/multilabel_soft.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// ---- as the formulas read

struct Sums {
  Tensor N, P;  // N_j, P_j [m]
  Sums(const Tensor& s, const Tensor& t, Shifts shift)
      : N(sum((1 - t) * exp(s + shift.down), {0})), P(sum(t * exp(shift.up - s), {0})) {}
};

// ---- nm_first_order and nm_cross: one node

// log sum_j w(j) e^{x(j)}, without a hidden 0; -inf when there is nothing
template <class T, class Team, class W, class X> HD LogSum<T> log_sum_exp(Team team, Index n, W w, X x) {
  const T m = team.template max<T>(n, [=](Index j) {
    const T v = w(j), lift = vmath::log(v);
    return v == 0 ? -vmath::infinity<T> : x(j) + lift;
  });
  if (!(m > -vmath::infinity<T> && m < vmath::infinity<T>)) return {m, T(0)};
  return {m, vmath::log(row_sum<T>(team, n, [=](Index j) { return weighted_exp(w(j), x(j) - m); }))};
}

// What the backward pass needs, in six numbers: log N, log P, and how L moves with either.
template <class T> struct Pair {
  LogSum<T> N, P;
  T by_n, by_p;  // dL / d log N, dL / d log P
  HD static Pair load(const T* at) { return {{at[0], at[1]}, {at[2], at[3]}, at[4], at[5]}; }
  HD void store(T* at) const {
    const T all[] = {N.m, N.rest, P.m, P.rest, by_n, by_p};
    for (int k = 0; k < 6; ++k) at[k] = all[k];
  }
};

template <class T> struct PairForward {
  Index n;
  bool cross;
  const T *s, *t;
  T down, up, *loss, *pair;
  template <class Team> HD void operator()(Index, Team team) const {
    const T *x = s, *label = t, lower = down, raise = up;
    const LogSum<T> N = log_sum_exp<T>(
        team, n, [=](Index j) { return 1 - label[j]; }, [=](Index j) { return x[j] + lower; });
    const LogSum<T> P = log_sum_exp<T>(
        team, n, [=](Index j) { return label[j]; }, [=](Index j) { return raise - x[j]; });
    if (!team.leads()) return;
    if (cross) {
      const T z = (N.m + P.m) + (N.rest + P.rest), e = vmath::exp(z < 0 ? z : -z);
      const T share = (z < 0 ? e : T(1)) / (1 + e);
      *loss = (z < 0 ? T(0) : z) + vmath::log1p(e);
      Pair<T>{N, P, share, share}.store(pair);
      return;
    }
    const T greater = N.m > P.m ? N.m : P.m, m = greater > 0 ? greater : T(0);
    const T wrong = vmath::exp((N.m - m) + N.rest), right = vmath::exp((P.m - m) + P.rest), S = wrong + right;
    // log1p keeps a small loss; with m > 0 the sum is near 1 or above.
    const T rest = m > 0 ? vmath::log(vmath::exp(-m) + S) : vmath::log1p(S);
    *loss = m + rest;
    Pair<T>{N, P, vmath::exp((N.m - m) + (N.rest - rest)), vmath::exp((P.m - m) + (P.rest - rest))}.store(pair);
  }
};

// ds = dL/dlogN (1 - t) e^{s + down} / N - dL/dlogP t e^{up - s} / P
template <class T> struct PairBackward {
  const T *dy, *s, *t, *pair;
  T down, up, *ds;
  HD void operator()(Index i) const {
    const Pair<T> now = Pair<T>::load(pair);
    const T g = *dy, n = g * now.by_n, p = g * now.by_p;
    ds[i] += n == 0 ? T(0) : n * weighted_exp(1 - t[i], now.N.exponent(s[i] + down));
    ds[i] -= p == 0 ? T(0) : p * weighted_exp(t[i], now.P.exponent(up - s[i]));
  }
};

// in: s, t [n,m].  y = log(1 + N + P), or log(1 + N P)
// dy/ds = dy/dlogN (1 - t) e^{s + down} / N - dy/dlogP t e^{up - s} / P
//   dy/dlogN = N / (1 + N + P), or N P / (1 + N P)
struct NmPair final : Op {
  Shifts shift;
  bool cross;
  Tensor pair;  // [6], for the backward pass
  NmPair(Shifts s, bool c) : shift(s), cross(c) {}
  const char* name() const override { return "nm_pair"; }
  Tensor forward(In in) override {
    const Tensor& s = in[0];
    Tensor loss = empty({}, s.dtype(), s.device());
    pair = empty({6}, s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), 1, s.numel(),
                  PairForward<T>{s.numel(), cross, s.data<T>(), in[1].data<T>(), T(shift.down), T(shift.up),
                                 loss.data_mut<T>(), pair.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& s = in[0];
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch(s.device(), s.numel(),
             PairBackward<T>{dy.data<T>(), s.data<T>(), in[1].data<T>(), pair.data<T>(), T(shift.down), T(shift.up),
                             dx.into(0).template data_mut<T>()});
    });
  }
};

void check_arguments(std::string_view op, const Tensor& s, const Tensor& t, const NmVariantOptions& o) {
  check_multilabel(op, s, t, {.bias = o.bias, .margin = o.margin});
  check_same_kind(op, s, t);
  check_in_unit_interval(op, t);
}

MultilabelOptions one_loss(const NmVariantOptions& o) {
  return {.bias = o.bias, .margin = o.margin, .reduction = Reduction::sum};
}

Tensor pair_loss(std::string_view op, At s, const Tensor& labels, const NmVariantOptions& o, bool cross) {
  check_arguments(op, s, labels, o);
  const Tensor t = labels.detach();
  const Shifts shift(o.bias, o.margin);
  if (o.form == Form::closed) return apply(NmPair(shift, cross), s, t);
  const Sums of(s, t, shift);
  const Tensor N = sum(of.N), P = sum(of.P);
  return cross ? log1p(N * P) : log1p(N + P);
}

}  // namespace

Tensor nm_product(At s, const Tensor& labels, NmVariantOptions o) {
  check_arguments("nm_product", s, labels, o);
  const Tensor t = labels.detach();
  if (o.form == Form::definition) {
    const Sums of(s, t, Shifts(o.bias, o.margin));
    return sum(log((1 + of.N) * (1 + of.P)));
  }
  const Tensor columns = transpose(s, 0, 1);  // [m,n]
  return multilabel_ce_soft(At(columns, s.line), transpose(t, 0, 1), one_loss(o));
}

Tensor nm_expanded(At s, const Tensor& labels, NmVariantOptions o) {
  check_arguments("nm_expanded", s, labels, o);
  const Tensor t = labels.detach();
  if (o.form == Form::definition) {
    const Sums of(s, t, Shifts(o.bias, o.margin));
    const Tensor N = sum(of.N), P = sum(of.P);
    return log1p(N + P + N * P);
  }
  const Tensor row = s->reshape({1, s->numel()}, s.line);
  return multilabel_ce_soft(At(row, s.line), t.reshape({1, t.numel()}), one_loss(o));
}

Tensor nm_first_order(At s, const Tensor& t, NmVariantOptions o) { return pair_loss("nm_first_order", s, t, o, false); }
Tensor nm_cross(At s, const Tensor& t, NmVariantOptions o) { return pair_loss("nm_cross", s, t, o, true); }

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto scores = [&](Index n, Index m) { return 2 * randn({n, m}, rng, DType::f64); };
  const auto soft = [&](Index n, Index m) { return rand({n, m}, rng, DType::f64); };
  return {
      {"three tasks, four classes, 0/1", {{"s", scores(3, 4)}, {"t", some_labels({3, 4}, rng)}}},
      {"one task", {{"s", scores(1, 5)}, {"t", some_labels({1, 5}, rng)}}},
      {"soft labels, bias and margin", {{"s", scores(4, 2)}, {"t", soft(4, 2)}}, {{"bias", 0.5}, {"margin", 1.5}}},
      {"nothing wrong", {{"s", scores(2, 2)}, {"t", ones({2, 2}, DType::f64)}}},
      {"nothing right", {{"s", scores(2, 3)}, {"t", zeros({2, 3}, DType::f64)}}},
      {"no task", {{"s", scores(0, 3)}, {"t", soft(0, 3)}}},
      {.what = "scores of 1e4",
       .inputs = {{"s", tensor({1e4, 9999.5, -1e4, -9999, 3, 1e4}, {2, 3}, DType::f64)},
                  {"t", tensor({0, .5, 1, .25, .5, 0}, {2, 3}, DType::f64)}},
       .options = {{"margin", 5.0}},
       .extreme = true},
      {.what = "a loss of 1e-26",
       .inputs = {{"s", tensor({60, -61, -60, 62}, {2, 2}, DType::f64)},
                  {"t", tensor({1, 0, 0, 1}, {2, 2}, DType::f64)}},
       .extreme = true},
  };
}

using Variant = Tensor (*)(At, const Tensor&, NmVariantOptions);
LossInfo variant(const char* name, const char* formula, const char* seeds, Variant f) {
  return {.name = name,
          .family = Family::logsumexp,
          .formula = formula,
          .seeds = seeds,
          .task = "n classifications of m classes, experimental",
          .inputs = {{"s", "[N,M]"}, {"t", "[N,M]", Kind::constant}},
          .options = {{"bias", 0.0}, {"margin", 0.0}},
          .run =
              [f](const Arguments& a) {
                return f(a["s"], a["t"], {.bias = a.number("bias"), .margin = a.number("margin"), .form = a.form});
              },
          .samples = samples};
}

}  // namespace

Losses nm_variant_losses() {
  return {variant("nm_product", "sum_j log(1 + N_j) + log(1 + P_j)", "A116 A121", nm_product),
          variant("nm_expanded", "log(1 + N + P + N P)", "A114 A116 A121", nm_expanded),
          variant("nm_first_order", "log(1 + N + P)", "A118 A119 A120", nm_first_order),
          variant("nm_cross", "log(1 + N P)", "A117", nm_cross)};
}

}  // namespace gradus
