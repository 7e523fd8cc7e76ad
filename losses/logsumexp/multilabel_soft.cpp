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
    s = masked_fill(s, equal(mask, zeros({}, mask.dtype(), mask.device())), 0);
    wrong = wrong * mask;
    right = right * mask;
  }
  return log1p(sum(wrong * exp(s + shift.down), {1})) + log1p(sum(right * exp(shift.up - s), {1}));  // [N]
}

// ---- as the derivation ends: one node

template <class T, bool Masked> struct SoftRow {
  Index n;
  const T *scores, *targets;
  const std::uint8_t* mask;  // if Masked
  T down, up;
  HD bool counts(Index i) const { return !Masked || mask[i] != 0; }
  HD T right(Index i) const { return counts(i) ? targets[i] : T(0); }
  HD T wrong(Index i) const { return counts(i) ? 1 - targets[i] : T(0); }
  HD SoftRow row(Index r) const { return {n, scores + r * n, targets + r * n, Masked ? mask + r * n : mask, down, up}; }
};

template <class T, bool Masked> struct SoftLoss {
  SoftRow<T, Masked> rows;
  T* loss;
  Sides<T> sides;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const SoftRow<T, Masked> v = rows.row(r);
    const auto right = [=](Index j) { return v.right(j); };
    const auto wrong = [=](Index j) { return v.wrong(j); };
    const auto below = [=](Index j) { return v.up - v.scores[j]; };
    const auto above = [=](Index j) { return v.scores[j] + v.down; };
    const Two<T> sums = sum_two<T>(team, v.n, [=](Index j) -> Two<T> {
      return {weighed_term(right(j), vmath::exp_normal(below(j))), weighed_term(wrong(j), vmath::exp_normal(above(j)))};
    });
    const LogSum<T> P = log1p_of_weighted_sum(team, v.n, sums.a, right, below);
    const LogSum<T> Q = log1p_of_weighted_sum(team, v.n, sums.b, wrong, above);
    if (team.leads()) {
      loss[r] = P.value() + Q.value();
      sides.keep(r, P, Q);
    }
  }
};

// ds = (1 - t) e^{s - Q} - t e^{-s - P};  dt = e^{-s - P} - e^{s - Q}
template <class T, bool Masked, bool ToTargets, bool Add> struct SoftGradient {
  SoftRow<T, Masked> rows;
  const T* dy;
  T* to;
  Sides<T> sides;
  HD static T cut_exp(T x) {
    constexpr T most = sizeof(T) == 4 ? T(88) : T(709);
    return vmath::exp_normal(x > most ? most : x);
  }
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const SoftRow<T, Masked> v = rows.row(r);
    const LogSum<T> P = sides.P(r), Q = sides.Q(r);
    const T pm = P.m, p_rest = P.rest, qm = Q.m, q_rest = Q.rest, g = dy[r];
    T* sum = to + r * v.n;
    const auto put = [=](Index j, T d) { sum[j] = Add ? sum[j] + d : d; };
    if (g == 0) return team.each(v.n, [=](Index j) { put(j, T(0)); });
    team.each(v.n, [=](Index j) {
      const T s = v.scores[j], t = v.targets[j], x = ((v.up - s) - pm) - p_rest, y = ((s + v.down) - qm) - q_rest;
      const T slope = g * (ToTargets ? cut_exp(x) - cut_exp(y) : weighted_exp(1 - t, y) - weighted_exp(t, x));
      put(j, v.counts(j) ? slope : T(0));
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

  // Calls f with the rows: where there is no mask, the loops have none.
  template <class T, class F> void with_rows(In in, const F& f) const {
    const Tensor& m = mask.get(name());
    const std::uint8_t* c = m ? m.data<std::uint8_t>() : nullptr;
    with_flag(bool(m), [&]<bool Masked>() {
      f(SoftRow<T, Masked>{in[0].size(1), in[0].data<T>(), in[1].data<T>(), c, T(shift.down), T(shift.up)});
    });
  }
  Tensor forward(In in) override {
    const Tensor& s = in[0];
    const Index N = s.size(0);
    Tensor loss = empty({N}, s.dtype(), s.device());
    p = empty({N, 2}, s.dtype(), s.device());
    q = empty({N, 2}, s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      with_rows<T>(in, [&]<bool Masked>(const SoftRow<T, Masked>& rows) {
        const Sides<T> sides{p.data_mut<T>(), q.data_mut<T>()};
        launch_rows(s.device(), N, s.size(1), SoftLoss<T, Masked>{rows, loss.template data_mut<T>(), sides});
      });
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (dx.wants(0)) gradient<false>(dy, in, dx.sum(0));
    if (dx.wants(1)) gradient<true>(dy, in, dx.sum(1));
  }

 private:
  template <bool ToTargets> void gradient(const Tensor& dy, In in, Out::Sum sum) {
    const Tensor& s = in[0];
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      with_rows<T>(in, [&]<bool Masked>(const SoftRow<T, Masked>& rows) {
        with_flag(sum.started, [&]<bool Add>() {
          const Sides<T> sides{p.data_mut<T>(), q.data_mut<T>()};
          launch_rows(
              s.device(), s.size(0), s.size(1),
              SoftGradient<T, Masked, ToTargets, Add>{rows, dy.data<T>(), sum.tensor.template data_mut<T>(), sides});
        });
      });
    });
  }
};

template <class T> struct Outside {
  const T* t;
  HD bool operator()(Index i) const { return !(t[i] >= 0 && t[i] <= 1); }
};

}  // namespace

void check_in_unit_interval(std::string_view op, const Tensor& t) {
  const Index i = dispatch_float(op, t.dtype(), [&]<class T>() {
    const Outside<T> outside{t.data<T>()};
    const Index n = t.numel();
    // A loop that may stop has no vector lanes: on the CPU first ask whether there is one at all.
    const auto counted = [=](Index j) { return outside(j) ? T(1) : T(0); };
    if (t.device().is_cpu() && block_sum<T>(n, counted) == 0) return Index(-1);
    return find_first(t.device(), n, outside);
  });
  if (i < 0) return;
  fail(op, "target " + std::to_string(value_at(t, i)) + " at " + index_text(t.shape(), i) + " is outside [0,1]");
}

Tensor multilabel_ce_soft(At scores, const Tensor& targets, MultilabelOptions o) {
  constexpr auto op = "multilabel_ce_soft";
  check_multilabel(op, scores, targets, o);
  check_same_kind(op, scores, targets);
  check_in_unit_interval(op, targets);
  const Shifts shift(o.bias, o.margin);
  const Tensor mask = o.mask ? not_equal(o.mask, zeros({}, o.mask.dtype(), o.mask.device())) : Tensor();
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
