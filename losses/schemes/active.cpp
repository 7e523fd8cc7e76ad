#include "losses/schemes/active.h"

#include <algorithm>
#include <cmath>

#include "losses/schemes/log_partition.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// ---- as defined: from the probabilities

Tensor length_of(const Tensor& features) { return sqrt(sum(square(features.detach()), {1})); }  // [N]

Tensor egl_definition(const Tensor& logits, const Tensor& features) {
  const Index N = logits.size(0), C = logits.size(1);
  const Tensor p = softmax(logits), classes = arange(C, logits.dtype(), logits.device());       // [N,C], [C]
  const Tensor labels = equal(classes.reshape({C, 1}), classes).to(logits.dtype());             // [C,C] e_y
  const Tensor expected = sum(p * sqrt(sum(square(p.reshape({N, 1, C}) - labels), {2})), {1});  // [N]
  return features ? expected * length_of(features) : expected;
}

Tensor sorted_probability(const Tensor& logits, Index place) {  // [N]
  if (place >= logits.size(1)) return zeros({logits.size(0)}, logits.dtype(), logits.device());
  const Tensor p = sort(softmax(logits), 1, true).values;
  return index_select(p, 1, labels({place}, logits.device())).reshape({logits.size(0)});
}

// ---- in one pass over the row, f64 inside

template <class T> HD double probability(const T* z, Index j, Index k, double rest) {
  return vmath::exp(double(z[j]) - double(z[k])) / (1 + rest);
}

struct ExpectedLength {
  template <class T, class Team> HD static double score(const T* z, Index C, Index k, double rest, Team team) {
    const double others = team.template sum<double>(C, [=](Index j) {  // sum_{j != k} p_j^2
      const double p = j == k ? 0 : probability(z, j, k, rest);
      return p * p;
    });
    const double p_k = 1 / (1 + rest), far = rest / (1 + rest);  // far = 1 - p_k
    return p_k * std::sqrt(far * far + others) + team.template sum<double>(C, [=](Index j) {
      const double p = probability(z, j, k, rest);
      return j == k ? 0 : p * std::sqrt((1 - p) * (1 - p) + p_k * p_k + (others - p * p));
    });
  }
};
struct Doubt {
  template <class T, class Team> HD static double score(const T*, Index, Index, double rest, Team) {
    return rest / (1 + rest);
  }
};
struct Lead {
  template <class T, class Team> HD static double score(const T* z, Index C, Index k, double rest, Team team) {
    const double second =
        team.template max<double>(C, [=](Index j) { return j == k ? -vmath::infinity<double> : double(z[j]); });
    return -vmath::expm1(second - double(z[k])) / (1 + rest);
  }
};

template <class T, class Score> struct ScoreRow {
  const T* logits;
  Index C;
  T* y;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* z = logits + r * C;
    const Index k = team.template argmax<T>(C, [=](Index j) { return z[j]; });
    const double rest =
        team.template sum<double>(C, [=](Index j) { return j == k ? 0.0 : vmath::exp(double(z[j]) - double(z[k])); });
    const double score = Score::score(z, C, k, rest, team);
    if (team.leads()) y[r] = T(score);
  }
};

template <class Score> Tensor scores(const Tensor& logits) {
  Tensor y = empty({logits.size(0)}, logits.dtype(), logits.device());
  dispatch_float("active", y.dtype(), [&]<class T>() {
    launch_rows(y.device(), logits.size(0), logits.size(1),
                ScoreRow<T, Score>{logits.data<T>(), logits.size(1), y.data_mut<T>()});
  });
  return y;
}

}  // namespace

Tensor egl(const Tensor& logits, const Tensor& features, Form form) {
  check_logits("egl", logits);
  if (features) {
    check_same_kind("egl", logits, features);
    if (features.rank() != 2 || features.size(0) != logits.size(0)) {
      fail("egl", "needs features [N,D] beside logits " + logits.describe() + ", got " + features.describe());
    }
  }
  if (form == Form::definition) return egl_definition(logits.detach(), features);
  const Tensor length = scores<ExpectedLength>(logits);
  return features ? length * length_of(features) : length;
}

Tensor least_confidence(const Tensor& logits, Form form) {
  check_logits("least_confidence", logits);
  return form == Form::definition ? 1 - sorted_probability(logits.detach(), 0) : scores<Doubt>(logits);
}

Tensor margin_confidence(const Tensor& logits, Form form) {
  check_logits("margin_confidence", logits);
  if (form == Form::closed) return scores<Lead>(logits);
  return sorted_probability(logits.detach(), 0) - sorted_probability(logits.detach(), 1);
}

std::vector<Index> k_center_greedy(const Tensor& points, Index count, const std::vector<Index>& labelled) {
  if (!points || points.rank() != 2) fail("k_center_greedy", "needs points [N,D]");
  if (count < 0) fail("k_center_greedy", "count must not be negative, got " + std::to_string(count));
  const Index N = points.size(0), D = points.size(1);
  const std::vector<double> x = points.to_vector();
  std::vector<double> gap(static_cast<std::size_t>(N), INFINITY);  // squared distance to the nearest centre; -1: is one
  const auto add_centre = [&](Index c) {
    for (Index i = 0; i < N; ++i) {
      double d = 0;
      for (Index k = 0; k < D; ++k) d += std::pow(x[std::size_t(i * D + k)] - x[std::size_t(c * D + k)], 2);
      gap[std::size_t(i)] = std::min(gap[std::size_t(i)], d);
    }
    gap[std::size_t(c)] = -1;
  };
  for (const Index c : labelled) {
    if (c < 0 || c >= N)
      fail("k_center_greedy", "labelled row " + std::to_string(c) + " is outside " + points.describe());
    add_centre(c);
  }
  std::vector<Index> chosen;
  while (Index(chosen.size()) < count) {
    const auto farthest = std::max_element(gap.begin(), gap.end());
    if (farthest == gap.end() || *farthest < 0) break;
    chosen.push_back(farthest - gap.begin());
    add_centre(chosen.back());
  }
  return chosen;
}

// ---- for the table of losses

namespace {

std::vector<LossSample> logit_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index C) { return Inputs{{"logits", 2 * randn({N, C}, rng, DType::f64)}}; };
  return {
      {"5 rows, 3 classes", inputs(5, 3)},
      {"two classes", inputs(7, 2)},
      {"2 rows, 9 classes", inputs(2, 9)},
      {"one class", inputs(3, 1)},
      {"no rows", inputs(0, 3)},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, 30, 9000, -1e4}, {2, 3}, DType::f64)}},
       .extreme = true},
      {.what = "p = 1 - 1e-30", .inputs = {{"logits", tensor({69, 0, -1}, {1, 3}, DType::f64)}}, .extreme = true},
  };
}

std::vector<LossSample> egl_samples(Rng& rng) {
  std::vector<LossSample> samples = logit_samples(rng);
  samples.push_back(
      {"features", {{"logits", randn({4, 3}, rng, DType::f64)}, {"features", randn({4, 6}, rng, DType::f64)}}});
  return samples;
}

const InputSpec logits_input = {"logits", "[N,C]", Kind::constant};

}  // namespace

Losses active_losses() {
  return {{.name = "egl",
           .family = Family::scheme,
           .formula = "|h| sum_y p_y |p - e_y|",
           .seeds = "A163 C93",
           .task = "active learning",
           .inputs = {logits_input, {"features", "[N,D]", Kind::constant, true}},
           .options = {},
           .run = [](const Arguments& a) { return egl(a["logits"], a["features"], a.form); },
           .samples = egl_samples},
          {.name = "least_confidence",
           .family = Family::scheme,
           .formula = "1 - max_c p_c",
           .seeds = "A161",
           .task = "active learning",
           .inputs = {logits_input},
           .options = {},
           .run = [](const Arguments& a) { return least_confidence(a["logits"], a.form); },
           .samples = logit_samples},
          {.name = "margin_confidence",
           .family = Family::scheme,
           .formula = "p_(1) - p_(2)",
           .seeds = "A161",
           .task = "active learning",
           .inputs = {logits_input},
           .options = {},
           .run = [](const Arguments& a) { return margin_confidence(a["logits"], a.form); },
           .samples = logit_samples}};
}

}  // namespace gradus
