#include "losses/metrics/classes.h"

#include <algorithm>

#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/sort.h"

namespace gradus {
namespace {

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

struct Checked {
  Tensor predicted, actual;  // i64 [N], on the CPU
  Index classes;
};

Checked checked(const char* op, const Tensor& predictions, const Tensor& target, const ClassOptions& o) {
  if (!predictions || !target) fail(op, "needs predictions and a target; one of them is undefined");
  const bool logits = is_floating(predictions.dtype());
  if (predictions.rank() != (logits ? 2 : 1) || (logits && predictions.size(1) == 0)) {
    fail(op, "needs logits [N,C] with C >= 1 or classes int [N], got " + predictions.describe());
  }
  if (target.shape() != Shape{predictions.size(0)}) {
    fail(op, "needs a target for each row: predictions " + predictions.describe() + ", target " + target.describe());
  }
  check_same_device(op, predictions, target);
  const Tensor actual = as_index(op, target).cpu();
  const Tensor predicted = (logits ? argmax(predictions.detach(), 1) : as_index(op, predictions)).cpu();
  Index C = logits ? predictions.size(1) : 0;
  for (Index i = 0; !logits && i < actual.numel(); ++i) {
    C = std::max({C, actual.data<Index>()[i] + 1, predicted.data<Index>()[i] + 1});
  }
  check_indices(op, "target", actual, C, &o.ignore_index);
  check_indices(op, "predicted class", predicted, C);
  return {predicted, actual, C};
}

// Class by class, every row looked at.
ClassCounts counted_by_class(const Checked& c, Index ignore) {
  ClassCounts n;
  for (Index k = 0; k < c.classes; ++k) {
    Index hit = 0, predicted = 0, actual = 0, rows = 0;
    for (Index i = 0; i < c.actual.numel(); ++i) {
      const Index p = Index(value_at(c.predicted, i)), t = Index(value_at(c.actual, i));
      if (t == ignore) continue;
      ++rows, predicted += p == k, actual += t == k, hit += p == k && t == k;
    }
    n.hit.push_back(hit), n.predicted.push_back(predicted), n.actual.push_back(actual);
    n.rows = rows;
  }
  return n;
}

// One pass.
ClassCounts counted(const Checked& c, Index ignore) {
  const std::vector<Index> none(static_cast<std::size_t>(c.classes));
  ClassCounts n{none, none, none};
  const Index *p = c.predicted.data<Index>(), *t = c.actual.data<Index>();
  for (Index i = 0; i < c.actual.numel(); ++i) {
    if (t[i] == ignore) continue;
    ++n.rows, ++n.predicted[std::size_t(p[i])], ++n.actual[std::size_t(t[i])];
    n.hit[std::size_t(t[i])] += p[i] == t[i];
  }
  return n;
}

ClassCounts counts(const char* op, const Tensor& predictions, const Tensor& target, const ClassOptions& o) {
  const Checked c = checked(op, predictions, target, o);
  return o.form == Form::definition ? counted_by_class(c, o.ignore_index) : counted(c, o.ignore_index);
}

// The mean of value(c) over the classes for which counts(c).
template <class Counts, class Value> double mean_over(const ClassCounts& n, Counts counts, Value value) {
  double sum = 0, classes = 0;
  for (std::size_t c = 0; c < n.hit.size(); ++c) {
    if (counts(c)) sum += value(c), classes += 1;
  }
  return ratio(sum, classes);
}

}  // namespace

ClassCounts class_counts(const Tensor& predictions, const Tensor& target, ClassOptions o) {
  return counts("class_counts", predictions, target, o);
}

double accuracy(const Tensor& predictions, const Tensor& target, ClassOptions o) {
  const ClassCounts n = counts("accuracy", predictions, target, o);
  double hits = 0;
  for (const Index h : n.hit) hits += double(h);
  return ratio(hits, double(n.rows));
}

double balanced_accuracy(const Tensor& predictions, const Tensor& target, ClassOptions o) {
  const ClassCounts n = counts("balanced_accuracy", predictions, target, o);
  return mean_over(
      n, [&](std::size_t c) { return n.actual[c] > 0; },
      [&](std::size_t c) { return double(n.hit[c]) / double(n.actual[c]); });
}

double mean_iou(const Tensor& predictions, const Tensor& target, ClassOptions o) {
  const ClassCounts n = counts("mean_iou", predictions, target, o);
  const auto in_either = [&](std::size_t c) { return n.predicted[c] + n.actual[c] - n.hit[c]; };
  return mean_over(
      n, [&](std::size_t c) { return in_either(c) > 0; },
      [&](std::size_t c) { return double(n.hit[c]) / double(in_either(c)); });
}

PrecisionRecall precision_recall(Index hit, Index predicted, Index actual) {
  const double h = double(hit), p = double(predicted), a = double(actual);
  return {ratio(h, p), ratio(h, a), ratio(2 * h, p + a)};
}

PrecisionRecall precision_recall(const Tensor& predictions, const Tensor& target, ClassAverage average,
                                 ClassOptions o) {
  const ClassCounts n = counts("precision_recall", predictions, target, o);
  const auto of_class = [&](std::size_t c) { return precision_recall(n.hit[c], n.predicted[c], n.actual[c]); };
  if (average == ClassAverage::binary) return n.hit.size() > 1 ? of_class(1) : PrecisionRecall{};
  if (average == ClassAverage::micro) {
    Index hit = 0;
    for (const Index h : n.hit) hit += h;
    return precision_recall(hit, n.rows, n.rows);
  }
  const auto mean = [&](double PrecisionRecall::*part) {
    return mean_over(
        n, [&](std::size_t c) { return n.predicted[c] + n.actual[c] > 0; },
        [&](std::size_t c) { return of_class(c).*part; });
  };
  return {mean(&PrecisionRecall::precision), mean(&PrecisionRecall::recall), mean(&PrecisionRecall::f1)};
}

GroupAccuracy group_accuracy(const Tensor& predictions, const Tensor& target, const Tensor& train_counts,
                             GroupOptions o) {
  constexpr auto op = "group_accuracy";
  const ClassCounts n = counts(op, predictions, target, {o.ignore_index, o.form});
  if (!train_counts || train_counts.rank() != 1 || train_counts.size(0) < Index(n.hit.size())) {
    fail(op, "needs the training rows of each class, [C] with C = " + std::to_string(n.hit.size()));
  }
  const std::vector<double> trained = train_counts.to_vector();
  for (std::size_t c = 0; c < trained.size(); ++c) {
    if (!(trained[c] >= 0)) fail(op, "class_counts must be >= 0, one is not at " + std::to_string(c));
  }
  if (!(o.few <= o.many)) fail(op, "few must not exceed many");
  const auto mean = [&](auto in_group) {
    return mean_over(
        n, [&](std::size_t c) { return n.actual[c] > 0 && in_group(trained[c]); },
        [&](std::size_t c) { return double(n.hit[c]) / double(n.actual[c]); });
  };
  return {mean([&](double rows) { return rows > o.many; }),
          mean([&](double rows) { return rows <= o.many && rows >= o.few; }),
          mean([&](double rows) { return rows < o.few; })};
}

// ---- for the table of losses

namespace {

std::vector<LossSample> class_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index C) {
    return Inputs{{"logits", randn({N, C}, rng, DType::f64)}, {"target", randint(C, {N}, rng)}};
  };
  Inputs ignored = inputs(8, 3);
  set_value(ignored["target"], 2, -100);
  return {
      {"20 rows, 4 classes", inputs(20, 4)}, {"two classes", inputs(9, 2)}, {"more classes than rows", inputs(3, 7)},
      {"an ignored row", ignored},           {"one class", inputs(3, 1)},   {"no rows", inputs(0, 3)},
  };
}
std::vector<LossSample> average_samples(Rng& rng) {
  std::vector<LossSample> samples = class_samples(rng);
  samples[0].options.insert_or_assign("average", "micro");
  samples[1].options.insert_or_assign("average", "binary");
  return samples;
}
std::vector<LossSample> group_samples(Rng& rng) {
  std::vector<LossSample> samples = class_samples(rng);
  for (LossSample& s : samples) { s.inputs["class_counts"] = randint(150, {s.inputs["logits"].size(1)}, rng); }
  return samples;
}

using ClassMetric = double (*)(const Tensor&, const Tensor&, ClassOptions);

ClassOptions class_options(const Arguments& a) { return {a.integer("ignore_index"), a.form}; }
Tensor value(const Arguments& a, double v) { return full({}, v, a["logits"].dtype(), a["logits"].device()); }

const std::vector<InputSpec> logits_and_target = {{"logits", "[N,C]", Kind::constant},
                                                  {"target", "[N]", Kind::integer}};
const OptionSpec ignore_option = {"ignore_index", -100};

LossInfo plain(const char* name, const char* formula, ClassMetric metric) {
  return {.name = name,
          .family = Family::metric,
          .formula = formula,
          .seeds = "A173",
          .task = "classification",
          .inputs = logits_and_target,
          .options = {ignore_option},
          .run = [metric](const Arguments& a) { return value(a, metric(a["logits"], a["target"], class_options(a))); },
          .samples = class_samples};
}

LossInfo averaged(const char* name, const char* formula, double PrecisionRecall::*part) {
  return {.name = name,
          .family = Family::metric,
          .formula = formula,
          .seeds = "A173",
          .task = "classification",
          .inputs = logits_and_target,
          .options = {ignore_option, {"average", "macro", {"macro", "micro", "binary"}}},
          .run =
              [part](const Arguments& a) {
                const std::string& word = a.text("average");
                const ClassAverage average = word == "macro"   ? ClassAverage::macro
                                             : word == "micro" ? ClassAverage::micro
                                                               : ClassAverage::binary;
                return value(a, precision_recall(a["logits"], a["target"], average, class_options(a)).*part);
              },
          .samples = average_samples};
}

Tensor run_group_accuracy(const Arguments& a) {
  const GroupAccuracy g = group_accuracy(a["logits"], a["target"], a["class_counts"],
                                         {a.number("many"), a.number("few"), a.integer("ignore_index"), a.form});
  return tensor({g.many, g.medium, g.few}, a["logits"].dtype(), a["logits"].device());
}

}  // namespace

Losses class_losses() {
  return {plain("accuracy", "sum_c hit_c / N", accuracy),
          plain("balanced_accuracy", "mean_c hit_c / actual_c", balanced_accuracy),
          averaged("precision", "hit_c / predicted_c", &PrecisionRecall::precision),
          averaged("recall", "hit_c / actual_c", &PrecisionRecall::recall),
          averaged("f1", "2 hit_c / (predicted_c + actual_c)", &PrecisionRecall::f1),
          plain("mean_iou", "mean_c hit_c / (predicted_c + actual_c - hit_c)", mean_iou),
          {.name = "group_accuracy",
           .family = Family::metric,
           .formula = "mean_c hit_c / actual_c over classes with many, medium, few training rows",
           .seeds = "A173",
           .task = "long tails",
           .inputs = {logits_and_target[0], logits_and_target[1], {"class_counts", "[C]", Kind::integer}},
           .options = {ignore_option, {"many", 100.0}, {"few", 20.0}},
           .run = run_group_accuracy,
           .samples = group_samples}};
}

}  // namespace gradus
