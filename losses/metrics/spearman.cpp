#include "losses/metrics/spearman.h"

#include <algorithm>
#include <cmath>

#include "ops/math.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// ---- as defined: ranks by counting, Pearson as it is usually written

std::vector<double> counted_ranks(const std::vector<double>& x) {
  std::vector<double> rank;
  for (const double a : x) {
    double below = 0, same = 0;
    for (const double b : x) below += b < a, same += b == a;
    rank.push_back(below + (same + 1) / 2);
  }
  return rank;
}

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = double(a.size());
  double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) mean_a += a[i] / n, mean_b += b[i] / n;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

// ---- by sorting

std::vector<double> sorted_ranks(const Tensor& x) {
  const Sorted s = sort(x.detach(), 0);
  const std::vector<double> v = s.values.to_vector();
  const Tensor indices = s.indices.cpu();
  const Index *at = indices.data<Index>(), n = x.numel();
  std::vector<double> rank(v.size());
  for (Index first = 0, end = 0; first < n; first = end) {
    while (end < n && v[std::size_t(end)] == v[std::size_t(first)]) ++end;
    for (Index i = first; i < end; ++i) rank[std::size_t(at[i])] = double(first + 1 + end) / 2;
  }
  return rank;
}

double centred(const std::vector<double>& a, const std::vector<double>& b) {
  const double middle = (double(a.size()) + 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double u = a[i] - middle, v = b[i] - middle;
    ab += u * v, aa += u * u, bb += v * v;
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

bool has_nan(const Tensor& x) {
  const std::vector<double> v = x.to_vector();
  return std::any_of(v.begin(), v.end(), [](double a) { return std::isnan(a); });
}

}  // namespace

Tensor average_ranks(const Tensor& x, Form form) {
  if (!x || x.rank() != 1) fail("average_ranks", "needs values [n]");
  if (has_nan(x)) fail("average_ranks", "a value is NaN: it has no rank");
  return tensor(form == Form::definition ? counted_ranks(x.to_vector()) : sorted_ranks(x), DType::f64, x.device());
}

double spearman(const Tensor& x, const Tensor& y, Form form) {
  if (!x || !y || x.rank() != 1 || x.shape() != y.shape()) {
    fail("spearman", "needs two tensors [n] of one length" +
                         (x && y ? ", got " + x.describe() + " and " + y.describe() : std::string()));
  }
  if (has_nan(x) || has_nan(y)) return std::nan("");
  const std::vector<double> a = average_ranks(x, form).to_vector(), b = average_ranks(y, form).to_vector();
  return form == Form::definition ? pearson(a, b) : std::clamp(centred(a, b), -1.0, 1.0);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> spearman_samples(Rng& rng) {
  const auto inputs = [&](Index n) {
    return Inputs{{"x", randn({n}, rng, DType::f64)}, {"y", randn({n}, rng, DType::f64)}};
  };
  return {
      {"7 rows", inputs(7)},
      {"40 rows", inputs(40)},
      {"ties", {{"x", tensor({1, 2, 2, 3, 3, 3}, DType::f64)}, {"y", tensor({0.5, 0.5, 1, 0, 2, 2}, DType::f64)}}},
      {"a constant", {{"x", ones({4}, DType::f64)}, {"y", arange(4, DType::f64)}}},
      {"one row", inputs(1)},
      {"no rows", inputs(0)},
  };
}

}  // namespace

Losses spearman_losses() {
  return {{.name = "spearman",
           .family = Family::metric,
           .formula = "Pearson correlation of average ranks",
           .seeds = "A081 A173",
           .task = "sentence similarity",
           .inputs = {{"x", "[n]", Kind::constant}, {"y", "[n]", Kind::constant}},
           .options = {},
           .run =
               [](const Arguments& a) {
                 return full({}, spearman(a["x"], a["y"], a.form), a["x"].dtype(), a["x"].device());
               },
           .samples = spearman_samples}};
}

}  // namespace gradus
