#include "losses/softmax/cross_entropy.h"

#include "losses/softmax/partition.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

bool is_hard(const Tensor& target) { return !is_floating(target.dtype()); }

// ---- as the derivation starts: -sum_c q_c log p_c on the tape

// Labels as rows of 0 and one 1; an ignored row is all 0.
Tensor one_hot_rows(const Tensor& labels, Index C, const CrossEntropyOptions& o, DType dtype) {
  Tensor t = zeros({labels.numel(), C}, dtype);
  for (Index r = 0; r < labels.numel(); ++r) {
    const Index label = Index(value_at(labels, r));
    if (label != o.ignore_index) set_value(t, r * C + label, 1);
  }
  return t;
}

Tensor definition(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  const Index C = logits.size(1);
  const Tensor t = is_hard(target) ? one_hot_rows(target, C, o, logits.dtype()) : target;  // [N,C]
  Tensor z = logits, q = (1 - o.label_smoothing) * t + o.label_smoothing / double(C);      // [N,C]
  if (is_hard(target)) {
    const Tensor counts = sum(t, {1}, true);  // [N,1] 0 where ignored
    z = masked_fill(z, logical_not(counts.to(DType::u8)), 0);
    q = q * counts;
  }
  if (o.weight) q = q * o.weight;
  const Tensor log_p = log_softmax(z);  // [N,C]
  const Tensor minus_infinity = full({}, -vmath::infinity<double>, z.dtype());
  const Tensor zero_times_infinity = logical_and(equal(log_p, minus_infinity), equal(q, zeros({}, z.dtype())));
  return -sum(q * masked_fill(log_p, zero_times_infinity, 0), {1});  // [N]
}

// ---- as the derivation ends: one node

// Where row r's q comes from: q_c = w_c ((1 - eps) t_c + eps / C).
template <class T> struct Targets {
  const Index* label;      // [N], or null
  const T *soft, *weight;  // [N,C] or null; [C] or null
  Index classes, ignore;
  T eps;
  bool is_plain() const { return label && !weight; }
  HD bool counts(Index r) const { return !label || label[r] != ignore; }
  HD T w(Index c) const { return weight ? weight[c] : T(1); }
  HD T q(Index r, Index c) const {
    const T t = label ? T(label[r] == c) : soft[r * classes + c];
    return w(c) * ((1 - eps) * t + eps / T(classes));
  }
};

// L_r = sum_c q_c (log_z + m - z_c),  log_z = lse - m
template <class T> struct RowLoss {
  Targets<T> targets;
  const T* logits;
  T *loss, *m, *log_z;  // [N] each
  template <class Team> HD void operator()(Index r, Team team) const {
    const Targets<T> target = targets;
    const Index C = target.classes;
    const T* z = logits + r * C;
    T sum = 0, top = 0, rest = 0;
    if (target.counts(r)) {
      const Partition<T> p = partition<T>(team, C, [=](Index j) { return z[j]; });
      top = p.top, rest = p.rest;
      const auto term = [=](Index c) {
        const T q = target.q(r, c), nll = rest + (top - z[c]);
        return q == 0 ? (nll != nll ? nll : T(0)) : q * nll;
      };
      const bool one_term = target.label && target.eps == 0;
      sum = one_term ? term(target.label[r]) : team.template sum<T>(C, term);
    }
    if (team.leads()) {
      loss[r] = sum;
      m[r] = top;
      log_z[r] = rest;
    }
  }
};

// dL_r/dz_j = Q p_j - q_j. Plain: q has the label alone, or the label and one value for all other classes, so the loop over
// the classes looks nothing up.
template <class T, bool Plain, bool Add> struct LogitGradient {
  Targets<T> targets;
  const T *dy, *logits, *m, *log_z;
  T* dz;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Targets<T> target = targets;
    const Index C = target.classes;
    const T *z = logits + r * C, top = m[r], rest = log_z[r], g = target.counts(r) ? dy[r] : T(0);
    T* to = dz + r * C;
    const auto put = [=](Index j, T v) { to[j] = Add ? to[j] + v : v; };
    if (g == 0) return team.each(C, [=](Index j) { put(j, T(0)); });
    if constexpr (Plain) {
      const Index t = target.label[r];
      const T eps = target.eps, other = eps / T(C);  // Q = 1
      const auto entry = [=](Index j) { put(j, g * (vmath::exp_below((z[j] - top) - rest) - other)); };
      team.each(t, entry);
      team.each(C - 1 - t, [=](Index j) { entry(t + 1 + j); });
      // p_t - 1 keeps its digits as expm1(log p_t): at p_t = 1 - 1e-20 too.
      if (team.leads()) put(t, g * (vmath::expm1((z[t] - top) - rest) + eps - other));
    } else {
      const Index t = target.label && target.eps == 0 ? target.label[r] : -1;
      const T Q = t >= 0 ? target.w(t) : team.template sum<T>(C, [=](Index c) { return target.q(r, c); });
      const T at_label = t >= 0 ? Q * vmath::expm1((z[t] - top) - rest) : T(0);
      team.each(C, [=](Index j) {
        put(j, g * (j == t ? at_label : Q * vmath::exp_below((z[j] - top) - rest) - target.q(r, j)));
      });
    }
  }
};

// dL_r/dt_c = w_c (1 - eps) (-log p_c), soft targets only
template <class T> struct TargetGradient {
  Targets<T> targets;
  const T *dy, *logits, *m, *log_z;
  T* dt;
  HD void operator()(Index r, Index c) const {
    const Index i = r * targets.classes + c;
    const T nll = log_z[r] + (m[r] - logits[i]);
    const bool impossible = targets.q(r, c) == 0 && nll == vmath::infinity<T>;
    dt[i] += impossible ? T(0) : dy[r] * targets.w(c) * (1 - targets.eps) * nll;
  }
};

// in: logits, class weights or undefined, target: labels i64 [N] or probabilities [N,C].  y: one loss per row.
struct CrossEntropy final : Op {
  Index ignore;
  double eps;
  Tensor m, log_z;  // [N], for the backward pass
  CrossEntropy(Index i, double e) : ignore(i), eps(e) {}
  const char* name() const override { return "cross_entropy"; }

  template <class T> Targets<T> targets(In in) const {
    const bool hard = is_hard(in[2]);
    return {hard ? in[2].data<Index>() : nullptr,
            hard ? nullptr : in[2].data<T>(),
            kept<T>(in[1]),
            in[0].size(1),
            ignore,
            T(eps)};
  }

  Tensor forward(In in) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    Tensor loss = empty({N}, z.dtype(), z.device());
    m = empty({N}, z.dtype(), z.device());
    log_z = empty({N}, z.dtype(), z.device());
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(z.device(), N, C,
                  RowLoss<T>{targets<T>(in), z.data<T>(), loss.data_mut<T>(), m.data_mut<T>(), log_z.data_mut<T>()});
    });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *logits = z.data<T>(), *top = m.data<T>(), *rest = log_z.data<T>();
      if (dx.wants(0)) {
        auto [dz, started] = dx.sum(0);
        with_flag(targets<T>(in).is_plain(), [&, &to = dz, add = started]<bool Plain>() {
          with_flag(add, [&]<bool Add>() {
            launch_rows(z.device(), N, C,
                        LogitGradient<T, Plain, Add>{targets<T>(in), g, logits, top, rest, to.template data_mut<T>()});
          });
        });
      }
      if (dx.wants(2)) {
        launch_grid(z.device(), N, C,
                    TargetGradient<T>{targets<T>(in), g, logits, top, rest, dx.into(2).template data_mut<T>()});
      }
    });
  }
};

// ---- the public function

void check_arguments(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  constexpr auto op = "cross_entropy";
  if (!logits || !target) fail(op, "needs logits and a target; one of them is undefined");
  if (logits.rank() != 2 || logits.size(1) == 0) {
    fail(op, "needs logits [N,C] with C >= 1, got " + logits.describe() +
                 "; classes are the last axis, use reshape({-1, C})");
  }
  if (is_hard(target)) {
    if (target.shape() != Shape{logits.size(0)}) {
      fail(op, "needs one label for each row: logits " + logits.describe() + ", target " + target.describe());
    }
    check_indices(op, "label", target, logits.size(1), &o.ignore_index);
  } else {
    check_same_kind(op, logits, target);
    if (target.shape() != logits.shape()) {
      fail(op, "soft targets need the shape of the logits " + logits.describe() + ", got " + target.describe());
    }
  }
  if (o.weight) {
    check_same_kind(op, logits, o.weight);
    if (o.weight.shape() != Shape{logits.size(1)}) {
      fail(op, "needs a weight for each class, [" + std::to_string(logits.size(1)) + "], got " + o.weight.describe());
    }
  }
  if (!(o.label_smoothing >= 0 && o.label_smoothing <= 1)) {
    fail(op, "label_smoothing must lie in [0,1], got " + std::to_string(o.label_smoothing));
  }
}

// What the mean divides by: the weights of the labels that count, or the number of rows.
double mean_divisor(const Tensor& target, const CrossEntropyOptions& o) {
  if (!is_hard(target)) return double(target.size(0));
  double total = 0;
  for (const double t : target.to_vector()) {
    if (Index(t) != o.ignore_index) total += o.weight ? value_at(o.weight, Index(t)) : 1;
  }
  return total;
}

}  // namespace

Tensor cross_entropy(At logits, const Tensor& target, CrossEntropyOptions o) {
  check_arguments(logits, target, o);
  if (o.weight) o.weight = o.weight.detach();  // class weights are constants
  const Tensor q = is_hard(target) ? as_index("cross_entropy", target) : target;
  const Tensor rows = o.form == Form::definition
                          ? definition(logits, target, o)
                          : apply(CrossEntropy(o.ignore_index, o.label_smoothing), logits, o.weight, q);
  return reduce_rows(At(rows, logits.line), o.reduction, mean_divisor(target, o));
}

// ---- for the table of losses

namespace {

const std::vector<InputSpec> logits_and_labels = {
    {"logits", "[N,C]"}, {"target", "[N]", Kind::integer}, {"weight", "[C]", Kind::constant, true}};
const std::vector<InputSpec> logits_and_probabilities = {
    {"logits", "[N,C]"}, {"target_probs", "[N,C]"}, {"weight", "[C]", Kind::constant, true}};

std::vector<LossSample> hard_samples(Rng& rng) {
  const auto logits = [&](Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); };
  const auto classes = [&](Index N, Index C) { return randint(C, {N}, rng); };
  const Tensor weight = rand({5}, rng, DType::f64) + 0.5;
  Tensor some_ignored = classes(7, 5);
  set_value(some_ignored, 2, -100);
  return {
      {"hard, mean", {{"logits", logits(6, 4)}, {"target", classes(6, 4)}}},
      {"two classes, none", {{"logits", logits(3, 2)}, {"target", classes(3, 2)}}, {{"reduction", "none"}}},
      {"weights, ignored row, sum",
       {{"logits", logits(7, 5)}, {"target", some_ignored}, {"weight", weight}},
       {{"reduction", "sum"}}},
      {"weights, ignored row, smoothing 0.1",
       {{"logits", logits(7, 5)}, {"target", some_ignored}, {"weight", weight}},
       {{"label_smoothing", 0.1}}},
      {"one class", {{"logits", logits(3, 1)}, {"target", labels({0, 0, 0})}}},
      {"all rows ignored", {{"logits", logits(2, 3)}, {"target", labels({-100, -100})}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, -1e4, 1e4, 3}, {2, 3}, DType::f64)}, {"target", labels({1, 1})}},
       .extreme = true},
      {.what = "p_t = 1 - 1e-30",
       .inputs = {{"logits", tensor({69, 0, -1}, {1, 3}, DType::f64)}, {"target", labels({0})}},
       .extreme = true},
  };
}

std::vector<LossSample> soft_samples(Rng& rng) {
  const auto logits = [&](Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); };
  const auto rows = [&](Index N, Index C) { return softmax(randn({N, C}, rng, DType::f64)); };
  const Tensor weight = rand({3}, rng, DType::f64) + 0.5;
  return {
      {"soft targets", {{"logits", logits(4, 3)}, {"target_probs", rows(4, 3)}}},
      {"smoothing 0.2, none",
       {{"logits", logits(5, 2)}, {"target_probs", rows(5, 2)}},
       {{"label_smoothing", 0.2}, {"reduction", "none"}}},
      {"weights, sum",
       {{"logits", logits(2, 3)}, {"target_probs", rows(2, 3)}, {"weight", weight}},
       {{"reduction", "sum"}}},
      {"no rows", {{"logits", logits(0, 3)}, {"target_probs", rows(0, 3)}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0}, {1, 3}, DType::f64)},
                  {"target_probs", tensor({.25, .5, .25}, {1, 3}, DType::f64)}},
       .extreme = true},
  };
}

}  // namespace

Losses cross_entropy_losses() {
  return {{.name = "cross_entropy",
           .family = Family::softmax,
           .formula = "-log softmax(z)_t",
           .seeds = "A008 A011-A014 A031",
           .task = "classification, language models",
           .inputs = logits_and_labels,
           .options = {{"ignore_index", -100}, {"label_smoothing", 0.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return cross_entropy(a["logits"], a["target"],
                                      {.weight = a["weight"],
                                       .ignore_index = a.integer("ignore_index"),
                                       .reduction = a.reduction(),
                                       .label_smoothing = a.number("label_smoothing"),
                                       .form = a.form});
               },
           .samples = hard_samples},
          {.name = "soft_cross_entropy",
           .family = Family::softmax,
           .formula = "-sum_c t_c log softmax(z)_c",
           .seeds = "A002 A032",
           .task = "classification with soft labels: mixup, smoothing, teachers",
           .inputs = logits_and_probabilities,
           .options = {{"label_smoothing", 0.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return cross_entropy(a["logits"], a["target_probs"],
                                      {.weight = a["weight"],
                                       .reduction = a.reduction(),
                                       .label_smoothing = a.number("label_smoothing"),
                                       .form = a.form});
               },
           .samples = soft_samples}};
}

}  // namespace gradus
