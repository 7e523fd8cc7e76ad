// Reductions over every set of axes, and what they promise at extremes: ties, infinities, NaN, nothing to reduce.
#include "ops/reduce.h"
#include "ops/sort.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "ops/math.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;
const double inf = std::numeric_limits<double>::infinity(), NaN = std::nan("");

Tensor f64(const Values& v) { return tensor(v, DType::f64); }

// y of shape `out`: f of the elements of x that lie along `axes`.
TensorFunction over(const std::vector<int>& axes, const Shape& out, double (*f)(const Values&)) {
  return [=](const std::vector<Tensor>& in) {
    const Shape shape = in[0].shape();
    Shape kept = shape;
    for (const int axis : axes) kept = kept.with(axis, 1);
    const Tensor place = tabulate(kept, [](Index i) { return double(i); });
    std::vector<Values> groups(std::size_t(kept.numel()));
    for (Index i = 0; i < shape.numel(); ++i) {
      groups[std::size_t(repeated_value(place, shape, i))].push_back(value_at(in[0], i));
    }
    return tabulate(out, [&](Index i) { return f(groups[std::size_t(i)]); });
  };
}

double sum_of(const Values& v) {
  double s = 0;
  for (const double x : v) s += x;
  return s;
}
double mean_of(const Values& v) { return sum_of(v) / double(v.size()); }
double square_deviation(const Values& v) {
  double s = 0;
  for (const double x : v) s += (x - mean_of(v)) * (x - mean_of(v));
  return s;
}
double variance(const Values& v) { return square_deviation(v) / double(v.size() - 1); }
double variance_0(const Values& v) { return square_deviation(v) / double(v.size()); }
double max_of(const Values& v) { return *std::max_element(v.begin(), v.end()); }
double min_of(const Values& v) { return *std::min_element(v.begin(), v.end()); }
double logsumexp_of(const Values& v) {
  double s = 0;
  for (const double x : v) s += std::exp(x);
  return std::log(s);
}

using Reduce = Tensor (*)(At, int axis, bool keepdim);

// One axis of three: the first, the middle, the last by its negative number and keepdim; and a large matrix both ways.
void add_axes(std::vector<OpCase>& cases, const std::string& name, Reduce reduce, double (*reference)(const Values&)) {
  const auto add = [&](const std::string& what, int axis, int counted, bool keepdim, const Shape& x, const Shape& out) {
    cases.push_back({name + ", " + what,
                     [=](const auto& in) { return reduce(in[0], axis, keepdim); },
                     {0.3 * distinct(x)},
                     over({counted}, out, reference)});
  };
  add("axis 0", 0, 0, false, {3, 4, 2}, {4, 2});
  add("axis 1, keepdim", 1, 1, true, {3, 4, 2}, {3, 1, 2});
  add("axis -1", -1, 2, false, {3, 2, 4}, {3, 2});
  add("axis -1, keepdim", -1, 1, true, {3, 4}, {3, 1});
  add("a vector", 0, 0, false, {5}, {});
  add("many rows", 1, 1, false, {3001, 7}, {3001});
  add("many columns", 0, 0, false, {7, 3001}, {3001});
}

}  // namespace

std::vector<OpCase> gradus::reduce_cases() {
  std::vector<OpCase> cases;
  const auto add_sum = [&](const char* name, std::vector<int> axes, bool keepdim, std::vector<int> counted,
                           const Shape& x, const Shape& out) {
    cases.push_back({std::string("sum, ") + name,
                     [=](const auto& in) { return sum(in[0], axes, keepdim); },
                     {away_from_zero(x)},
                     over(counted, out, sum_of)});
    cases.push_back({std::string("mean, ") + name,
                     [=](const auto& in) { return mean(in[0], axes, keepdim); },
                     {away_from_zero(x)},
                     over(counted, out, mean_of)});
  };
  add_sum("no axes are all", {}, false, {0, 1}, {3, 4}, {});
  add_sum("all, keepdim", {0, 1}, true, {0, 1}, {3, 4}, {1, 1});
  add_sum("first", {0}, false, {0}, {3, 4, 2}, {4, 2});
  add_sum("middle, keepdim", {1}, true, {1}, {3, 4, 2}, {3, 1, 2});
  add_sum("last by -1", {-1}, false, {2}, {3, 4, 2}, {3, 4});
  add_sum("first and last", {0, 2}, false, {0, 2}, {3, 4, 2}, {4});
  add_sum("first two, keepdim", {0, 1}, true, {0, 1}, {3, 4, 2}, {1, 1, 2});
  add_sum("out of order and twice", {-1, 1, 1}, false, {1, 2}, {3, 4, 2}, {3});
  add_sum("many elements", {}, false, {0, 1}, {5, 3301}, {});
  add_sum("many rows", {1}, false, {1}, {3001, 7}, {3001});
  add_sum("many columns", {0}, false, {0}, {7, 3001}, {3001});
  cases.push_back({"sum and mean of everything",
                   [](const auto& in) { return sum(in[0]) + mean(in[0]); },
                   {away_from_zero({3, 4})}});
  add_axes(cases, "max", max, max_of);
  add_axes(cases, "min", min, min_of);
  add_axes(cases, "logsumexp", logsumexp, logsumexp_of);
  add_axes(
      cases, "var", [](At x, int axis, bool keepdim) { return var(x, axis, 1, keepdim); }, variance);
  add_axes(
      cases, "var without correction", [](At x, int axis, bool keepdim) { return var(x, axis, 0, keepdim); },
      variance_0);
  return cases;
}

TEST_SUITE("reduce") {
  TEST_CASE("long sums in f32 do not stall at 2^24, whichever axis they run along") {
    const Index n = 20000000;
    const Tensor x = ones({n, 2});
    CHECK(sum(x, {0}).to_vector() == std::vector<double>(2, double(n)));
    CHECK(sum(x.reshape({2, n}), {1}).to_vector() == std::vector<double>(2, double(n)));
  }

  TEST_CASE("every reduction over every kind of axes: value and gradient") {
    for (OpCase c : reduce_cases()) {
      if (c.inputs[0].numel() > 1000) c.f32_tolerance = 2e-5;  // long sums, and logsumexp of large spreads
      check_op(c);
    }
  }

  TEST_CASE("the sum of nothing is 0, its mean NaN, its logsumexp -inf, max, min and argmax have no answer") {
    const Tensor x = zeros({2, 0});
    CHECK(sum(x).item() == 0);
    CHECK(sum(x, {1}).to_vector() == Values{0, 0});
    CHECK(sum(x, {0}).shape() == Shape{0});
    CHECK(std::isnan(mean(x).item()));
    CHECK(logsumexp(x, 1).to_vector() == Values{-inf, -inf});
    CHECK_THROWS_WITH_AS(max(x, 1), doctest::Contains("[max] f32 [2,0] has nothing along its axis"), Error);
    CHECK_THROWS_WITH_AS(min(x, -1), doctest::Contains("[min]"), Error);
    CHECK_THROWS_WITH_AS(argmax(x, 1), doctest::Contains("[argmax] f32 [2,0] has nothing along axis 1"), Error);
    CHECK(max(x, 0).shape() == Shape{0});
  }

  TEST_CASE("of tied extremes the first one takes the gradient") {
    const Tensor x = f64({2, 5, 1, 5, 1});
    CHECK(slopes(x, [](const Tensor& v) { return max(v, 0); }) == Values{0, 1, 0, 0, 0});
    CHECK(slopes(x, [](const Tensor& v) { return min(v, 0); }) == Values{0, 0, 1, 0, 0});
    CHECK(argmax(x, 0).item() == 1);
  }

  TEST_CASE("NaN is the maximum and the minimum, wherever it stands, and argmax finds it") {
    for (const Values& v : {Values{NaN, 1, 2}, Values{1, NaN, 2}, Values{1, 2, NaN}}) {
      const Tensor x = f64(v);
      CHECK(std::isnan(max(x, 0).item()));
      CHECK(std::isnan(min(x, 0).item()));
      CHECK(std::isnan(logsumexp(x, 0).item()));
      CHECK(std::isnan(v[std::size_t(argmax(x, 0).item())]));
    }
    CHECK(argmax(f64({NaN, NaN}), 0).item() == 0);
  }

  TEST_CASE("max and min carry infinities") {
    CHECK(max(f64({-inf, -inf}), 0).item() == -inf);
    CHECK(max(f64({1, inf, 2}), 0).item() == inf);
    CHECK(min(f64({1, inf, -inf}), 0).item() == -inf);
    CHECK(argmax(f64({-inf, -inf}), 0).item() == 0);
  }

  TEST_CASE("logsumexp of -inf only is -inf with gradient 0, +inf wins and takes the gradient") {
    const auto lse = [](const Tensor& v) { return logsumexp(v, 0); };
    CHECK(lse(f64({-inf, -inf})).item() == -inf);
    CHECK(slopes(f64({-inf, -inf}), lse) == Values{0, 0});
    CHECK(lse(f64({1, inf})).item() == inf);
    CHECK(slopes(f64({1, inf}), lse) == Values{0, 1});
    CHECK(lse(f64({-inf, 3})).item() == 3);
    CHECK(slopes(f64({-inf, 3}), lse) == Values{0, 1});
  }

  TEST_CASE("logsumexp does not overflow in f32, and sees a term of 1e-20 beside 1") {
    CHECK(logsumexp(tensor({1e4, 1e4}), 0).item() == doctest::Approx(1e4 + std::log(2.0)).epsilon(1e-7));
    CHECK(logsumexp(tensor({-1e4, -1e4}), 0).item() == doctest::Approx(-1e4 + std::log(2.0)).epsilon(1e-7));
    const Tensor x = f64({0, std::log(1e-20)});
    CHECK(logsumexp(x, 0).item() == doctest::Approx(1e-20).epsilon(1e-12));
    CHECK(slopes(x, [](const Tensor& v) { return logsumexp(v, 0); })[1] == doctest::Approx(1e-20).epsilon(1e-12));
  }

  TEST_CASE("var: NaN when n = correction, as in PyTorch, no cancellation under a large mean") {
    CHECK(std::isnan(var(f64({3}), 0).item()));
    CHECK(var(f64({3}), 0, 0).item() == 0);
    CHECK(var(f64({1e8 + 1, 1e8 + 2, 1e8 + 3}), 0).item() == doctest::Approx(1).epsilon(1e-12));
  }

  TEST_CASE("sort and argsort: stable, NaN last in both directions, along any axis, any type") {
    const Tensor x = f64({2, NaN, 1, 2, -inf});
    CHECK(argsort(x, 0).to_vector() == Values{4, 2, 0, 3, 1});
    CHECK(argsort(x, 0, true).to_vector() == Values{0, 3, 2, 4, 1});
    const Sorted columns = sort(tensor({3, 1, 2, 2, 1, 3}, {3, 2}), 0);
    CHECK(columns.values.to_vector() == Values{1, 1, 2, 2, 3, 3});
    CHECK(columns.indices.to_vector() == Values{2, 0, 1, 1, 0, 2});
    CHECK(sort(labels({5, 3, 4}), -1, true).values.to_vector() == Values{5, 4, 3});
    CHECK(sort(zeros({3, 0}), 0).values.shape() == Shape{3, 0});
    CHECK(argmax(tensor({1, 5, 7, 2, 6, 3}, {2, 3}), 0).to_vector() == Values{1, 1, 0});
  }

  TEST_CASE("an axis that does not exist and an integer tensor are errors that say so") {
    const Tensor x = zeros({2, 3});
    CHECK_THROWS_WITH_AS(sum(x, {2}), "[sum] axis 2 does not exist in shape [2,3]", Error);
    CHECK_THROWS_WITH_AS(max(x, -3), "[max] axis -3 does not exist in shape [2,3]", Error);
    CHECK_THROWS_WITH_AS(logsumexp(scalar(1), 0), doctest::Contains("[logsumexp] axis 0"), Error);
    CHECK_THROWS_WITH_AS(argmax(x, 5), doctest::Contains("[argmax] axis 5"), Error);
    CHECK_THROWS_WITH_AS(sum(labels({1, 2})), doctest::Contains("[sum] needs f32 or f64, got i64"), Error);
    CHECK_THROWS_WITH_AS(mean(Tensor()), doctest::Contains("undefined"), Error);
  }
}
