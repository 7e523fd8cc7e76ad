#include "losses/softmax/focal_sigmoid.h"

#include <cmath>

#include "losses/softmax/bce_math.h"
#include "losses/softmax/element_loss.h"
#include "ops/math.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as the derivation starts

Tensor definition(const Tensor& x, const Tensor& y, double alpha, double gamma) {
  const Tensor p = sigmoid(x), p_t = p * y + (1 - p) * (1 - y);
  const Tensor b = -(y * logsigmoid(x) + (1 - y) * logsigmoid(-x));
  const Tensor l = pow(1 - p_t, gamma) * b;
  return alpha < 0 ? l : (alpha * y + (1 - alpha) * (1 - y)) * l;
}

// ---- as the derivation ends: one node

// q^gamma from log q <= 0; the usual gamma = 2 from q
template <class T> struct AnyPower {
  T gamma;
  [[gnu::always_inline]] HD T of(T, T log_q) const {
    const T d = vmath::exp_below(gamma * log_q);
    return gamma == 0 ? T(1) : d;
  }
};
template <class T> struct Square {
  static constexpr T gamma = 2;
  [[gnu::always_inline]] HD T of(T q, T) const { return q * q; }
};

// l = a_t q^gamma b                                        q = 1 - p_t, b = the cross entropy
// dl/dx = a_t q^gamma (gamma b (dq/dx) / q + db/dx)        db/dx = (1 - y) p - y (1 - p)
// A hard target: with u = x for y = 0 and -x for y = 1, q = s(u), b = softplus(u), and a factor du/dx = 1 - 2y.
template <class T, class Power, bool Soft> struct FocalTerm {
  Power power;
  T yes, no;  // a_t of y = 1 and of y = 0
  const T *x, *y;
  HD T a(T t) const { return yes * t + no * (1 - t); }

  [[gnu::always_inline]] HD T value(Index i, Index) const {
    const T t = y[i];
    if constexpr (Soft) {
      const SoftFocus f(x[i], t);
      return a(t) * weighed(power.of(f.q(), f.log_q), f.b);
    }
    const Sigmoids<T> s(x[i] * (1 - 2 * t));
    return a(t) * power.of(s.yes(), -s.cost_yes()) * s.cost_no();
  }
  template <int> [[gnu::always_inline]] HD T slope(Index i, Index) const {
    const T t = y[i];
    if constexpr (Soft) {
      const SoftFocus f(x[i], t);
      const T pull = weighed(power.gamma * f.ratio, f.b) + (1 - t) * f.s.yes() - t * f.s.no();
      return a(t) * weighed(power.of(f.q(), f.log_q), pull);
    }
    const T side = 1 - 2 * t;
    const Sigmoids<T> s(x[i] * side);
    return side * a(t) * power.of(s.yes(), -s.cost_yes()) * (weighed(power.gamma * s.no(), s.cost_no()) + s.yes());
  }

 private:
  // log q = log((1 - y) p + y (1 - p)), ratio = (dq/dx) / q; right for y = 0 and 1 too
  struct SoftFocus {
    Sigmoids<T> s;
    T b, log_q, ratio;
    [[gnu::always_inline]] HD SoftFocus(T x, T y) : s(x) {
      const T yes = s.cost_yes(), no = s.cost_no();
      const T u = vmath::log(1 - y) - yes, v = vmath::log(y) - no, top = u > v ? u : v, gap = u > v ? v - u : u - v;
      b = weighed(y, yes) + weighed(1 - y, no);
      log_q = top + log_1_plus(vmath::exp_below(u == v ? T(0) : gap));
      ratio = (1 - 2 * y) * vmath::exp(-yes - no - log_q);
    }
    [[gnu::always_inline]] HD T q() const { return vmath::exp_below(log_q); }
  };
};

// Hard targets need half the work: each row asks whether it has others.
template <class T, class Power> struct FocalRows {
  Power power;
  T yes, no;
  const T *x, *y;
  template <class Team, class F> HD void pick(Team team, Index begin, Index count, F f) const {
    const T* t = y + begin;
    const T others = team.template sum<T>(count, [=](Index j) { return t[j] == 0 || t[j] == 1 ? T(0) : T(1); });
    if (others == 0) return f(FocalTerm<T, Power, false>{power, yes, no, x, y});
    f(FocalTerm<T, Power, true>{power, yes, no, x, y});
  }
};

// in: logits, targets
struct FocalSigmoid {
  static constexpr auto name = "focal_sigmoid";
  static constexpr int sides = 1;
  double alpha, gamma;
  Index row_length(In) const { return element_row; }
  template <class T, class F> void dispatch(In in, const F& f) const {
    const T *x = in[0].data<T>(), *y = in[1].data<T>(), yes = T(alpha < 0 ? 1 : alpha),
            no = T(alpha < 0 ? 1 : 1 - alpha);
    if (gamma == 2) return f(FocalRows<T, Square<T>>{{}, yes, no, x, y});
    f(FocalRows<T, AnyPower<T>>{{T(gamma)}, yes, no, x, y});
  }
};

}  // namespace

Tensor focal_sigmoid(At logits, const Tensor& targets, FocalSigmoidOptions o) {
  constexpr auto op = "focal_sigmoid";
  if (!logits.tensor || !targets) fail(op, "needs logits and targets; one of them is undefined");
  check_same_kind(op, logits, targets);
  if (logits->shape() != targets.shape()) {
    fail(op, "needs a target for each logit: logits " + logits->describe() + ", targets " + targets.describe() +
                 "; reshape one of them");
  }
  if (!(o.gamma >= 0) || std::isinf(o.gamma)) fail(op, "gamma must be 0 or more, got " + std::to_string(o.gamma));
  if (!(o.alpha <= 1)) fail(op, "alpha must be at most 1 (below 0: no weights), got " + std::to_string(o.alpha));
  const Tensor y = targets.detach();
  if (o.form == Form::closed) return element_loss(FocalSigmoid{o.alpha, o.gamma}, o.reduction, logits, y);
  const Tensor l = definition(logits, y, o.alpha, o.gamma);
  return reduce_elements(At(l, logits.line), o.reduction);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto logits = [&](const Shape& shape) { return 2 * randn(shape, rng, DType::f64); };
  const auto soft = [&](const Shape& shape) { return rand(shape, rng, DType::f64); };
  const auto hard = [&](const Shape& shape) { return randint(2, shape, rng).to(DType::f64); };
  const Tensor sure = tensor({60, -60, 20, -60, 60, 1e4}, {6}, DType::f64);
  const Tensor truth = tensor({1, 0, 1, 1, 0, 1}, {6}, DType::f64);
  return {
      {"hard, mean", {{"logits", logits({7})}, {"targets", hard({7})}}},
      {"gamma 0.5, no alpha, none",
       {{"logits", logits({2, 5})}, {"targets", hard({2, 5})}},
       {{"gamma", 0.5}, {"alpha", -1.0}, {"reduction", "none"}}},
      {"soft, gamma 3, sum",
       {{"logits", logits({3, 2, 2})}, {"targets", soft({3, 2, 2})}},
       {{"gamma", 3.0}, {"alpha", 0.6}, {"reduction", "sum"}}},
      {"gamma 0", {{"logits", logits({3})}, {"targets", soft({3})}}, {{"gamma", 0.0}}},
      {"no elements", {{"logits", logits({0})}, {"targets", soft({0})}}},
      {.what = "sure logits, gamma 0.1",
       .inputs = {{"logits", sure}, {"targets", truth}},
       .options = {{"gamma", 0.1}, {"reduction", "none"}},
       .extreme = true},
      {.what = "right beyond doubt, gamma 0.25",
       .inputs = {{"logits", tensor({40, -55}, {2}, DType::f64)}, {"targets", tensor({1, 0}, {2}, DType::f64)}},
       .options = {{"gamma", 0.25}},
       .extreme = true},
  };
}

}  // namespace

Losses focal_sigmoid_losses() {
  return {
      {.name = "focal_sigmoid",
       .family = Family::softmax,
       .formula = "-a_t (1-p_t)^gamma log p_t, p = s(x)",
       .seeds = "A015 A028",
       .task = "detection: many easy negatives, few positives",
       .inputs = {{"logits", "[...]"}, {"targets", "[...]", Kind::constant}},
       .options = {{"alpha", 0.25}, {"gamma", 2.0}, reduction_option()},
       .run =
           [](const Arguments& a) {
             return focal_sigmoid(
                 a["logits"], a["targets"],
                 {.alpha = a.number("alpha"), .gamma = a.number("gamma"), .reduction = a.reduction(), .form = a.form});
           },
       .samples = samples}};
}

}  // namespace gradus
