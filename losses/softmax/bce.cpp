#include "losses/softmax/bce.h"

#include "losses/softmax/bce_math.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as the derivation starts

Tensor definition_of_logits(const Tensor& x, const Tensor& y, const Tensor& pos_weight) {
  const Tensor yes = pos_weight ? y * pos_weight : y;
  return -(yes * logsigmoid(x) + (1 - y) * logsigmoid(-x));
}

// y log q, where 0 log 0 = 0
Tensor times_log(const Tensor& y, const Tensor& q) {
  const Tensor zero = zeros({}, q.dtype());
  return y * log(masked_fill(q, logical_and(equal(y, zero), equal(q, zero)), 1));
}

Tensor definition_of_probs(const Tensor& p, const Tensor& y) { return -(times_log(y, p) + times_log(1 - y, 1 - p)); }

// ---- as the derivation ends: one node

// The factor of the yes side: one number for each column, or 1.
template <class T> struct PosWeight {
  const T* w;
  HD T at(Index c) const { return w[c]; }
};
template <class T> struct NoWeight {
  HD T at(Index) const { return 1; }
};

// l = w y softplus(-x) + (1 - y) softplus(x)
template <class T, class Weight> struct BceLogitsValue {
  Weight w;
  const T *x, *y;
  Index columns;
  T* l;
  HD void operator()(Index r, Index c) const {
    const Index i = r * columns + c;
    const Sigmoids<T> s(x[i]);
    l[i] = weighed(w.at(c) * y[i], s.cost_yes) + weighed(1 - y[i], s.cost_no);
  }
};

// dl/dx = (1 - y) s(x) - w y s(-x)
template <class T, class Weight> struct BceLogitsLogit {
  Weight w;
  const T *dl, *x, *y;
  Index columns;
  T* dx;
  HD void operator()(Index r, Index c) const {
    const Index i = r * columns + c;
    const Sigmoids<T> s(x[i]);
    dx[i] += dl[i] * ((1 - y[i]) * s.yes - w.at(c) * y[i] * s.no);
  }
};

// dl/dy = w softplus(-x) - softplus(x) = (w - 1) softplus(-x) - x
template <class T, class Weight> struct BceLogitsTarget {
  Weight w;
  const T *dl, *x;
  Index columns;
  T* dy;
  HD void operator()(Index r, Index c) const {
    const Index i = r * columns + c;
    dy[i] += dl[i] * (weighed(w.at(c) - 1, Sigmoids<T>(x[i]).cost_yes) - x[i]);
  }
};

// in: logits, targets, pos_weight or undefined
struct BceWithLogits final : Op {
  const char* name() const override { return "bce_with_logits"; }
  static Index columns(const Tensor& x) { return x.rank() ? x.size(-1) : 1; }
  static Index rows(const Tensor& x) { return x.numel() / std::max<Index>(1, columns(x)); }

  template <class T, class F> static void with_weight(const Tensor& w, const F& f) {
    if (w) return f(PosWeight<T>{w.data<T>()});
    f(NoWeight<T>{});
  }

  Tensor forward(In in) override {
    const Tensor& x = in[0];
    Tensor l = empty(x.shape(), x.dtype(), x.device());
    dispatch_float(name(), x.dtype(), [&]<class T>() {
      with_weight<T>(in[2], [&]<class Weight>(Weight w) {
        launch_grid(x.device(), rows(x), columns(x),
                    BceLogitsValue<T, Weight>{w, x.data<T>(), in[1].data<T>(), columns(x), l.template data_mut<T>()});
      });
    });
    return l;
  }

  void backward(const Tensor& dl, In in, const Tensor&, Out dx) override {
    const Tensor& x = in[0];
    const Index R = rows(x), C = columns(x);
    dispatch_float(name(), x.dtype(), [&]<class T>() {
      with_weight<T>(in[2], [&]<class Weight>(Weight w) {
        const T *g = dl.data<T>(), *z = x.data<T>();
        if (dx.wants(0)) {
          T* to = dx.into(0).template data_mut<T>();
          launch_grid(x.device(), R, C, BceLogitsLogit<T, Weight>{w, g, z, in[1].data<T>(), C, to});
        }
        if (dx.wants(1)) {
          T* to = dx.into(1).template data_mut<T>();
          launch_grid(x.device(), R, C, BceLogitsTarget<T, Weight>{w, g, z, C, to});
        }
      });
    });
  }
};

// l = -(y log p + (1 - y) log(1 - p))
// dl/dp = (1 - y) / (1 - p) - y / p        dl/dy = log(1 - p) - log p, an impossible term left out
struct BceProbs {
  static constexpr auto name = "bce_probs";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T p, T y) const {
    return -weighed(y, vmath::log(p)) - weighed(1 - y, vmath::log1p(-p));
  }
  template <class T> HD T backward_a(T p, T y, T) const { return weighed(1 - y, 1 / (1 - p)) - weighed(y, 1 / p); }
  template <class T> HD T backward_b(T p, T y, T) const {
    return (y == 1 && p == 1 ? T(0) : vmath::log1p(-p)) - (y == 0 && p == 0 ? T(0) : vmath::log(p));
  }
};

void check_pair(const char* op, const char* what, const Tensor& x, const Tensor& y) {
  if (!x || !y) fail(op, std::string("needs ") + what + " and targets; one of them is undefined");
  check_same_kind(op, x, y);
  if (x.shape() != y.shape()) {
    fail(op, std::string("needs a target for each element: ") + what + " " + x.describe() + ", targets " +
                 y.describe() + "; reshape one of them");
  }
}

}  // namespace

Tensor bce_with_logits(At logits, const Tensor& targets, BceOptions o) {
  constexpr auto op = "bce_with_logits";
  check_pair(op, "logits", logits, targets);
  if (o.pos_weight) {
    check_same_kind(op, logits, o.pos_weight);
    if (logits->rank() == 0 || o.pos_weight.shape() != Shape{logits->size(-1)}) {
      fail(op, "pos_weight must have the size of the last axis of the logits " + logits->describe() + ", got " +
                   o.pos_weight.describe());
    }
    o.pos_weight = o.pos_weight.detach();
  }
  const Tensor l = o.form == Form::definition ? definition_of_logits(logits, targets, o.pos_weight)
                                              : apply(BceWithLogits(), logits, targets, o.pos_weight);
  return reduce_elements(At(l, logits.line), o.reduction);
}

Tensor bce_probs(At p, const Tensor& targets, BceProbsOptions o) {
  check_pair(BceProbs::name, "probabilities", p, targets);
  const Tensor l = o.form == Form::definition ? definition_of_probs(p, targets) : apply_binary(BceProbs(), p, targets);
  return reduce_elements(At(l, p.line), o.reduction);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> logit_samples(Rng& rng) {
  const auto logits = [&](const Shape& shape) { return 2 * randn(shape, rng, DType::f64); };
  const auto soft = [&](const Shape& shape) { return rand(shape, rng, DType::f64); };
  const auto hard = [&](const Shape& shape) { return randint(2, shape, rng).to(DType::f64); };
  const Tensor weight = 3 * rand({3}, rng, DType::f64) + 0.2;
  const Tensor big = tensor({1e4, -1e4, 1e4, -1e4, 60, -60}, {2, 3}, DType::f64);
  const Tensor yes_no = tensor({1, 0, 0, 1, 1, 1}, {2, 3}, DType::f64);
  return {
      {"hard, mean", {{"logits", logits({7})}, {"targets", hard({7})}}},
      {"soft, sum", {{"logits", logits({2, 5})}, {"targets", soft({2, 5})}}, {{"reduction", "sum"}}},
      {"pos_weight, none",
       {{"logits", logits({2, 4, 3})}, {"targets", soft({2, 4, 3})}, {"pos_weight", weight}},
       {{"reduction", "none"}}},
      {"one number", {{"logits", logits({})}, {"targets", soft({})}}},
      {"no elements", {{"logits", logits({0, 3})}, {"targets", soft({0, 3})}, {"pos_weight", weight}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", big}, {"targets", yes_no}, {"pos_weight", weight}},
       .options = {{"reduction", "none"}},
       .extreme = true},
      {.what = "right beyond doubt: 1 - p = 1e-26",
       .inputs = {{"logits", tensor({60, -60}, {2}, DType::f64)}, {"targets", tensor({1, 0}, {2}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> probability_samples(Rng& rng) {
  const auto inside = [&](const Shape& shape) { return 0.9 * rand(shape, rng, DType::f64) + 0.05; };
  const auto hard = [&](const Shape& shape) { return randint(2, shape, rng).to(DType::f64); };
  return {
      {"hard, mean", {{"p", inside({6})}, {"targets", hard({6})}}},
      {"soft, sum", {{"p", inside({3, 4})}, {"targets", inside({3, 4})}}, {{"reduction", "sum"}}},
      {"three axes, none", {{"p", inside({2, 1, 5})}, {"targets", inside({2, 1, 5})}}, {{"reduction", "none"}}},
      {"no elements", {{"p", inside({0})}, {"targets", inside({0})}}},
      {.what = "p of 1e-30",
       .inputs = {{"p", tensor({1e-30, 1e-30}, {2}, DType::f64)}, {"targets", tensor({1, 0}, {2}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
  };
}

}  // namespace

Losses bce_losses() {
  return {{.name = "bce_with_logits",
           .family = Family::softmax,
           .formula = "-(w y log s(x) + (1-y) log(1-s(x)))",
           .seeds = "A015-A017",
           .task = "yes-or-no questions, several labels at once",
           .inputs = {{"logits", "[...]"}, {"targets", "[...]"}, {"pos_weight", "[?]", Kind::constant, true}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return bce_with_logits(a["logits"], a["targets"],
                                        {.pos_weight = a["pos_weight"], .reduction = a.reduction(), .form = a.form});
               },
           .samples = logit_samples},
          {.name = "bce_probs",
           .family = Family::softmax,
           .formula = "-(y log p + (1-y) log(1-p))",
           .seeds = "A015-A017",
           .task = "yes-or-no questions answered by probabilities",
           .inputs = {{"p", "[...]"}, {"targets", "[...]"}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return bce_probs(a["p"], a["targets"], {.reduction = a.reduction(), .form = a.form});
               },
           .samples = probability_samples}};
}

}  // namespace gradus
