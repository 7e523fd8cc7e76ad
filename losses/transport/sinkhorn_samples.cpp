// The entries of sinkhorn.h in the table of losses.
#include "losses/transport/sinkhorn.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

const std::vector<InputSpec> problem = {{"a", "[n]", Kind::constant}, {"b", "[m]", Kind::constant}, {"cost", "[n,m]"}};
const std::vector<InputSpec> constants = {
    {"a", "[n]", Kind::constant}, {"b", "[m]", Kind::constant}, {"cost", "[n,m]", Kind::constant}};
const std::vector<OptionSpec> options = {{"epsilon", 0.1}, {"iterations", 100}, {"first", "row", {"row", "column"}}};

SinkhornOptions options_of(const Arguments& a) {
  return {.epsilon = a.number("epsilon"),
          .iterations = a.integer("iterations"),
          .first = a.text("first") == "row" ? First::row : First::column,
          .form = a.form};
}

Inputs random_problem(Rng& rng, Index n, Index m) {
  const auto mass = [&](Index k) {
    const Tensor x = rand({k}, rng, DType::f64) + 0.2;
    return x / sum(x);
  };
  const Tensor a = mass(n), b = mass(m);
  return {{"a", a}, {"b", b}, {"cost", rand({n, m}, rng, DType::f64)}};
}

Inputs with_zeros() {
  return {{"a", tensor({0.25, 0, 0.75}, DType::f64)},
          {"b", tensor({0.5, 0.375, 0, 0.125}, DType::f64)},
          {"cost", tensor({.1, .9, .4, .3, .2, .5, .7, .6, .8, .2, .1, .35}, {3, 4}, DType::f64)}};
}

LossSample tiny_epsilon(Rng& rng, Options o) {
  return {.what = "epsilon 1e-3", .inputs = random_problem(rng, 9, 7), .options = std::move(o), .extreme = true};
}

// Few iterations: the gradient is that of the iterations, converged or not.
std::vector<LossSample> unrolled_samples(Rng& rng) {
  return {
      {"5 onto 4", random_problem(rng, 5, 4), {{"epsilon", 0.3}, {"iterations", 7}}},
      {"3 onto 6, columns first", random_problem(rng, 3, 6), {{"iterations", 4}, {"first", "column"}}},
      {"one iteration", random_problem(rng, 4, 2), {{"epsilon", 1.0}, {"iterations", 1}}},
      {"masses of 0", with_zeros(), {{"iterations", 20}}},
      {"masses of 0, columns first", with_zeros(), {{"iterations", 3}, {"first", "column"}}},
      {"epsilon 0.01: the kernel is made more than once",
       random_problem(rng, 4, 5),
       {{"epsilon", 0.01}, {"iterations", 9}}},
      {"one point", random_problem(rng, 1, 3), {{"iterations", 2}}},
      tiny_epsilon(rng, {{"epsilon", 1e-3}, {"iterations", 50}}),
      tiny_epsilon(rng, {{"epsilon", 1e-3}, {"iterations", 2}}),
  };
}

// Converged to the last digit: only there are the closed gradients those of the definition.
std::vector<LossSample> converged_samples(Rng& rng) {
  return {
      {"5 onto 4", random_problem(rng, 5, 4), {{"epsilon", 0.5}, {"iterations", 150}}},
      {"3 onto 6", random_problem(rng, 3, 6), {{"epsilon", 1.0}, {"iterations", 100}}},
      {"masses of 0", with_zeros(), {{"epsilon", 0.4}, {"iterations", 200}}},
      {"one point", random_problem(rng, 1, 3), {{"iterations", 3}}},
      tiny_epsilon(rng, {{"epsilon", 1e-3}, {"iterations", 300}}),
  };
}

std::vector<LossSample> regularised_samples(Rng& rng) {
  std::vector<LossSample> samples = converged_samples(rng);
  samples[1].options.insert_or_assign("first", "column");
  return samples;
}

std::vector<LossSample> implicit_samples(Rng& rng) {
  std::vector<LossSample> samples = converged_samples(rng);
  for (LossSample& s : samples) s.options.insert_or_assign("tolerance", 1e-15);
  return samples;
}

}  // namespace

Losses sinkhorn_losses() {
  return {{.name = "sinkhorn",
           .family = Family::transport,
           .formula = "<P,C>, P after `iterations` of Sinkhorn",
           .seeds = "A041 A050",
           .task = "a smooth distance of two distributions",
           .inputs = problem,
           .options = options,
           .run = [](const Arguments& a) { return sinkhorn(a["a"], a["b"], a["cost"], options_of(a)); },
           .samples = unrolled_samples},
          {.name = "sinkhorn_plan",
           .family = Family::transport,
           .formula = "P = e^{(f_i+g_j-C_ij)/eps} after `iterations` of Sinkhorn",
           .seeds = "A041 A050",
           .task = "a soft matching",
           .inputs = constants,
           .options = options,
           .run = [](const Arguments& a) { return sinkhorn_plan(a["a"], a["b"], a["cost"], options_of(a)); },
           .samples = unrolled_samples},
          {.name = "sinkhorn_regularised",
           .family = Family::transport,
           .formula = "<P,C> + eps KL(P||a b^T), gradient P",
           .seeds = "A050",
           .task = "a smooth distance of two distributions, once converged",
           .inputs = problem,
           .options = options,
           .run = [](const Arguments& a) { return sinkhorn_regularised(a["a"], a["b"], a["cost"], options_of(a)); },
           .samples = regularised_samples},
          {.name = "sinkhorn_implicit",
           .family = Family::transport,
           .formula = "<P,C> at convergence, gradient P (1 + (alpha_i+beta_j-C_ij)/eps)",
           .seeds = "A050",
           .task = "a smooth distance of two distributions without storing iterations",
           .inputs = problem,
           .options = {{"epsilon", 0.1}, {"iterations", 1000}, {"tolerance", 1e-9}},
           .run =
               [](const Arguments& a) {
                 return sinkhorn_implicit(a["a"], a["b"], a["cost"],
                                          {.epsilon = a.number("epsilon"),
                                           .iterations = a.integer("iterations"),
                                           .tolerance = a.number("tolerance"),
                                           .form = a.form});
               },
           .samples = implicit_samples}};
}

}  // namespace gradus
