#include "losses/metrics/regression.h"

#include <algorithm>
#include <cmath>

#include "engine/parallel.h"
#include "ops/distance.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

using Numbers = std::vector<double>;

double size_of_gap(const Numbers& a, const Numbers& b) {
  double top = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    top = d <= top ? top : d;  // NaN stays
    if (std::isnan(d)) return d;
  }
  return top;
}

double scaled_rmse(const Numbers& a, const Numbers& b) {
  const double top = size_of_gap(a, b);
  if (!(top > 0 && top < INFINITY)) return top;
  const double squares = block_sum<double>(Index(a.size()), [&](Index i) {
    const double d = (a[std::size_t(i)] - b[std::size_t(i)]) / top;
    return d * d;
  });
  return top * std::sqrt(squares / double(a.size()));
}

double length(const double* x, Index D) {
  double top = 0, squares = 0;
  for (Index d = 0; d < D; ++d) top = std::abs(x[d]) > top ? std::abs(x[d]) : top;
  if (!(top > 0 && top < INFINITY)) return top;
  for (Index d = 0; d < D; ++d) squares += (x[d] / top) * (x[d] / top);
  return top * std::sqrt(squares);
}

double angle(const double* u, const double* v, Index D) {
  const double a = length(u, D), b = length(v, D);
  if (a == 0 || b == 0) return std::acos(0.0);
  double apart = 0, together = 0;
  for (Index d = 0; d < D; ++d) {
    const double x = u[d] / a, y = v[d] / b;
    apart += (x - y) * (x - y), together += (x + y) * (x + y);
  }
  return 2 * std::atan2(std::sqrt(apart), std::sqrt(together));
}

void check_pair(const char* op, const Tensor& a, const Tensor& b, bool rows) {
  if (!a || !b || a.shape() != b.shape() || (rows && a.rank() != 2)) {
    fail(op, std::string("needs two tensors ") + (rows ? "[N,D]" : "of one shape") +
                 (a && b ? ", got " + a.describe() + " and " + b.describe() : std::string()));
  }
}

}  // namespace

double rmse(const Tensor& pred, const Tensor& target, Form form) {
  check_pair("rmse", pred, target, false);
  if (pred.numel() == 0) return 0;
  if (form == Form::definition) return sqrt(mean(square(pred.detach() - target.detach()))).item();
  return scaled_rmse(pred.to_vector(), target.to_vector());
}

double angular_error(const Tensor& u, const Tensor& v, Form form) {
  check_pair("angular_error", u, v, true);
  const Index N = u.size(0), D = u.size(1);
  if (N == 0) return 0;
  if (form == Form::definition) {
    double sum = 0;
    for (const double c : cosine_similarity(u.detach(), v.detach()).to_vector()) sum += std::acos(c);
    return sum / double(N);
  }
  const Numbers a = u.to_vector(), b = v.to_vector();
  return block_sum<double>(N, [&](Index r) { return angle(a.data() + r * D, b.data() + r * D, D); }) / double(N);
}

double perplexity_of_nll(const Tensor& nll, const Tensor& tokens, Form form) {
  constexpr auto op = "perplexity_of_nll";
  if (!nll || nll.rank() != 1) fail(op, "needs mean losses [n]");
  if (tokens) check_pair(op, nll, tokens, false);
  const Numbers loss = nll.to_vector(), n = tokens ? tokens.to_vector() : Numbers(loss.size(), 1);
  for (const double count : n) {
    if (!(count >= 0)) fail(op, "a number of tokens is negative or NaN: " + std::to_string(count));
  }
  double total = 0, weighted = 0;
  for (std::size_t i = 0; i < n.size(); ++i) total += n[i], weighted += n[i] > 0 ? n[i] * loss[i] : 0;
  if (total == 0) return 1;
  if (form == Form::closed) return std::exp(weighted / total);
  double product = 1;  // the geometric mean of the batches' perplexities
  for (std::size_t i = 0; i < n.size(); ++i) product *= n[i] > 0 ? std::pow(std::exp(loss[i]), n[i] / total) : 1;
  return product;
}

// ---- for the table of losses

namespace {

Inputs pair(const char* a, const char* b, Shape shape, Rng& rng) {
  return {{a, randn(shape, rng, DType::f64)}, {b, randn(shape, rng, DType::f64)}};
}

std::vector<LossSample> rmse_samples(Rng& rng) {
  return {{"vectors", pair("pred", "target", {7}, rng)},
          {"matrices", pair("pred", "target", {3, 5}, rng)},
          {"single numbers", pair("pred", "target", {}, rng)},
          {"equal", {{"pred", ones({4}, DType::f64)}, {"target", ones({4}, DType::f64)}}},
          {"nothing", pair("pred", "target", {0}, rng)},
          {.what = "squares beyond f32",
           .inputs = {{"pred", tensor({1e30, 2e30}, DType::f64)}, {"target", tensor({-1e30, 1}, DType::f64)}},
           .extreme = true}};
}

std::vector<LossSample> angle_samples(Rng& rng) {
  return {{"5 rows in 3 dimensions", pair("u", "v", {5, 3}, rng)},
          {"2 rows in 8 dimensions", pair("u", "v", {2, 8}, rng)},
          {"a zero vector", {{"u", zeros({1, 2}, DType::f64)}, {"v", ones({1, 2}, DType::f64)}}},
          {"no rows", pair("u", "v", {0, 3}, rng)},
          {.what = "nearly parallel",
           .inputs = {{"u", tensor({1, 0, 1e30, 0}, {2, 2}, DType::f64)},
                      {"v", tensor({1, 1e-12, -1e-30, 1e-36}, {2, 2}, DType::f64)}},
           .extreme = true}};
}

std::vector<LossSample> perplexity_samples(Rng& rng) {
  const auto losses = [&](Index n) { return 3 * rand({n}, rng, DType::f64); };
  return {{"equal weights", {{"nll", losses(6)}}},
          {"token counts", {{"nll", losses(4)}, {"tokens", tensor({3, 100, 0, 7}, DType::f64)}}},
          {"one batch", {{"nll", losses(1)}, {"tokens", tensor({5}, DType::f64)}}},
          {"no tokens", {{"nll", losses(2)}, {"tokens", zeros({2}, DType::f64)}}},
          {"nothing", {{"nll", losses(0)}}}};
}

using PairMetric = double (*)(const Tensor&, const Tensor&, Form);

template <PairMetric metric> std::function<Tensor(const Arguments&)> run(const char* a, const char* b) {
  return [a, b](const Arguments& in) { return full({}, metric(in[a], in[b], in.form), in[a].dtype(), in[a].device()); };
}

}  // namespace

Losses regression_metric_losses() {
  return {{.name = "rmse",
           .family = Family::metric,
           .formula = "sqrt(mean (pred - target)^2)",
           .seeds = "A173",
           .task = "regression",
           .inputs = {{"pred", "[...]", Kind::constant}, {"target", "[...]", Kind::constant}},
           .options = {},
           .run = run<rmse>("pred", "target"),
           .samples = rmse_samples},
          {.name = "angular_error",
           .family = Family::metric,
           .formula = "mean angle(u, v)",
           .seeds = "A173",
           .task = "directions, poses",
           .inputs = {{"u", "[N,D]", Kind::constant}, {"v", "[N,D]", Kind::constant}},
           .options = {},
           .run = run<angular_error>("u", "v"),
           .samples = angle_samples},
          {.name = "perplexity_of_nll",
           .family = Family::metric,
           .formula = "exp(sum_b n_b L_b / sum_b n_b)",
           .seeds = "A173",
           .task = "language models",
           .inputs = {{"nll", "[n]", Kind::constant}, {"tokens", "[n]", Kind::constant, true}},
           .options = {},
           .run = run<perplexity_of_nll>("nll", "tokens"),
           .samples = perplexity_samples}};
}

}  // namespace gradus
