#include "losses/logsumexp/multilabel_soft.h"

#include "losses/logsumexp/multilabel_sides.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as the derivation starts: two logarithms of two sums on the tape

Tensor soft_definition(const Tensor& scores, const Tensor& t, const Tensor& mask, Shifts shift) {
  Tensor s = scores, wrong = 1 - t, right = t;  // [N,C]
  if (mask) {
    s = masked_fill(s, equal(mask, zeros({}, mask.dtype())), 0);
    wrong = wrong * mask;
    right = right * mask;
  }
  return log1p(sum(wrong * exp(s + shift.down), {1})) + log1p(sum(right * exp(shift.up - s), {1}));  // [N]
}

// ---- as the derivation ends: one node

template <class T> struct SoftRow {
  Index n;
  const T *scores, *targets;
  const std::uint8_t* mask;  // or null
  T down, up;
  HD bool counts(Index i) const { return !mask || mask[i]; }
  HD T right(Index i) const { return counts(i) ? targets[i] : T(0); }
  HD T wrong(Index i) const { return counts(i) ? 1 - targets[i] : T(0); }
};

template <class T> struct SoftLoss {
  SoftRow<T> row;
  T* loss;
  Sides<T> sides;
  template <class Team> HD void operator()(Index r, Team team) const {
    const SoftRow<T> v = row;
    const Index n = v.n, at = r * n;
    const LogSum<T> P = log1p_sum_exp<T>(
        team, n, [=](Index j) { return v.right(at + j); }, [=](Index j) { return v.up - v.scores[at + j]; });
    const LogSum<T> Q = log1p_sum_exp<T>(
        team, n, [=](Index j) { return v.wrong(at + j); }, [=](Index j) { return v.scores[at + j] + v.down; });
    if (team.leads()) {
      loss[r] = P.value() + Q.value();
      sides.keep(r, P, Q);
    }
  }
};

// ds = (1 - t) e^{s - Q} - t e^{-s - P};  dt = e^{-s - P} - e^{s - Q}
template <class T, bool ToTargets> struct SoftGradient {
  SoftRow<T> row;
  const T* dy;
  T* to;
  Sides<T> sides;
  HD static T cut_exp(T x) {
    constexpr T most = sizeof(T) == 4 ? T(88) : T(709);
    return vmath::exp(x > most ? most : x);
  }
  template <class Team> HD void operator()(Index r, Team team) const {
    const SoftRow<T> v = row;
    const LogSum<T> P = sides.P(r), Q = sides.Q(r);
    const T pm = P.m, p_rest = P.rest, qm = Q.m, q_rest = Q.rest, g = dy[r], up = v.up, down = v.down;
    const Index at = r * v.n;
    const T *s = v.scores + at, *t = v.targets + at;
    const std::uint8_t* mask = v.mask ? v.mask + at : nullptr;
    T* sum = to + at;
    if (g == 0) return;
    team.each(v.n, [=](Index j) {
      const T x = ((up - s[j]) - pm) - p_rest, y = ((s[j] + down) - qm) - q_rest;
      const T slope = ToTargets ? cut_exp(x) - cut_exp(y) : weighted_exp(1 - t[j], y) - weighted_exp(t[j], x);
      sum[j] += mask && mask[j] == 0 ? T(0) : g * slope;
    });
  }
};

// in: scores, targets [N,C].  y = log(1 + sum t e^-s) + log(1 + sum (1 - t) e^s)
// dy/ds = (1 - t) e^{s - Q} - t e^{-s - P}        dy/dt = e^{-s - P} - e^{s - Q}
struct MultilabelSoft final : Op {
  Shifts shift;
  Constant mask;  // u8 [N,C] or undefined
  Tensor p, q;    // [N,2], for the backward pass
  MultilabelSoft(Shifts s, const Tensor& m) : shift(s), mask(m) {}
  const char* name() const override { return "multilabel_ce_soft"; }

  template <class T> SoftRow<T> row(In in) const {
    const Tensor& m = mask.get(name());
    return {in[0].size(1), in[0].data<T>(), in[1].data<T>(), m ? m.data<std::uint8_t>() : nullptr,
            T(shift.down), T(shift.up)};
  }
  Tensor forward(In in) override {
    const Tensor& s = in[0];
    const Index N = s.size(0);
    Tensor loss = empty({N}, s.dtype(), s.device());
    p = empty({N, 2}, s.dtype(), s.device());
    q = empty({N, 2}, s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), N, s.size(1),
                  SoftLoss<T>{row<T>(in), loss.data_mut<T>(), Sides<T>{p.data_mut<T>(), q.data_mut<T>()}});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& s = in[0];
    const Index N = s.size(0), C = s.size(1);
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      const Sides<T> sides{p.data_mut<T>(), q.data_mut<T>()};
      if (dx.wants(0)) {
        launch_rows(s.device(), N, C,
                    SoftGradient<T, false>{row<T>(in), dy.data<T>(), dx.into(0).template data_mut<T>(), sides});
      }
      if (dx.wants(1)) {
        launch_rows(s.device(), N, C,
                    SoftGradient<T, true>{row<T>(in), dy.data<T>(), dx.into(1).template data_mut<T>(), sides});
      }
    });
  }
};

}  // namespace

void check_in_unit_interval(std::string_view op, const Tensor& t) {
  dispatch_float(op, t.dtype(), [&]<class T>() {
    const T* v = t.data<T>();
    const Index n = t.numel();
    if (block_sum<Index>(n, [=](Index i) { return Index(!(v[i] >= 0 && v[i] <= 1)); }) == 0) return;
    for (Index i = 0; i < n; ++i) {
      if (!(v[i] >= 0 && v[i] <= 1)) {
        fail(op, "target " + std::to_string(double(v[i])) + " at " + index_text(t.shape(), i) + " is outside [0,1]");
      }
    }
  });
}

Tensor multilabel_ce_soft(At scores, const Tensor& targets, MultilabelOptions o) {
  constexpr auto op = "multilabel_ce_soft";
  check_multilabel(op, scores, targets, o);
  check_same_kind(op, scores, targets);
  check_in_unit_interval(op, targets);
  const Shifts shift(o.bias, o.margin);
  const Tensor mask = o.mask ? not_equal(o.mask, zeros({}, o.mask.dtype())) : Tensor();
  const Tensor rows = o.form == Form::definition
                          ? soft_definition(scores, targets, mask ? mask.to(scores->dtype()) : mask, shift)
                          : apply(MultilabelSoft(shift, mask), scores, targets);
  return reduce_rows(At(rows, scores.line), o.reduction, double(scores->size(0)));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> soft_samples(Rng& rng) {
  const auto scores = [&](Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); };
  const auto targets = [&](Index N, Index C) { return 0.9 * rand({N, C}, rng, DType::f64) + 0.05; };
  return {
      {"five rows", {{"scores", scores(5, 3)}, {"targets", targets(5, 3)}}},
      {"none", {{"scores", scores(3, 8)}, {"targets", targets(3, 8)}}, {{"reduction", "none"}}},
      {"mask, bias, margin, sum",
       {{"scores", scores(4, 5)}, {"targets", targets(4, 5)}, {"mask", some_labels({4, 5}, rng)}},
       {{"bias", -0.5}, {"margin", 0.5}, {"reduction", "sum"}}},
      {"no rows", {{"scores", scores(0, 3)}, {"targets", targets(0, 3)}}},
      {.what = "targets of 0 and 1, scores of 30",
       .inputs = {{"scores", tensor({30, -30, 20, 1}, {2, 2}, DType::f64)},
                  {"targets", tensor({1, 0, 0, 1}, {2, 2}, DType::f64)}},
       .extreme = true},
      {.what = "scores of 1e4, one target for both",
       .inputs = {{"scores", tensor({1e4, 1e4, -1e4, -9999}, {2, 2}, DType::f64)},
                  {"targets", tensor({.25, .5, .75, .5}, {2, 2}, DType::f64)}},
       .extreme = true},
  };
}

}  // namespace

Losses multilabel_soft_losses() {
  return {
      {.name = "multilabel_ce_soft",
       .family = Family::logsumexp,
       .formula = "log(1 + sum t e^-s) + log(1 + sum (1-t) e^s)",
       .seeds = "A108 A120",
       .task = "multi-label tagging with soft labels: smoothing, mixup, teachers",
       .inputs = {{"scores", "[N,C]"}, {"targets", "[N,C]"}, {"mask", "[N,C]", Kind::constant, true}},
       .options = {{"bias", 0.0}, {"margin", 0.0}, reduction_option()},
       .run = [](const Arguments& a) { return multilabel_ce_soft(a["scores"], a["targets"], multilabel_options(a)); },
       .samples = soft_samples}};
}

}  // namespace gradus
