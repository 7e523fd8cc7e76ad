#include "losses/softmax/bce.h"

#include "losses/softmax/bce_math.h"
#include "losses/softmax/element_loss.h"
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
  const Tensor zero = zeros({}, q.dtype(), q.device());
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

// l = w y softplus(-x) + (1 - y) softplus(x) = (w y + 1 - y) log(1 + e^-|x|) + |x| (x > 0 ? 1 - y : w y)
// dl/dx = (1 - y) s(x) - w y s(-x)
// dl/dy = w softplus(-x) - softplus(x) = (w - 1) softplus(-x) - x
template <class T, class Weight> struct BceLogitsTerm {
  Weight w;
  const T *x, *y;
  [[gnu::always_inline]] HD T value(Index i, Index c) const {
    const Sigmoids<T> s(x[i]);
    const T yes = w.at(c) * y[i], no = 1 - y[i];
    return (yes + no) * s.log_sum + weighed(x[i] > 0 ? no : yes, s.size);
  }
  template <int Side> [[gnu::always_inline]] HD T slope(Index i, Index c) const {
    const Sigmoids<T> s(x[i]);
    if constexpr (Side == 0) return (1 - y[i]) * s.yes() - w.at(c) * y[i] * s.no();
    return weighed(w.at(c) - 1, s.cost_yes()) - x[i];
  }
  template <class Team, class F> HD void pick(Team, Index, Index, F f) const { f(*this); }
};

// in: logits, targets, pos_weight or undefined
struct BceWithLogits {
  static constexpr auto name = "bce_with_logits";
  static constexpr int sides = 2;
  Index row_length(In in) const { return in[2] ? in[2].numel() : element_row; }
  template <class T, class F> void dispatch(In in, const F& f) const {
    const T *x = in[0].data<T>(), *y = in[1].data<T>();
    if (in[2]) return f(BceLogitsTerm<T, PosWeight<T>>{{in[2].data<T>()}, x, y});
    f(BceLogitsTerm<T, NoWeight<T>>{{}, x, y});
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
  if (o.form == Form::closed) return element_loss(BceWithLogits(), o.reduction, logits, targets, o.pos_weight);
  const Tensor l = definition_of_logits(logits, targets, o.pos_weight);
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
