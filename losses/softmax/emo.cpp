#include "losses/softmax/emo.h"

#include "losses/softmax/divergence_rows.h"
#include "losses/softmax/emo_cost.h"
#include "losses/softmax/labels.h"
#include "ops/distance.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/normalize.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// ---- as the derivation starts

// sum_i p_i c_i over rows that count; NaN in an ignored row stays there.
Tensor definition(const Tensor& logits, const Tensor& cost, const KeptLabels& t) {
  const Tensor z = masked_fill(logits, t.ignored, 0);
  return sum(masked_fill(softmax(z) * cost, t.ignored, 0), {1});
}

// Row t of the C x C costs, picked by a one-hot product: what the closed form avoids.
Tensor definition_costs(const Tensor& emb, const KeptLabels& t) {
  return matmul(one_hot(t.labels, emb.size(0), emb.dtype()), 1 - cosine_matrix(emb, emb));
}

// u8 [N,C], by sorting each row: the label and its k nearest. The order of the order is each class's rank.
Tensor definition_nearest(const Tensor& cosines, const KeptLabels& t, Index k) {
  Device& device = cosines.device();
  const Tensor at_label = one_hot(t.labels, cosines.size(1), cosines.dtype()).to(DType::u8);
  const Tensor first = where(at_label, full({}, 2, cosines.dtype(), device), cosines);
  return less_equal(argsort(argsort(first, 1, true), 1), full({}, double(k), DType::i64, device));
}

// ---- the public functions

void check_logits_and_embeddings(const char* op, const Tensor& logits, const Tensor& emb, const Tensor& target) {
  if (!logits || !emb || !target) fail(op, "needs logits, embeddings and a target; one of them is undefined");
  if (logits.rank() != 2 || logits.size(1) == 0) {
    fail(op,
         "needs logits [N,C] with C >= 1, got " + logits.describe() + "; classes are the last axis, reshape({-1, C})");
  }
  check_same_kind(op, logits, emb);
  if (emb.rank() != 2 || emb.size(0) != logits.size(1)) {
    fail(op, "needs an embedding for each class: logits " + logits.describe() + ", embeddings " + emb.describe());
  }
}

void check_hard(const char* op, const Tensor& logits, const Tensor& emb, const Tensor& target, Index ignore_index) {
  check_logits_and_embeddings(op, logits, emb, target);
  if (target.shape() != Shape{logits.size(0)}) {
    fail(op, "needs one label for each row: logits " + logits.describe() + ", target " + target.describe());
  }
  check_same_device(op, logits, target);
  check_indices(op, "label", target, logits.size(1), &ignore_index);
}

// emb: detached where it is fixed.
Tensor hard_emo(const char* op, At logits, const Tensor& emb, const Tensor& target, const EmoOptions& o) {
  const KeptLabels t(op, target, o.ignore_index);
  const Tensor rows =
      o.form == Form::definition
          ? definition(logits, definition_costs(emb, t), t)
          : expected_cost_rows(logits, emo_costs(cosines_to_labels(emb, t.labels), t.labels), t.ignored);
  return reduce_labelled(At(rows, logits.line), o.reduction, target, o.ignore_index);
}

}  // namespace

Tensor emo(At logits, const Tensor& emb, const Tensor& target, EmoOptions o) {
  check_hard("emo", logits, emb, target, o.ignore_index);
  return hard_emo("emo", logits, emb.detach(), target, o);
}

Tensor emo_dynamic(At logits, const Tensor& emb, const Tensor& target, EmoOptions o) {
  check_hard("emo_dynamic", logits, emb, target, o.ignore_index);
  return hard_emo("emo_dynamic", logits, emb, target, o);
}

Tensor emo_topk(At logits, const Tensor& emb, const Tensor& target, EmoTopkOptions o) {
  check_hard("emo_topk", logits, emb, target, o.ignore_index);
  if (o.k < 0) fail("emo_topk", "k must be 0 or more, got " + std::to_string(o.k));
  const KeptLabels t("emo_topk", target, o.ignore_index);
  const Tensor fixed = emb.detach(), cosines = cosines_to_labels(fixed, t.labels),
               one = ones({}, emb.dtype(), emb.device());
  Tensor rows;
  if (o.form == Form::definition) {
    rows = definition(logits, where(definition_nearest(cosines, t, o.k), definition_costs(fixed, t), one), t);
  } else {
    const Tensor cost = where(nearest_to_labels(cosines, t.labels, o.k), emo_costs(cosines, t.labels), one);
    rows = expected_cost_rows(logits, cost, t.ignored);
  }
  return reduce_labelled(At(rows, logits.line), o.reduction, target, o.ignore_index);
}

Tensor emo_soft(At logits, const Tensor& emb, const Tensor& target_probs, ExpectedCostOptions o) {
  check_logits_and_embeddings("emo_soft", logits, emb, target_probs);
  check_rows("emo_soft", logits, target_probs, "target_probs");
  const Tensor fixed = emb.detach();
  if (o.form == Form::definition) {
    const Tensor cost = matmul(target_probs, 1 - cosine_matrix(fixed, fixed));  // [N,C]
    return expected_cost(logits, cost, o);
  }
  const Tensor unit = l2_normalize(fixed), mean = matmul(target_probs, unit);                    // [C,D], [N,D]
  const Tensor cost = sum(target_probs, {1}, true) - matmul(mean, unit, {.transpose_b = true});  // [N,C]
  return expected_cost(logits, cost, o);
}

// ---- for the table of losses

namespace {

Inputs hard(Rng& rng, Index N, Index C, Index D) {
  return {{"logits", 2 * randn({N, C}, rng, DType::f64)},
          {"emb", randn({C, D}, rng, DType::f64)},
          {"target", randint(C, {N}, rng)}};
}

Inputs changed(Inputs inputs, const char* name, Index i, double value) {
  set_value(inputs[name], i, value);
  return inputs;
}

std::vector<LossSample> hard_samples(Rng& rng) {
  Inputs zero_embedding = hard(rng, 6, 3, 2);
  set_value(zero_embedding["emb"], 2, 0);
  set_value(zero_embedding["emb"], 3, 0);
  const Tensor surely = tensor({60, 0, -1, 1e4, -1e4, 0}, {2, 3}, DType::f64);
  return {
      {"four classes in three dimensions", hard(rng, 5, 4, 3)},
      {"more dimensions than classes, none", hard(rng, 2, 3, 7), {{"reduction", "none"}}},
      {"an ignored row, sum", changed(hard(rng, 4, 5, 2), "target", 1, -100), {{"reduction", "sum"}}},
      {"one class", hard(rng, 2, 1, 3)},
      {"all rows ignored",
       {{"logits", randn({1, 3}, rng, DType::f64)},
        {"emb", randn({3, 2}, rng, DType::f64)},
        {"target", labels({-100})}}},
      {"no rows", hard(rng, 0, 3, 2)},
      {.what = "an embedding of 0", .inputs = zero_embedding, .extreme = true},
      {.what = "right beyond doubt: L = 1e-26, and logits of 1e4",
       .inputs = {{"logits", surely}, {"emb", randn({3, 4}, rng, DType::f64)}, {"target", labels({0, 0})}},
       .options = {{"reduction", "none"}},
       .extreme = true},
  };
}

std::vector<LossSample> topk_samples(Rng& rng) {
  std::vector<LossSample> samples = hard_samples(rng);
  int k = 0;
  for (LossSample& sample : samples) sample.options.insert_or_assign("k", k++ % 4);
  return samples;
}

std::vector<LossSample> soft_samples(Rng& rng) {
  const auto soft = [&](Index N, Index C, Index D) {
    return Inputs{{"logits", 2 * randn({N, C}, rng, DType::f64)},
                  {"emb", randn({C, D}, rng, DType::f64)},
                  {"target_probs", softmax(randn({N, C}, rng, DType::f64))}};
  };
  return {
      {"four classes in three dimensions", soft(5, 4, 3)},
      {"more dimensions than classes, none", soft(2, 3, 7), {{"reduction", "none"}}},
      {"five classes, sum", soft(3, 5, 2), {{"reduction", "sum"}}},
      {"no rows", soft(0, 3, 2)},
  };
}

using HardEmo = Tensor (*)(At, const Tensor&, const Tensor&, EmoOptions);

LossInfo hard_info(const char* name, const char* seeds, Kind embeddings, HardEmo f) {
  return {.name = name,
          .family = Family::softmax,
          .formula = "sum_i p_i (1 - cos(e_i, e_t)), p = softmax(z)",
          .seeds = seeds,
          .task = "language models: near misses cost less",
          .inputs = {{"logits", "[N,C]"}, {"emb", "[C,D]", embeddings}, {"target", "[N]", Kind::integer}},
          .options = {{"ignore_index", -100}, reduction_option()},
          .run =
              [f](const Arguments& a) {
                return f(a["logits"], a["emb"], a["target"],
                         {.ignore_index = a.integer("ignore_index"), .reduction = a.reduction(), .form = a.form});
              },
          .samples = hard_samples};
}

}  // namespace

Losses emo_losses() {
  return {hard_info("emo", "A044-A048", Kind::constant, emo),
          hard_info("emo_dynamic", "A049", Kind::real, emo_dynamic),
          {.name = "emo_topk",
           .family = Family::softmax,
           .formula = "1 - sum_{i in t and its k nearest} p_i cos(e_i, e_t)",
           .seeds = "A049",
           .task = "language models: only near misses cost less",
           .inputs = {{"logits", "[N,C]"}, {"emb", "[C,D]", Kind::constant}, {"target", "[N]", Kind::integer}},
           .options = {{"k", 10}, {"ignore_index", -100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return emo_topk(a["logits"], a["emb"], a["target"],
                                 {.k = a.integer("k"),
                                  .ignore_index = a.integer("ignore_index"),
                                  .reduction = a.reduction(),
                                  .form = a.form});
               },
           .samples = topk_samples},
          {.name = "emo_soft",
           .family = Family::softmax,
           .formula = "sum_ij p_i q_j (1 - cos(e_i, e_j))",
           .seeds = "A046",
           .task = "near misses of soft targets",
           .inputs = {{"logits", "[N,C]"}, {"emb", "[C,D]", Kind::constant}, {"target_probs", "[N,C]"}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return emo_soft(a["logits"], a["emb"], a["target_probs"],
                                 {.reduction = a.reduction(), .form = a.form});
               },
           .samples = soft_samples}};
}

}  // namespace gradus
