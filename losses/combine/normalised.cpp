#include "losses/combine/normalised.h"

#include <algorithm>

#include "losses/combine/tasks.h"
#include "losses/distance/checks.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// ---- on the tape

Tensor is_zero(const Tensor& x) { return equal(x, zeros({}, x.dtype(), x.device())); }

Tensor definition(const Tensor& losses, const Tensor& reference) {
  const Tensor over = is_zero(reference);  // [K]
  return sum(masked_fill(losses / masked_fill(reference, over, 1), over, 0));
}

Tensor entropy(const Tensor& p) { return -sum(p * log(masked_fill(p, is_zero(p), 1))); }

// ---- one node

// y = sum_i L_i / r_i
// dy/dL_i = 1 / r_i
struct Ratio {
  static constexpr auto name = "normalised_sum";
  HD double value(double L, double r) const { return r == 0 ? 0. : L / r; }
  HD double by_loss(double, double r) const { return r == 0 ? 0. : 1 / r; }
  HD double by_weight(double, double) const { return 0; }
};

Tensor divided(At losses, const Tensor& reference, Form form) {
  return form == Form::definition ? definition(losses, reference) : apply(TermSum(Ratio{}), losses, reference);
}

// H(p) and Var(y) in double: two passes, so a far mean costs nothing.
template <class T> struct Priors {
  Index C, N;
  const T *p, *y;
  T* prior;  // [2]
  template <class Team> HD void operator()(Index, Team team) const {
    const T *q = p, *label = y;
    const double n = N == 0 ? 1 : double(N);
    const double H = -team.template sum<double>(C, [=](Index c) {
      const double v = double(q[c]);
      return v == 0 ? 0. : v * vmath::log(v);
    });
    const double middle = team.template sum<double>(N, [=](Index i) { return double(label[i]); }) / n;
    const double spread = team.template sum<double>(N, [=](Index i) {
      const double d = double(label[i]) - middle;
      return d * d;
    });
    if (team.leads()) prior[0] = T(H), prior[1] = T(spread / n);
  }
};

Tensor priors(const Tensor& p, const Tensor& y) {
  Tensor both = empty({2}, p.dtype(), p.device());
  dispatch_float("prior_norm", p.dtype(), [&]<class T>() {
    const Index C = p.numel(), N = y.numel();
    launch_rows(p.device(), 1, std::max(C, N), Priors<T>{C, N, p.data<T>(), y.data<T>(), both.data_mut<T>()});
  });
  return both;
}

struct IsZero {
  HD bool operator()(double v) const { return v == 0; }
};

void check_prior_arguments(const Tensor& losses, const Tensor& class_probs, const Tensor& y) {
  constexpr auto op = "prior_norm";
  check_tasks(op, losses);
  if (losses.numel() != 2) {
    fail(op, "needs two losses, of the classification and of the regression, got " + losses.describe());
  }
  if (!class_probs || !y || class_probs.rank() != 1 || y.rank() != 1) {
    fail(op, "needs class_probs [C] and y [N], got " + (class_probs ? class_probs.describe() : "nothing") + " and " +
                 (y ? y.describe() : "nothing"));
  }
  check_same_kind(op, losses, class_probs);
  check_same_kind(op, losses, y);
  check_at_least(op, "class_probs", class_probs, 0);
  check_sums_to_one(op, "class_probs", class_probs, 1e-4, "divide counts by their sum");
}

}  // namespace

Tensor init_norm(At losses, const Tensor& init, NormalisedOptions o) {
  check_tasks("init_norm", losses, "init", init);
  if (first_bad(init, IsZero{}) >= 0) {
    fail("init_norm", "an initial loss of 0 measures nothing: leave that task out, or use live_norm");
  }
  return divided(losses, init.detach(), o.form);
}

Tensor prior_norm(At losses, const Tensor& class_probs, const Tensor& y, NormalisedOptions o) {
  check_prior_arguments(losses, class_probs, y);
  const Tensor p = class_probs.detach(), labels = y.detach();
  if (o.form == Form::closed) return divided(losses, priors(p, labels), o.form);
  return definition(losses, stack({entropy(p), labels.numel() ? var(labels, 0, 0) : zeros({}, p.dtype(), p.device())}));
}

Tensor live_norm(At losses, NormalisedOptions o) {
  check_tasks("live_norm", losses);
  return divided(losses, losses->detach(), o.form);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> init_samples(Rng& rng) {
  return {
      {"3 tasks", {{"losses", sample_losses(3, rng)}, {"init", sample_losses(3, rng)}}},
      {"5 tasks", {{"losses", sample_losses(5, rng)}, {"init", sample_losses(5, rng)}}},
      {"one task", {{"losses", sample_losses(1, rng)}, {"init", sample_losses(1, rng)}}},
      {"no task", {{"losses", zeros({0}, DType::f64)}, {"init", zeros({0}, DType::f64)}}},
      {.what = "losses of 1e-30 and 1e30",
       .inputs = {{"losses", tensor({1e-30, 1e30}, DType::f64)}, {"init", tensor({3e-30, 7e30}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> prior_samples(Rng& rng) {
  const auto y = [&](Index N) { return 2 * randn({N}, rng, DType::f64); };
  return {
      {"3 classes, 7 labels",
       {{"losses", sample_losses(2, rng)}, {"class_probs", tensor({.5, .3, .2}, DType::f64)}, {"y", y(7)}}},
      {"an empty class, 4 labels",
       {{"losses", sample_losses(2, rng)}, {"class_probs", tensor({.5, 0, .25, .25}, DType::f64)}, {"y", y(4)}}},
      {"one class: nothing to classify",
       {{"losses", sample_losses(2, rng)}, {"class_probs", ones({1}, DType::f64)}, {"y", y(5)}}},
      {"equal labels: nothing to regress",
       {{"losses", sample_losses(2, rng)},
        {"class_probs", tensor({.5, .5}, DType::f64)},
        {"y", full({3}, 2, DType::f64)}}},
      {"no label",
       {{"losses", sample_losses(2, rng)},
        {"class_probs", tensor({.5, .5}, DType::f64)},
        {"y", zeros({0}, DType::f64)}}},
      {.what = "labels of 1e6 + 0, 1, 2",
       .inputs = {{"losses", sample_losses(2, rng)},
                  {"class_probs", tensor({.5, .5}, DType::f64)},
                  {"y", tensor({1e6, 1e6 + 1, 1e6 + 2}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> live_samples(Rng& rng) {
  return {
      {"3 tasks", {{"losses", sample_losses(3, rng)}}},
      {"6 tasks", {{"losses", sample_losses(6, rng)}}},
      {"one task", {{"losses", sample_losses(1, rng)}}},
      {"a task that is over", {{"losses", tensor({0, 2, 3}, DType::f64)}}},
      {.what = "losses of 1e-30 and 1e30", .inputs = {{"losses", tensor({1e-30, 1e30}, DType::f64)}}, .extreme = true},
  };
}

}  // namespace

Losses normalised_losses() {
  return {
      {.name = "init_norm",
       .family = Family::combine,
       .formula = "sum_i L_i / L_i^init",
       .seeds = "A126",
       .task = "several tasks of different units on one trunk",
       .inputs = {{"losses", "[K]"}, {"init", "[K]", Kind::constant}},
       .options = {},
       .run = [](const Arguments& a) { return init_norm(a["losses"], a["init"], {.form = a.form}); },
       .samples = init_samples},
      {.name = "prior_norm",
       .family = Family::combine,
       .formula = "L_cls / H(p) + L_reg / Var(y)",
       .seeds = "A127",
       .task = "a classification and a regression on one trunk",
       .inputs = {{"losses", "[2]"}, {"class_probs", "[C]", Kind::constant}, {"y", "[N]", Kind::constant}},
       .options = {},
       .run = [](const Arguments& a) { return prior_norm(a["losses"], a["class_probs"], a["y"], {.form = a.form}); },
       .samples = prior_samples},
      {.name = "live_norm",
       .family = Family::combine,
       .formula = "sum_i L_i / sg(L_i)",
       .seeds = "A128",
       .task = "several tasks of different units on one trunk",
       .inputs = {{"losses", "[K]"}},
       .options = {},
       .run = [](const Arguments& a) { return live_norm(a["losses"], {.form = a.form}); },
       .samples = live_samples,
       .frozen = [](const Arguments& moving,
                    const Arguments& still) { return divided(moving["losses"], still["losses"], moving.form); }}};
}

}  // namespace gradus
