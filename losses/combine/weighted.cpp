#include "losses/combine/weighted.h"

#include <cmath>

#include "losses/combine/tasks.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

Tensor definition(const Tensor& losses, const Tensor& w) {
  const Tensor off = equal(w, zeros({}, w.dtype(), w.device()));  // [K]
  return sum(masked_fill(losses, off, 0) * w);
}

// y = sum_i w_i L_i
// dy/dL_i = w_i
struct Product {
  static constexpr auto name = "weighted_sum";
  HD double value(double L, double w) const { return w == 0 ? 0. : L * w; }
  HD double by_loss(double, double w) const { return w; }
  HD double by_weight(double L, double) const { return L; }
};

Tensor total(At losses, const Tensor& weights, Form form) {
  const Tensor w = weights.detach();
  return form == Form::definition ? definition(losses, w) : apply(TermSum(Product{}), losses, w);
}

}  // namespace

Tensor weighted_sum(At losses, WeightedSumOptions o) {
  check_tasks("weighted_sum", losses);
  if (!o.weights) return total(losses, ones(losses->shape(), losses->dtype(), losses->device()), o.form);
  check_tasks("weighted_sum", losses, "weights", o.weights);
  return total(losses, o.weights, o.form);
}

Tensor simplex_sum(At losses, const Tensor& alpha, SimplexSumOptions o) {
  check_tasks("simplex_sum", losses, "alpha", alpha);
  check_at_least("simplex_sum", "alpha", alpha, 0);
  check_sums_to_one("simplex_sum", "alpha", alpha, 1e-5, "weighted_sum takes any weights");
  return total(losses, alpha, o.form);
}

Tensor hierarchical(At losses, HierarchicalOptions o) {
  check_tasks("hierarchical", losses);
  if (losses->numel() != 4) {
    fail("hierarchical",
         "needs the losses of characters, words, phrases and sentences, [4], got " + losses->describe());
  }
  const std::pair<const char*, double> weights[] = {
      {"alpha", o.alpha}, {"beta", o.beta}, {"gamma", o.gamma}, {"delta", o.delta}};
  for (const auto& [option, w] : weights) {
    if (std::isfinite(w)) continue;
    fail("hierarchical", std::string(option) + (std::isnan(w) ? " is NaN" : " is infinite") + "; it must be finite");
  }
  return total(losses, tensor({o.alpha, o.beta, o.gamma, o.delta}, losses->dtype(), losses->device()), o.form);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> weighted_samples(Rng& rng) {
  return {
      {"naive, 3 tasks", {{"losses", sample_losses(3, rng)}}},
      {"5 tasks", {{"losses", sample_losses(5, rng)}, {"weights", sample_losses(5, rng)}}},
      {"one task", {{"losses", sample_losses(1, rng)}, {"weights", sample_losses(1, rng)}}},
      {"a weight of 0", {{"losses", sample_losses(2, rng)}, {"weights", tensor({0, 2}, DType::f64)}}},
      {"no task", {{"losses", zeros({0}, DType::f64)}}},
      {.what = "an infinite loss that is switched off",
       .inputs = {{"losses", tensor({INFINITY, 1e-30, 1e30}, DType::f64)},
                  {"weights", tensor({0, 1e30, 1e-30}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> simplex_samples(Rng& rng) {
  const Tensor losses = sample_losses(4, rng);
  return {
      {"4 tasks", {{"losses", losses}, {"alpha", tensor({.125, .5, .25, .125}, DType::f64)}}},
      {"a corner", {{"losses", sample_losses(3, rng)}, {"alpha", tensor({0, 1, 0}, DType::f64)}}},
      {"one task", {{"losses", sample_losses(1, rng)}, {"alpha", ones({1}, DType::f64)}}},
  };
}

std::vector<LossSample> hierarchical_samples(Rng& rng) {
  return {
      {"all 1", {{"losses", sample_losses(4, rng)}}},
      {"four weights",
       {{"losses", sample_losses(4, rng)}},
       {{"alpha", .1}, {"beta", .2}, {"gamma", .3}, {"delta", .4}}},
      {"characters only", {{"losses", sample_losses(4, rng)}}, {{"beta", 0.}, {"gamma", 0.}, {"delta", 0.}}},
  };
}

}  // namespace

Losses weighted_losses() {
  return {
      {.name = "weighted_sum",
       .family = Family::combine,
       .formula = "sum_i w_i L_i",
       .seeds = "A123 A125 A132",
       .task = "several tasks on one trunk",
       .inputs = {{"losses", "[K]"}, {"weights", "[K]", Kind::constant, true}},
       .options = {},
       .run = [](const Arguments& a) { return weighted_sum(a["losses"], {.weights = a["weights"], .form = a.form}); },
       .samples = weighted_samples},
      {.name = "simplex_sum",
       .family = Family::combine,
       .formula = "sum_i alpha_i L_i, sum_i alpha_i = 1",
       .seeds = "A124",
       .task = "several tasks on one trunk, weights by grid search",
       .inputs = {{"losses", "[K]"}, {"alpha", "[K]", Kind::constant}},
       .options = {},
       .run = [](const Arguments& a) { return simplex_sum(a["losses"], a["alpha"], {.form = a.form}); },
       .samples = simplex_samples},
      {.name = "hierarchical",
       .family = Family::combine,
       .formula = "alpha L_char + beta L_word + gamma L_phrase + delta L_sentence",
       .seeds = "A141",
       .task = "heads for four levels of text on one encoder",
       .inputs = {{"losses", "[4]"}},
       .options = {{"alpha", 1.0}, {"beta", 1.0}, {"gamma", 1.0}, {"delta", 1.0}},
       .run =
           [](const Arguments& a) {
             return hierarchical(a["losses"], {.alpha = a.number("alpha"),
                                               .beta = a.number("beta"),
                                               .gamma = a.number("gamma"),
                                               .delta = a.number("delta"),
                                               .form = a.form});
           },
       .samples = hierarchical_samples}};
}

}  // namespace gradus
