// layer_norm and l2_normalize, and rows that are constant, zero, tiny or huge.
#include "ops/normalize.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

// The inputs are x, then weight and bias as far as they are there.
OpCase layer_norm_case(const char* name, const Shape& x, bool weight, bool bias, double eps) {
  const Index D = x[-1];
  OpCase c{
      name,
      [=](const auto& in) { return layer_norm(in[0], weight ? in[1] : Tensor(), bias ? in.back() : Tensor(), eps); },
      {away_from_zero(x, 1)},
      [=](const auto& in) {
        return tabulate(x, [&](Index i) {
          const Index first = i / D * D;
          double mean = 0, variance = 0;
          for (Index j = 0; j < D; ++j) mean += value_at(in[0], first + j) / double(D);
          for (Index j = 0; j < D; ++j) variance += std::pow(value_at(in[0], first + j) - mean, 2) / double(D);
          const double h = (value_at(in[0], i) - mean) / std::sqrt(variance + eps);
          return (weight ? value_at(in[1], i % D) : 1) * h + (bias ? value_at(in.back(), i % D) : 0);
        });
      }};
  if (weight) c.inputs.push_back(away_from_zero({D}, 2));
  if (bias) c.inputs.push_back(away_from_zero({D}, 3));
  return c;
}

OpCase l2_case(const char* name, const Shape& x) {
  return {name,
          [](const auto& in) { return l2_normalize(in[0]); },
          {away_from_zero(x)},
          [x](const auto& in) {
            return tabulate(x, [&](Index i) {
              double square = 0;
              for (Index j = 0; j < x[-1]; ++j) square += std::pow(value_at(in[0], i / x[-1] * x[-1] + j), 2);
              return value_at(in[0], i) / std::sqrt(square);
            });
          }};
}

}  // namespace

std::vector<OpCase> gradus::normalize_cases() {
  return {
      layer_norm_case("layer_norm", {3, 4}, false, false, 1e-5),
      layer_norm_case("layer_norm with weight", {3, 4}, true, false, 1e-5),
      layer_norm_case("layer_norm with bias", {3, 4}, false, true, 0.1),
      layer_norm_case("layer_norm with both", {2, 3, 5}, true, true, 1e-5),
      layer_norm_case("layer_norm of a vector", {5}, true, true, 0),
      layer_norm_case("layer_norm of many rows", {1501, 7}, true, true, 1e-5),
      l2_case("l2_normalize", {3, 4}),
      l2_case("l2_normalize of a vector", {5}),
      l2_case("l2_normalize with leading axes", {2, 3, 5}),
      l2_case("l2_normalize of many rows", {1501, 7}),
  };
}

TEST_SUITE("normalize") {
  TEST_CASE("layer_norm and l2_normalize: value and gradient") {
    for (OpCase c : normalize_cases()) {
      if (c.inputs[0].numel() > 1000) c.f32_tolerance = 1e-4;  // sums over 1501 rows
      check_op(c);
    }
  }

  TEST_CASE("a constant row has layer norm 0, also under a large mean in f32") {
    CHECK(layer_norm(full({2, 3}, 7)).to_vector() == Values(6, 0));
    const Values y = layer_norm(tensor({1e6 - 1, 1e6, 1e6 + 1})).to_vector();
    CHECK(y[2] == doctest::Approx(std::sqrt(1.5)).epsilon(1e-4));
  }

  TEST_CASE("the gradient of layer_norm is orthogonal to the row and to a shift of it") {
    const Tensor x = away_from_zero({1, 6}), weight = away_from_zero({6}, 2);
    const Values g = slopes(x, [&](const Tensor& v) { return layer_norm(v, weight, {}, 0); });
    double shift = 0, scale = 0;
    for (Index j = 0; j < 6; ++j) shift += g[std::size_t(j)], scale += g[std::size_t(j)] * value_at(x, j);
    CHECK(std::abs(shift) < 1e-13);
    CHECK(std::abs(scale) < 1e-13);
  }

  TEST_CASE("a zero row stays zero under l2_normalize, with gradient zero") {
    const Tensor x = tensor({0, 0, 3, 4}, {2, 2}, DType::f64);
    CHECK(l2_normalize(x).to_vector() == Values{0, 0, 0.6, 0.8});
    const Values g = slopes(x, [](const Tensor& v) { return l2_normalize(v); });
    CHECK(g[0] == 0);
    CHECK(g[1] == 0);
    CHECK(g[2] == doctest::Approx(0.2 * (1 - 0.6 * 1.4)));
  }

  TEST_CASE("rows of 1e-200 and 1e200, whose squares leave f64, have length 1 all the same") {
    for (const double size : {1e-200, 1e-310, 1e200, 1e307}) {
      const Values y = l2_normalize(tensor({3 * size, -4 * size}, DType::f64)).to_vector();
      CHECK(y[0] == doctest::Approx(0.6).epsilon(1e-12));
      CHECK(y[1] == doctest::Approx(-0.8).epsilon(1e-12));
    }
    CHECK(l2_normalize(tensor({3e-30, 4e-30})).at({1}) == doctest::Approx(0.8));
    const Tensor tiny = tensor({3e-200, 4e-200}, DType::f64);
    CHECK(slopes(tiny, [](const Tensor& v) { return l2_normalize(v)[0]; })[0] == doctest::Approx(0.64 / 5e-200));
  }

  TEST_CASE("weights that do not fit, a negative eps, scalars and undefined tensors are errors") {
    const Tensor x = zeros({2, 3});
    CHECK_THROWS_WITH_AS(layer_norm(x, zeros({2})),
                         "[layer_norm] weight f32 [2] does not fit the last axis of f32 [2,3]", Error);
    CHECK_THROWS_WITH_AS(layer_norm(x, {}, zeros({2, 3})), doctest::Contains("[layer_norm] bias f32 [2,3]"), Error);
    CHECK_THROWS_WITH_AS(layer_norm(x, zeros({3}, DType::f64)), doctest::Contains("[layer_norm] types differ"), Error);
    CHECK_THROWS_WITH_AS(layer_norm(x, {}, {}, -1), doctest::Contains("[layer_norm] eps must not be negative"), Error);
    CHECK_THROWS_WITH_AS(l2_normalize(scalar(1)), doctest::Contains("axis -1 does not exist in shape []"), Error);
    CHECK_THROWS_WITH_AS(layer_norm(scalar(1)), doctest::Contains("axis -1 does not exist in shape []"), Error);
    CHECK_THROWS_WITH_AS(l2_normalize(Tensor()), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(layer_norm(Tensor()), doctest::Contains("undefined"), Error);
  }
}
