#include "losses/softmax/focal_sigmoid.h"

#include <algorithm>
#include <cmath>

#include "losses/softmax/bce_math.h"
#include "ops/elementwise.h"
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

// What value and slope have in common, at one element: with q = 1 - p_t,
//   b = the cross entropy        log q = log((1 - y) p + y (1 - p))        ratio = (dq/dx) / q
// Soft: also asked for hard targets, where it is not used; hard targets alone need no logarithm of y.
template <class T, bool Soft> struct Focus {
  Sigmoids<T> s;
  T b, log_q, ratio;
  [[gnu::always_inline]] HD Focus(T x, T y) : s(x) {
    b = y == 1 ? s.cost_yes : s.cost_no;
    log_q = y == 1 ? -s.cost_no : -s.cost_yes;
    ratio = y == 1 ? -s.yes : s.no;
    if constexpr (Soft) {
      const bool hard = y == 0 || y == 1;
      const T u = vmath::log(1 - y) - s.cost_yes, v = vmath::log(y) - s.cost_no, gap = u > v ? v - u : u - v;
      const T mixed = (u > v ? u : v) + log_1_plus(vmath::exp(gap));
      b = hard ? b : y * s.cost_yes + (1 - y) * s.cost_no;
      log_q = hard ? log_q : mixed;
      const T soft_ratio = (1 - 2 * y) * vmath::exp(-s.cost_yes - s.cost_no - mixed);
      ratio = hard ? ratio : soft_ratio;
    }
  }
  // q^gamma
  [[gnu::always_inline]] HD T damping(T gamma) const {
    const T d = vmath::exp(gamma * log_q);
    return gamma == 0 ? T(1) : d;
  }
};

template <class T> struct Settings {
  T alpha, gamma;
  HD T a(T y) const { return alpha < 0 ? T(1) : alpha * y + (1 - alpha) * (1 - y); }
};

// l = a_t q^gamma b
template <class T, bool Soft> struct FocalSigmoidValue {
  Settings<T> o;
  const T *x, *y;
  T* l;
  HD void operator()(Index i) const {
    const Focus<T, Soft> f(x[i], y[i]);
    l[i] = o.a(y[i]) * weighed(f.damping(o.gamma), f.b);
  }
};

// dl/dx = a_t q^gamma (gamma b (dq/dx) / q + db/dx),  db/dx = (1 - y) p - y (1 - p)
template <class T, bool Soft> struct FocalSigmoidSlope {
  Settings<T> o;
  const T *dl, *x, *y;
  T* dx;
  HD void operator()(Index i) const {
    const Focus<T, Soft> f(x[i], y[i]);
    const T pull = weighed(o.gamma * f.ratio, f.b) + (1 - y[i]) * f.s.yes - y[i] * f.s.no;
    dx[i] += dl[i] * o.a(y[i]) * weighed(f.damping(o.gamma), pull);
  }
};

// in: logits, targets (constants); soft: not all of them are 0 or 1
struct FocalSigmoid final : Op {
  double alpha, gamma;
  bool soft;
  FocalSigmoid(double a, double g, bool s) : alpha(a), gamma(g), soft(s) {}
  const char* name() const override { return "focal_sigmoid"; }
  template <class T> Settings<T> settings() const { return {T(alpha), T(gamma)}; }

  Tensor forward(In in) override {
    const Tensor& x = in[0];
    Tensor l = empty(x.shape(), x.dtype(), x.device());
    dispatch_float(name(), x.dtype(), [&]<class T>() {
      with_flag(soft, [&]<bool Soft>() {
        launch(x.device(), x.numel(),
               FocalSigmoidValue<T, Soft>{settings<T>(), x.data<T>(), in[1].data<T>(), l.template data_mut<T>()});
      });
    });
    return l;
  }

  void backward(const Tensor& dl, In in, const Tensor&, Out dx) override {
    const Tensor& x = in[0];
    dispatch_float(name(), x.dtype(), [&]<class T>() {
      with_flag(soft, [&]<bool Soft>() {
        launch(x.device(), x.numel(),
               FocalSigmoidSlope<T, Soft>{settings<T>(), dl.data<T>(), x.data<T>(), in[1].data<T>(),
                                          dx.into(0).template data_mut<T>()});
      });
    });
  }
};

bool any_soft(const Tensor& y) {
  const Tensor hard = logical_or(equal(y, zeros({}, y.dtype())), equal(y, ones({}, y.dtype())));
  const auto all = hard.span<std::uint8_t>();
  return std::find(all.begin(), all.end(), 0) != all.end();
}

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
  const Tensor l = o.form == Form::definition ? definition(logits, y, o.alpha, o.gamma)
                                              : apply(FocalSigmoid(o.alpha, o.gamma, any_soft(y)), logits, y);
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
