#include "losses/softmax/class_balanced.h"

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/log_pt.h"
#include "ops/elementwise.h"

namespace gradus {
namespace {

// w_c = (1 - beta) / (1 - beta^n), and 0 for n = 0. As the derivation starts:
struct DefinedWeight {
  double beta;
  HD double of(double n) const { return n == 0 ? 0 : beta == 1 ? 1 / n : (1 - beta) / (1 - std::pow(beta, n)); }
};
// As it ends:
struct ClosedWeight {
  double beta;
  HD double of(double n) const { return n == 0 ? 0 : beta == 1 ? 1 / n : (1 - beta) / -std::expm1(n * std::log(beta)); }
};

// One team for all classes.
template <class Weight> struct ScaledWeights {
  Weight weight;
  const double* n;
  Index classes;
  bool normalise;
  double* w;
  template <class Team> HD void operator()(Index, Team team) const {
    const Weight f = weight;
    const double *counts = n, total = team.template sum<double>(classes, [=](Index c) { return f.of(counts[c]); });
    const double scale = normalise && total > 0 ? double(classes) / total : 1;
    double* to = w;
    team.each(classes, [=](Index c) { to[c] = scale * f.of(counts[c]); });
  }
};

struct NotACount {
  const double* n;
  HD bool operator()(Index c) const { return !(n[c] >= 0 && n[c] < vmath::infinity<double>); }
};

void check_beta(std::string_view op, double beta) {
  if (!(beta >= 0 && beta <= 1)) fail(op, "beta must lie in [0,1], got " + std::to_string(beta));
}

}  // namespace

Tensor checked_class_counts(std::string_view op, const Tensor& class_counts, Index C) {
  if (!class_counts) fail(op, "class_counts is undefined");
  if (class_counts.rank() != 1 || (C >= 0 && class_counts.numel() != C)) {
    fail(op, "needs a count for each class, [" + (C < 0 ? "C" : std::to_string(C)) + "], got class_counts " +
                 class_counts.describe());
  }
  const Tensor counts = class_counts.detach().to(DType::f64);
  const Index bad = find_first(counts.device(), counts.numel(), NotACount{counts.data<double>()});
  if (bad >= 0) {
    fail(op, "class_counts must be >= 0, got " + std::to_string(value_at(counts, bad)) + " at [" + std::to_string(bad) +
                 "]");
  }
  return counts;
}

Tensor class_balanced_weights(const Tensor& class_counts, ClassBalancedWeightsOptions o) {
  const Tensor n = checked_class_counts("class_balanced_weights", class_counts, -1);
  check_beta("class_balanced_weights", o.beta);
  Tensor w = empty(n.shape(), DType::f64, n.device());
  const auto fill = [&](auto weight) {
    launch_rows(
        n.device(), 1, n.numel(),
        ScaledWeights<decltype(weight)>{weight, n.data<double>(), n.numel(), o.normalise, w.data_mut<double>()});
  };
  if (o.form == Form::definition) {
    fill(DefinedWeight{o.beta});
  } else {
    fill(ClosedWeight{o.beta});
  }
  return is_floating(class_counts.dtype()) ? w.to(class_counts.dtype()) : w;
}

Tensor class_balanced_ce(At logits, const Tensor& target, const Tensor& class_counts, ClassBalancedCeOptions o) {
  constexpr auto op = "class_balanced_ce";
  check_labelled_logits(op, logits, target, o.ignore_index);
  check_beta(op, o.beta);
  checked_class_counts(op, class_counts, logits->size(1));
  check_same_device(op, logits, class_counts);
  const bool plain_mean = o.reduction == Reduction::mean && o.average == Average::plain;
  const Tensor w = class_balanced_weights(class_counts, {.beta = o.beta, .form = o.form});
  const Tensor loss = cross_entropy(logits, target,
                                    {.weight = w.to(logits->dtype()),
                                     .ignore_index = o.ignore_index,
                                     .reduction = plain_mean ? Reduction::none : o.reduction,
                                     .form = o.form});
  return plain_mean ? reduce_labelled(At(loss, logits.line), Reduction::mean, target, o.ignore_index) : loss;
}

// ---- for the table of losses

namespace {

std::vector<LossSample> weight_samples(Rng&) {
  return {
      {"long tail", {{"class_counts", labels({5000, 300, 20, 1})}}},
      {"beta 0.9, not scaled", {{"class_counts", labels({3, 50})}}, {{"beta", 0.9}, {"normalise", false}}},
      {"beta 0", {{"class_counts", labels({3, 50, 7})}}, {{"beta", 0.0}}},
      {"beta 1", {{"class_counts", labels({3, 50, 7})}}, {{"beta", 1.0}}},
      {"an empty class", {{"class_counts", labels({3, 0, 7, 900, 12})}}},
      {.what = "beta 1 - 1e-12",
       .inputs = {{"class_counts", labels({1, 1000000000})}},
       .options = {{"beta", 1 - 1e-12}},
       .extreme = true},
  };
}

std::vector<LossSample> ce_samples(Rng& rng) {
  std::vector<LossSample> all =
      labelled_samples(rng, {{"beta 0.9999", {}}, {"weighted, beta 0.9", {{"average", "weighted"}, {"beta", 0.9}}}});
  for (LossSample& sample : all) {
    std::vector<Index> counts;  // 1, 12, 23, ...
    for (Index c = 0; c < sample.inputs["logits"].size(1); ++c) counts.push_back(1 + 11 * c);
    sample.inputs["class_counts"] = labels(counts);
  }
  all.push_back({"an empty class",
                 {{"logits", randn({3, 4}, rng, DType::f64)},
                  {"target", labels({1, 3, 0})},
                  {"class_counts", labels({5, 0, 40, 300})}}});
  return all;
}

}  // namespace

Losses class_balanced_losses() {
  return {{.name = "class_balanced_weights",
           .family = Family::softmax,
           .formula = "(1 - beta) / (1 - beta^n_c), scaled to sum C",
           .seeds = "A037 A021",
           .task = "long-tailed classification: class weights",
           .inputs = {{"class_counts", "[C]", Kind::integer}},
           .options = {{"beta", 0.9999}, {"normalise", true}},
           .run =
               [](const Arguments& a) {
                 return class_balanced_weights(
                     a["class_counts"], {.beta = a.number("beta"), .normalise = a.flag("normalise"), .form = a.form});
               },
           .samples = weight_samples},
          {.name = "class_balanced_ce",
           .family = Family::softmax,
           .formula = "-w_t log softmax(z)_t, w_c ~ (1 - beta) / (1 - beta^n_c)",
           .seeds = "A037 A021 A039",
           .task = "long-tailed classification",
           .inputs = {{"logits", "[N,C]"}, {"target", "[N]", Kind::integer}, {"class_counts", "[C]", Kind::integer}},
           .options = {{"beta", 0.9999},
                       {"average", "plain", {"plain", "weighted"}},
                       {"ignore_index", -100},
                       reduction_option()},
           .run =
               [](const Arguments& a) {
                 return class_balanced_ce(a["logits"], a["target"], a["class_counts"],
                                          {.beta = a.number("beta"),
                                           .average = a.text("average") == "plain" ? Average::plain : Average::weighted,
                                           .ignore_index = a.integer("ignore_index"),
                                           .reduction = a.reduction(),
                                           .form = a.form});
               },
           .samples = ce_samples}};
}

}  // namespace gradus
