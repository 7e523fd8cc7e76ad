#include "losses/softmax/language_model.h"

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/log_pt.h"
#include "ops/math.h"

namespace gradus {

// Both forms are those of cross_entropy.

Tensor mlm(At logits, const Tensor& labels, MlmOptions o) {
  if (!logits.tensor || !labels) fail("mlm", "needs logits and labels; one of them is undefined");
  if (logits->rank() != 3 || logits->size(2) == 0) {
    fail("mlm", "needs logits [B,T,V] with V >= 1, got " + logits->describe());
  }
  const Shape positions{logits->size(0), logits->size(1)};
  const Index V = logits->size(2), N = positions.numel();
  if (labels.shape() != positions) {
    fail("mlm", "needs a label for each position: logits " + logits->describe() + ", labels " + labels.describe());
  }
  check_same_device("mlm", logits, labels);
  check_indices("mlm", "label", labels, V, &o.ignore_index);
  const Tensor loss = cross_entropy(At(logits->reshape({N, V}, logits.line), logits.line), labels.reshape({N}),
                                    {.ignore_index = o.ignore_index, .reduction = o.reduction, .form = o.form});
  return o.reduction == Reduction::none ? loss.reshape(positions, logits.line) : loss;
}

Tensor nsp(At logits, const Tensor& labels, NspOptions o) {
  check_labelled_logits("nsp", logits, labels, o.ignore_index);
  if (logits->size(1) != 2) fail("nsp", "needs logits [N,2], one for each answer, got " + logits->describe());
  return cross_entropy(logits, labels, {.ignore_index = o.ignore_index, .reduction = o.reduction, .form = o.form});
}

Tensor perplexity(At logits, const Tensor& target, PerplexityOptions o) {
  check_labelled_logits("perplexity", logits, target, o.ignore_index);
  const Tensor ce = cross_entropy(logits, target, {.ignore_index = o.ignore_index, .form = o.form});
  return exp(At(ce, logits.line));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> mlm_samples(Rng& rng) {
  const auto logits = [&](Index B, Index T, Index V) { return 2 * randn({B, T, V}, rng, DType::f64); };
  return {
      {"two texts", {{"logits", logits(2, 3, 4)}, {"labels", tensor({-100, 1, 3, 0, -100, -100}, {2, 3}, DType::i64)}}},
      {"sum",
       {{"logits", logits(3, 1, 5)}, {"labels", tensor({4, -100, 2}, {3, 1}, DType::i64)}},
       {{"reduction", "sum"}}},
      {"none, another ignore_index",
       {{"logits", logits(1, 4, 2)}, {"labels", tensor({-1, 1, 0, -1}, {1, 4}, DType::i64)}},
       {{"reduction", "none"}, {"ignore_index", -1}}},
      {"nothing masked", {{"logits", logits(1, 2, 3)}, {"labels", tensor({-100, -100}, {1, 2}, DType::i64)}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, 0, 92.1034, 1}, {1, 2, 3}, DType::f64)},
                  {"labels", tensor({1, 0}, {1, 2}, DType::i64)}},
       .extreme = true},
  };
}

std::vector<LossSample> nsp_samples(Rng& rng) {
  const auto logits = [&](Index N) { return 2 * randn({N, 2}, rng, DType::f64); };
  return {
      {"mean", {{"logits", logits(5)}, {"labels", labels({0, 1, 1, 0, 1})}}},
      {"sum", {{"logits", logits(3)}, {"labels", labels({0, 1, -100})}}, {{"reduction", "sum"}}},
      {"none", {{"logits", logits(1)}, {"labels", labels({1})}}, {{"reduction", "none"}}},
      {"no rows", {{"logits", logits(0)}, {"labels", labels({})}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 69, 0}, {2, 2}, DType::f64)}, {"labels", labels({1, 0})}},
       .extreme = true},
  };
}

std::vector<LossSample> perplexity_samples(Rng& rng) {
  const auto logits = [&](Index N, Index C) { return randn({N, C}, rng, DType::f64); };
  return {
      {"six of four", {{"logits", logits(6, 4)}, {"target", randint(4, {6}, rng)}}},
      {"two classes", {{"logits", logits(3, 2)}, {"target", labels({0, 1, 1})}}},
      {"an ignored row", {{"logits", logits(2, 5)}, {"target", labels({4, -100})}}},
      {"all rows ignored", {{"logits", logits(2, 3)}, {"target", labels({-100, -100})}}},
      {.what = "e^80",
       .inputs = {{"logits", tensor({0, 80, 3}, {1, 3}, DType::f64)}, {"target", labels({0})}},
       .extreme = true},
      {.what = "right by 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 3}, {1, 3}, DType::f64)}, {"target", labels({0})}},
       .extreme = true},
  };
}

}  // namespace

Losses language_model_losses() {
  return {{.name = "mlm",
           .family = Family::softmax,
           .formula = "-log softmax(z)_y over masked positions",
           .seeds = "A137",
           .task = "masked language models",
           .inputs = {{"logits", "[B,T,V]"}, {"labels", "[B,T]", Kind::integer}},
           .options = {{"ignore_index", -100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return mlm(a["logits"], a["labels"],
                            {.ignore_index = a.integer("ignore_index"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = mlm_samples},
          {.name = "nsp",
           .family = Family::softmax,
           .formula = "-[y log P_1 + (1 - y) log P_0]",
           .seeds = "A138",
           .task = "is this the next sentence",
           .inputs = {{"logits", "[N,2]"}, {"labels", "[N]", Kind::integer}},
           .options = {{"ignore_index", -100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return nsp(a["logits"], a["labels"],
                            {.ignore_index = a.integer("ignore_index"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = nsp_samples},
          {.name = "perplexity",
           .family = Family::softmax,
           .formula = "e^{mean CE}",
           .seeds = "A020",
           .task = "language models",
           .inputs = {{"logits", "[N,C]"}, {"target", "[N]", Kind::integer}},
           .options = {{"ignore_index", -100}},
           .run =
               [](const Arguments& a) {
                 return perplexity(a["logits"], a["target"],
                                   {.ignore_index = a.integer("ignore_index"), .form = a.form});
               },
           .samples = perplexity_samples}};
}

}  // namespace gradus
