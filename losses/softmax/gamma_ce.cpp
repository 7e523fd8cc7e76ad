#include "losses/softmax/gamma_ce.h"

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/gamma_ce_rows.h"
#include "losses/softmax/log_pt.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

bool is_hard(const Tensor& target) { return !is_floating(target.dtype()); }

// ---- as the derivation starts, on log p

Tensor phi(const Tensor& l, double g) { return g == 1 ? 1 - exp(l) : -log(g + (1 - g) * exp(l)) / (1 - g); }

Tensor hard_definition(const Tensor& logits, const Tensor& target, const GammaCeOptions& o) {
  const Tensor w = label_weights(target, {}, o.ignore_index, logits.dtype());
  return w * phi(log_pt_definition(logits, target, o.ignore_index), o.gamma);  // [N]
}

Tensor soft_definition(const Tensor& logits, const Tensor& q, const GammaCeOptions& o) {
  const Tensor unused = equal(sum(q.detach(), {1}, true), zeros({}, q.dtype(), q.device()));  // [N,1] ignored rows
  return sum(q * phi(log_softmax(masked_fill(logits, unused, 0)), o.gamma), {1});
}

// ---- as the derivation ends

using namespace gammace;

// in: logits [N,C], q [N,C].  y: one loss per row.
struct SoftGammaCe final : Op {
  Phi phi;
  Tensor m, log_z, best;  // [N], for the backward pass
  explicit SoftGammaCe(double gamma) : phi(gamma) {}
  const char* name() const override { return "gamma_ce_soft"; }
  Tensor forward(In in) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    Tensor loss = empty({N}, z.dtype(), z.device());
    m = empty({N}, z.dtype(), z.device());
    log_z = empty({N}, z.dtype(), z.device());
    best = empty({N}, DType::i64, z.device());
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(z.device(), N, C,
                  SoftLoss<T>{phi, z.data<T>(), in[1].data<T>(), C, loss.data_mut<T>(), m.data_mut<T>(),
                              log_z.data_mut<T>(), best.data_mut<Index>()});
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
        with_flag(started, [&, &to = dz]<bool Add>() {
          launch_rows(z.device(), N, C,
                      SoftLogitGradient<T, Add>{phi, g, logits, in[1].data<T>(), top, rest, best.data<Index>(), C,
                                                to.template data_mut<T>()});
        });
      }
      if (dx.wants(1)) {
        launch_grid(z.device(), N, C,
                    SoftTargetGradient<T>{phi, g, logits, top, rest, C, dx.into(1).template data_mut<T>()});
      }
    });
  }
};

// ---- the public function

void check_arguments(const Tensor& logits, const Tensor& target, const GammaCeOptions& o) {
  constexpr auto op = "gamma_ce";
  if (target && !is_hard(target)) {
    if (!logits || logits.rank() != 2 || logits.size(1) == 0 || target.shape() != logits.shape()) {
      fail(op, "needs logits [N,C] with C >= 1 and soft targets of that shape, got " +
                   (logits ? logits.describe() : "no logits") + " and " + target.describe());
    }
    check_same_kind(op, logits, target);
  } else {
    check_labelled_logits(op, logits, target, o.ignore_index);
  }
  if (!(o.gamma >= 0 && o.gamma <= 1)) fail(op, "gamma must lie in [0,1], got " + std::to_string(o.gamma));
  if (!(o.label_smoothing >= 0 && o.label_smoothing <= 1)) {
    fail(op, "label_smoothing must lie in [0,1], got " + std::to_string(o.label_smoothing));
  }
}

Tensor soft_targets(const Tensor& logits, const Tensor& target, const GammaCeOptions& o) {
  const Index N = logits.size(0), C = logits.size(1);
  const double eps = o.label_smoothing, share = eps / double(C);
  if (!is_hard(target)) return eps == 0 ? target : (1 - eps) * target + share;
  Tensor q = empty({N, C}, logits.dtype(), logits.device());
  const Tensor index = as_index("gamma_ce", target);
  dispatch_float("gamma_ce", q.dtype(), [&]<class T>() {
    launch_grid(
        q.device(), N, C,
        SmoothedLabels<T>{index.data<Index>(), o.ignore_index, C, T(share + 1 - eps), T(share), q.data_mut<T>()});
  });
  return q;
}

}  // namespace

Tensor gamma_ce(At logits, const Tensor& target, GammaCeOptions o) {
  check_arguments(logits, target, o);
  const bool definition = o.form == Form::definition;
  if (o.gamma == 0 && !definition) {
    return cross_entropy(
        logits, target,
        {.ignore_index = o.ignore_index, .reduction = o.reduction, .label_smoothing = o.label_smoothing});
  }
  Tensor rows;
  if (is_hard(target) && o.label_smoothing == 0) {
    rows = definition ? hard_definition(logits, target, o)
                      : log_pt(logits, target, Phi(o.gamma), {.ignore_index = o.ignore_index});
  } else {
    const Tensor q = soft_targets(logits, target, o);
    rows = definition ? soft_definition(logits, q, o) : apply(SoftGammaCe(o.gamma), logits, q);
  }
  if (is_hard(target)) return reduce_labelled(At(rows, logits.line), o.reduction, target, o.ignore_index);
  return reduce_rows(At(rows, logits.line), o.reduction, double(target.size(0)));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> hard_samples(Rng& rng) {
  auto all = labelled_samples(rng, {{"gamma 0.2", {}},
                                    {"gamma 0", {{"gamma", 0.0}}},
                                    {"gamma 0.9", {{"gamma", 0.9}}},
                                    {"gamma 1", {{"gamma", 1.0}}},
                                    {"gamma 1e-6", {{"gamma", 1e-6}}}});
  for (LossSample& sample : labelled_samples(rng, {{"smoothing 0.1", {{"label_smoothing", 0.1}}}})) {
    // Left out where the whole gradient is below the normal numbers of f32.
    if (!sample.what.ends_with("1e-40")) all.push_back(std::move(sample));
  }
  return all;
}

std::vector<LossSample> soft_samples(Rng& rng) {
  const auto logits = [&](Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); };
  const auto rows = [&](Index N, Index C) { return softmax(randn({N, C}, rng, DType::f64)); };
  return {
      {"gamma 0.2", {{"logits", logits(4, 3)}, {"target_probs", rows(4, 3)}}},
      {"gamma 0.5, smoothing 0.2, none",
       {{"logits", logits(5, 2)}, {"target_probs", rows(5, 2)}},
       {{"gamma", 0.5}, {"label_smoothing", 0.2}, {"reduction", "none"}}},
      {"gamma 1, sum",
       {{"logits", logits(2, 5)}, {"target_probs", rows(2, 5)}},
       {{"gamma", 1.0}, {"reduction", "sum"}}},
      {"gamma 0", {{"logits", logits(3, 4)}, {"target_probs", rows(3, 4)}}, {{"gamma", 0.0}}},
      {"no rows", {{"logits", logits(0, 3)}, {"target_probs", rows(0, 3)}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0}, {1, 3}, DType::f64)},
                  {"target_probs", tensor({.25, .5, .25}, {1, 3}, DType::f64)}},
       .extreme = true},
      {.what = "one hot, p_t = 1 - 1e-26",
       .inputs = {{"logits", tensor({60, 0, 0}, {1, 3}, DType::f64)},
                  {"target_probs", tensor({1, 0, 0}, {1, 3}, DType::f64)}},
       .extreme = true},
  };
}

LossInfo entry(const char* name, const char* formula, const char* seeds, const char* task, InputSpec target) {
  return {.name = name,
          .family = Family::softmax,
          .formula = formula,
          .seeds = seeds,
          .task = task,
          .inputs = {{"logits", "[N,C]"}, target},
          .options = {{"gamma", 0.2}, {"label_smoothing", 0.0}, reduction_option()}};
}

Tensor call(const Arguments& a, const char* target, Index ignore_index) {
  return gamma_ce(a["logits"], a[target],
                  {.gamma = a.number("gamma"),
                   .ignore_index = ignore_index,
                   .reduction = a.reduction(),
                   .label_smoothing = a.number("label_smoothing"),
                   .form = a.form});
}

}  // namespace

Losses gamma_ce_losses() {
  LossInfo hard = entry("gamma_ce", "-log(g + (1 - g) p_t) / (1 - g)", "A034-A036", "classification with wrong labels",
                        {"target", "[N]", Kind::integer});
  hard.options.push_back({"ignore_index", -100});
  hard.run = [](const Arguments& a) { return call(a, "target", a.integer("ignore_index")); };
  hard.samples = hard_samples;
  LossInfo soft = entry("gamma_ce_soft", "-sum_c t_c log(g + (1 - g) p_c) / (1 - g)", "A036",
                        "classification with soft labels of doubtful quality", {"target_probs", "[N,C]"});
  soft.run = [](const Arguments& a) { return call(a, "target_probs", -100); };
  soft.samples = soft_samples;
  return {hard, soft};
}

}  // namespace gradus
