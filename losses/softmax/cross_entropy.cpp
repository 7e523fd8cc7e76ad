#include "losses/softmax/cross_entropy.h"

#include <type_traits>

#include "losses/softmax/cross_entropy_few.h"
#include "losses/softmax/labels.h"
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

Tensor definition(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  const Index C = logits.size(1);
  const auto constant = [&](double v) { return full({}, v, logits.dtype(), logits.device()); };
  const Tensor t = is_hard(target) ? label_rows(target, C, {}, o.ignore_index, logits.dtype()) : target;  // [N,C]
  Tensor z = logits, q = (1 - o.label_smoothing) * t + o.label_smoothing / double(C);                     // [N,C]
  if (is_hard(target)) {
    const Tensor ignored = KeptLabels("cross_entropy", target, o.ignore_index).ignored;  // [N,1]
    z = masked_fill(z, ignored, 0);
    q = masked_fill(q, ignored, 0);
  }
  if (o.weight) q = q * o.weight;
  const Tensor log_p = log_softmax(z);  // [N,C]
  const Tensor impossible = equal(log_p, constant(-vmath::infinity<double>));
  const Tensor zero_times_infinity = logical_and(impossible, equal(q, constant(0)));
  return -sum(q * masked_fill(log_p, zero_times_infinity, 0), {1});  // [N]
}

// ---- as the derivation ends: one node

using namespace ce;

// in: logits, class weights or undefined, target: labels i64 [N] or probabilities [N,C].  y: one loss per row.
struct CrossEntropy final : Op {
  Index ignore;
  double eps;
  Tensor m, log_z;  // [N], for the backward pass
  CrossEntropy(Index i, double e) : ignore(i), eps(e) {}
  const char* name() const override { return "cross_entropy"; }

  // Calls f with the targets and the type of their spread.
  template <class T, class F> void with_targets(In in, const F& f) const {
    const bool hard = is_hard(in[2]);
    const Targets<T> t{hard ? in[2].data<Index>() : nullptr,
                       hard ? nullptr : in[2].data<T>(),
                       kept<T>(in[1]),
                       in[0].size(1),
                       ignore,
                       T(eps)};
    if (hard && (eps == 0 || !t.weight)) return f.template operator()<Even<T>>(t);
    if (hard) return f.template operator()<EvenWeighted<T>>(t);
    if (t.weight) return f.template operator()<SoftWeighted<T>>(t);
    f.template operator()<Soft<T>>(t);
  }

  Tensor forward(In in) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    Tensor loss = empty({N}, z.dtype(), z.device());
    m = empty({N}, z.dtype(), z.device());
    log_z = empty({N}, z.dtype(), z.device());
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      with_targets<T>(in, [&]<class Spread>(const Targets<T>& targets) {
        T *L = loss.template data_mut<T>(), *top = m.template data_mut<T>(), *rest = log_z.template data_mut<T>();
        if (std::is_same_v<Spread, Even<T>> && C < few_classes) {
          launch(z.device(), N, FewSums<T>{z.data<T>(), C, top, rest, L});
          return launch(z.device(), N, FewLoss<T>{targets, z.data<T>(), L, top, rest});
        }
        launch_rows(z.device(), N, C, RowLoss<T, Spread>{targets, z.data<T>(), L, top, rest});
      });
    });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (dx.wants(0)) gradient<LogitGradient>(dy, in, dx.sum(0));
    if (dx.wants(2)) gradient<TargetGradient>(dy, in, dx.sum(2));
  }

 private:
  template <template <class, class, bool> class Row> void gradient(const Tensor& dy, In in, Out::Sum sum) {
    const Tensor& z = in[0];
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      with_targets<T>(in, [&]<class Spread>(const Targets<T>& targets) {
        const T *g = dy.data<T>(), *x = z.data<T>(), *top = m.data<T>(), *rest = log_z.data<T>();
        T* to = sum.tensor.template data_mut<T>();
        with_flag(sum.started, [&]<bool Add>() {
          if (std::is_same_v<Spread, Even<T>> && z.size(1) < few_classes) {
            Tensor slope = empty({z.size(0)}, z.dtype(), z.device());
            launch(z.device(), z.size(0), FewLabelSlope<T>{targets, g, x, top, rest, slope.template data_mut<T>()});
            return launch(z.device(), z.size(0),
                          FewGradient<T, Add>{targets, g, x, top, rest, slope.template data<T>(), to});
          }
          launch_rows(z.device(), z.size(0), z.size(1), Row<T, Spread, Add>{targets, g, x, top, rest, to});
        });
      });
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
    check_same_device(op, logits, target);
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

}  // namespace

Tensor cross_entropy(At logits, const Tensor& target, CrossEntropyOptions o) {
  check_arguments(logits, target, o);
  if (o.weight) o.weight = o.weight.detach();  // class weights are constants
  const Tensor q = is_hard(target) ? as_index("cross_entropy", target) : target;
  const Tensor rows = o.form == Form::definition
                          ? definition(logits, target, o)
                          : apply(CrossEntropy(o.ignore_index, o.label_smoothing), logits, o.weight, q);
  if (is_hard(target)) return reduce_labelled(At(rows, logits.line), o.reduction, q, o.ignore_index, o.weight);
  return reduce_rows(At(rows, logits.line), o.reduction, double(target.size(0)));
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
      {"18 classes, ignored row, sum",
       {{"logits", logits(3, 18)}, {"target", labels({17, -100, 0})}},
       {{"reduction", "sum"}}},
      {"18 classes, smoothing 0.3",
       {{"logits", logits(2, 18)}, {"target", labels({5, 0})}},
       {{"label_smoothing", 0.3}}},
      {"one class", {{"logits", logits(3, 1)}, {"target", labels({0, 0, 0})}}},
      {"all rows ignored", {{"logits", logits(2, 3)}, {"target", labels({-100, -100})}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, -1e4, 1e4, 3}, {2, 3}, DType::f64)}, {"target", labels({1, 1})}},
       .extreme = true},
      {.what = "17 classes, p_t = 1 - 1e-30",
       .inputs = {{"logits", tensor({0, 69, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {1, 17}, DType::f64)},
                  {"target", labels({1})}},
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
