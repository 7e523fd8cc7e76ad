#include "losses/metrics/ranking.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/distance.h"
#include "ops/index.h"
#include "ops/sort.h"

namespace gradus {
namespace {

using Column = std::vector<double>;

// ---- average precision of one column

double average_precision_by_counting(const Column& s, const Column& y) {
  double sum = 0, positives = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (y[i] == 0) continue;
    double as_high = 0, hits = 0;
    for (std::size_t j = 0; j < s.size(); ++j) as_high += s[j] >= s[i], hits += s[j] >= s[i] && y[j] != 0;
    sum += hits / as_high, positives += 1;
  }
  return positives > 0 ? sum / positives : 0;
}

double average_precision_by_sorting(const Column& s, const Column& y) {
  std::vector<std::size_t> order(s.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return s[a] > s[b]; });
  double sum = 0, positives = 0;
  for (std::size_t first = 0, end = 0; first < s.size(); first = end) {  // groups of equal scores
    double more = 0;
    while (end < s.size() && s[order[end]] == s[order[first]]) more += y[order[end++]] != 0;
    positives += more;
    sum += more * positives / double(end);
  }
  return positives > 0 ? sum / positives : 0;
}

double column_precision(const Column& s, const Column& y, Form form) {
  return form == Form::definition ? average_precision_by_counting(s, y) : average_precision_by_sorting(s, y);
}

void check_pair(const char* op, const Tensor& scores, const Tensor& labels, int rank) {
  if (!scores || !labels || scores.rank() != rank || labels.shape() != scores.shape()) {
    fail(op, std::string("needs scores and labels 0/1, both ") + (rank == 1 ? "[N]" : "[N,C]"));
  }
  for (const double s : scores.to_vector()) {
    if (std::isnan(s)) fail(op, "a score is NaN: it has no place in the order");
  }
}

// ---- recall at k of one query: similarity to each candidate, and what each candidate is

enum class Role { positive, negative, none };

// Candidates in order, negatives first where equal; is one of the first k positive?
bool found_by_sorting(const double* similarity, const std::vector<Role>& role, Index k) {
  std::vector<std::size_t> order;
  for (std::size_t j = 0; j < role.size(); ++j) {
    if (role[j] != Role::none) order.push_back(j);
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (similarity[a] != similarity[b]) return similarity[a] > similarity[b];
    return role[a] == Role::negative && role[b] == Role::positive;
  });
  for (std::size_t place = 0; place < order.size() && Index(place) < k; ++place) {
    if (role[order[place]] == Role::positive) return true;
  }
  return false;
}

// Fewer than k negatives are as similar as the best positive.
bool found_by_counting(const double* similarity, const std::vector<Role>& role, Index k) {
  double best = -INFINITY;
  Index as_high = 0;
  for (std::size_t j = 0; j < role.size(); ++j) {
    if (role[j] == Role::positive) best = std::max(best, similarity[j]);
  }
  for (std::size_t j = 0; j < role.size(); ++j) as_high += role[j] == Role::negative && similarity[j] >= best;
  return as_high < k;
}

// role(i, j): what candidate j is to query i
template <class F> double recall(const Tensor& similarity, const F& role_of, const RecallOptions& o) {
  const Index N = similarity.size(0), M = similarity.size(1);
  const Column s = similarity.to_vector();
  std::vector<Role> role(static_cast<std::size_t>(M));
  double found = 0, queries = 0;
  for (Index i = 0; i < N; ++i) {
    for (Index j = 0; j < M; ++j) role[std::size_t(j)] = role_of(i, j);
    if (std::find(role.begin(), role.end(), Role::positive) == role.end()) continue;
    const double* row = s.data() + i * M;
    found += o.form == Form::definition ? found_by_sorting(row, role, o.k) : found_by_counting(row, role, o.k);
    queries += 1;
  }
  return queries > 0 ? found / queries : 0;
}

void check_recall(const char* op, const Tensor& x, const Tensor& labels, const RecallOptions& o) {
  if (!x || x.rank() != 2 || !is_floating(x.dtype())) fail(op, "needs a floating-point matrix, one row for each query");
  if (!labels || labels.shape() != Shape{x.size(0)}) fail(op, "needs one label for each row of " + x.describe());
  if (o.k < 1) fail(op, "k must be at least 1, got " + std::to_string(o.k));
  for (const double s : x.to_vector()) {
    if (std::isnan(s)) fail(op, "a value is NaN: it has no place in the order");
  }
}

}  // namespace

double average_precision(const Tensor& scores, const Tensor& labels, Form form) {
  check_pair("average_precision", scores, labels, 1);
  return column_precision(scores.to_vector(), labels.to_vector(), form);
}

double mean_average_precision(const Tensor& scores, const Tensor& labels, Form form) {
  check_pair("mean_average_precision", scores, labels, 2);
  const Index N = scores.size(0), C = scores.size(1);
  double sum = 0, classes = 0;
  const Column all_scores = scores.to_vector(), all_labels = labels.to_vector();
  for (Index c = 0; c < C; ++c) {
    Column s, y;
    double positives = 0;
    for (Index r = 0; r < N; ++r) {
      s.push_back(all_scores[std::size_t(r * C + c)]);
      y.push_back(all_labels[std::size_t(r * C + c)]);
      positives += y.back() != 0;
    }
    if (positives > 0) sum += column_precision(s, y, form), classes += 1;
  }
  return classes > 0 ? sum / classes : 0;
}

double recall_at_k(const Tensor& embeddings, const Tensor& labels, RecallOptions o) {
  check_recall("recall_at_k", embeddings, labels, o);
  const Tensor y = as_index("recall_at_k", labels).cpu(), x = embeddings.detach().to(DType::f64);
  const Index* label = y.data<Index>();
  const auto role = [label](Index i, Index j) {
    return i == j ? Role::none : label[i] == label[j] ? Role::positive : Role::negative;
  };
  return recall(cosine_matrix(x, x), role, o);
}

double recall_at_k_of(const Tensor& similarity, const Tensor& positive, RecallOptions o) {
  check_recall("recall_at_k_of", similarity, positive, o);
  const Tensor p = as_index("recall_at_k_of", positive).cpu();
  check_indices("recall_at_k_of", "positive", p, similarity.size(1));
  const Index* wanted = p.data<Index>();
  return recall(
      similarity, [wanted](Index i, Index j) { return wanted[i] == j ? Role::positive : Role::negative; }, o);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> precision_samples(Rng& rng, bool matrix) {
  const auto inputs = [&](Index N) {
    const Shape shape = matrix ? Shape{N, 3} : Shape{N};
    return Inputs{{"scores", randn(shape, rng, DType::f64)}, {"labels", randint(2, shape, rng)}};
  };
  Inputs tied = inputs(8), none = inputs(5);
  tied["scores"] = randint(3, tied["scores"].shape(), rng).to(DType::f64);
  none["labels"] = zeros(none["labels"].shape(), DType::i64);
  return {{"6 rows", inputs(6)},
          {"31 rows", inputs(31)},
          {"tied scores", tied},
          {"no positive", none},
          {"no rows", inputs(0)}};
}

std::vector<LossSample> recall_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index D, Index classes) {
    return Inputs{{"embeddings", randn({N, D}, rng, DType::f64)}, {"labels", randint(classes, {N}, rng)}};
  };
  return {{"12 rows, k 1", inputs(12, 3, 3)},
          {"20 rows, k 3", inputs(20, 5, 6), {{"k", 3}}},
          {"k beyond the rows", inputs(4, 2, 2), {{"k", 10}}},
          {"one point", {{"embeddings", ones({4, 2}, DType::f64)}, {"labels", labels({0, 0, 1, 1})}}},
          {"no pair", {{"embeddings", randn({3, 2}, rng, DType::f64)}, {"labels", labels({0, 1, 2})}}},
          {"no rows", inputs(0, 3, 2)}};
}

std::vector<LossSample> retrieval_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index M) {
    return Inputs{{"similarity", randn({N, M}, rng, DType::f64)}, {"positive", randint(M, {N}, rng)}};
  };
  return {{"8 queries, 5 candidates", inputs(8, 5)},
          {"3 queries, 9 candidates, k 4", inputs(3, 9), {{"k", 4}}},
          {"all tied", {{"similarity", zeros({2, 3}, DType::f64)}, {"positive", labels({0, 2})}}, {{"k", 2}}},
          {"no queries", inputs(0, 3)}};
}

Tensor value(double v, const Tensor& like) { return full({}, v, like.dtype(), like.device()); }

}  // namespace

Losses ranking_losses() {
  return {
      {.name = "average_precision",
       .family = Family::metric,
       .formula = "mean over positives of the precision at their score",
       .seeds = "A173",
       .task = "retrieval, detection",
       .inputs = {{"scores", "[N]", Kind::constant}, {"labels", "[N]", Kind::integer}},
       .options = {},
       .run =
           [](const Arguments& a) { return value(average_precision(a["scores"], a["labels"], a.form), a["scores"]); },
       .samples = [](Rng& rng) { return precision_samples(rng, false); }},
      {.name = "mean_average_precision",
       .family = Family::metric,
       .formula = "mean over classes with positives of average_precision",
       .seeds = "A173",
       .task = "multi-label classification, detection",
       .inputs = {{"scores", "[N,C]", Kind::constant}, {"labels", "[N,C]", Kind::integer}},
       .options = {},
       .run =
           [](const Arguments& a) {
             return value(mean_average_precision(a["scores"], a["labels"], a.form), a["scores"]);
           },
       .samples = [](Rng& rng) { return precision_samples(rng, true); }},
      {.name = "recall_at_k",
       .family = Family::metric,
       .formula = "share of rows with one of their label among the k nearest by cosine",
       .seeds = "A173",
       .task = "metric learning",
       .inputs = {{"embeddings", "[N,D]", Kind::constant}, {"labels", "[N]", Kind::integer}},
       .options = {{"k", 1}},
       .run =
           [](const Arguments& a) {
             const RecallOptions o{a.integer("k"), a.form};
             return value(recall_at_k(a["embeddings"], a["labels"], o), a["embeddings"]);
           },
       .samples = recall_samples},
      {.name = "recall_at_k_of",
       .family = Family::metric,
       .formula = "share of queries with their positive among the k most similar",
       .seeds = "A173",
       .task = "retrieval",
       .inputs = {{"similarity", "[N,M]", Kind::constant}, {"positive", "[N]", Kind::integer}},
       .options = {{"k", 1}},
       .run =
           [](const Arguments& a) {
             const RecallOptions o{a.integer("k"), a.form};
             return value(recall_at_k_of(a["similarity"], a["positive"], o), a["similarity"]);
           },
       .samples = retrieval_samples}};
}

}  // namespace gradus
