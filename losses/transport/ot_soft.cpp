#include "losses/transport/ot_soft.h"

#include "losses/transport/problem.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace gradus {

// Both forms are those of sinkhorn_rows.
Tensor ot_soft(At logits, const Tensor& target_probs, const Tensor& cost, OtSoftOptions o) {
  constexpr auto op = "ot_soft";
  if (!logits.tensor || !target_probs || !cost) {
    fail(op, "needs logits, target_probs and a cost; one of them is undefined");
  }
  check_same_kind(op, logits, target_probs);
  check_same_kind(op, logits, cost);
  if (logits->rank() != 2 || logits->size(1) == 0 || target_probs.shape() != logits->shape() ||
      cost.shape() != Shape{logits->size(1), logits->size(1)}) {
    fail(op, "needs logits [N,C], target_probs [N,C] and cost [C,C] with C >= 1, got " + logits->describe() + ", " +
                 target_probs.describe() + ", " + cost.describe());
  }
  check_masses(op, "target_probs", target_probs, logits->size(1), full({1}, 1, DType::f64, logits->device()));
  const Tensor log_t = log_masses(target_probs, target_probs.dtype());
  const Tensor log_p = log_softmax(logits);  // [N,C]
  const Tensor rows =
      sinkhorn_rows(At(log_p, logits.line), log_t, cost,
                    {.epsilon = o.epsilon, .iterations = o.iterations, .first = First::column, .form = o.form});
  return reduce_elements(At(rows, logits.line), o.reduction);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto logits = [&](Index N, Index C) { return randn({N, C}, rng, DType::f64); };
  const auto rows = [&](Index N, Index C) { return softmax(randn({N, C}, rng, DType::f64)); };
  const auto cost = [&](Index C) { return rand({C, C}, rng, DType::f64); };
  const Tensor one_hot_and_not = tensor({0, 1, 0, 0.5, 0, 0.5}, {2, 3}, DType::f64);
  const Tensor chain = tensor({0, 1, 3, 1, 0, 2, 3, 2, 0}, {3, 3}, DType::f64);
  return {
      {"3 rows", {{"logits", logits(3, 4)}, {"target_probs", rows(3, 4)}, {"cost", cost(4)}}, {{"iterations", 8}}},
      {"none, epsilon 0.5",
       {{"logits", logits(4, 2)}, {"target_probs", rows(4, 2)}, {"cost", cost(2)}},
       {{"iterations", 5}, {"epsilon", 0.5}, {"reduction", "none"}}},
      {"a one-hot row and a zero, sum",
       {{"logits", logits(2, 3)}, {"target_probs", one_hot_and_not}, {"cost", cost(3)}},
       {{"iterations", 6}, {"epsilon", 0.3}, {"reduction", "sum"}}},
      {"one class",
       {{"logits", logits(2, 1)}, {"target_probs", ones({2, 1}, DType::f64)}, {"cost", cost(1)}},
       {{"iterations", 3}}},
      {"no rows", {{"logits", logits(0, 3)}, {"target_probs", rows(0, 3)}, {"cost", cost(3)}}},
      {.what = "epsilon 1e-3",
       .inputs = {{"logits", logits(3, 5)}, {"target_probs", rows(3, 5)}, {"cost", cost(5)}},
       .options = {{"epsilon", 1e-3}},
       .extreme = true},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 9999, 3, 0, 1e4}, {2, 3}, DType::f64)},
                  {"target_probs", one_hot_and_not},
                  {"cost", chain}},
       .options = {{"iterations", 20}},
       .extreme = true},
  };
}

}  // namespace

Losses ot_soft_losses() {
  return {{.name = "ot_soft",
           .family = Family::transport,
           .formula = "<P,C>, P the entropic plan from softmax(z) to t",
           .seeds = "A043 A049 A051",
           .task = "classification with soft labels and a distance between classes",
           .inputs = {{"logits", "[N,C]"}, {"target_probs", "[N,C]", Kind::constant}, {"cost", "[C,C]"}},
           .options = {{"epsilon", 0.1}, {"iterations", 100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return ot_soft(a["logits"], a["target_probs"], a["cost"],
                                {.epsilon = a.number("epsilon"),
                                 .iterations = a.integer("iterations"),
                                 .reduction = a.reduction(),
                                 .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
