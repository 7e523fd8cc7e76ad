// softmax and log_softmax along any axis, and where the true value is finite but a careless formula is not.
#include "ops/softmax.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;
const double inf = std::numeric_limits<double>::infinity(), NaN = std::nan("");

OpCase softmax_case(const std::string& name, const Shape& shape, int axis, bool log) {
  return {(log ? "log_softmax, " : "softmax, ") + name,
          [=](const auto& in) { return log ? log_softmax(in[0], axis) : softmax(in[0], axis); },
          {away_from_zero(shape)},
          [=](const auto& in) {
            const Index n = in[0].size(axis);
            const Index inner = axis < 0 ? 1 : shape.product(axis + 1, shape.rank());
            return tabulate(shape, [&](Index i) {
              const Index first = i / (n * inner) * (n * inner) + i % inner;
              double z = 0;
              for (Index j = 0; j < n; ++j) z += std::exp(value_at(in[0], first + j * inner));
              const double p = std::exp(value_at(in[0], i)) / z;
              return log ? std::log(p) : p;
            });
          }};
}

}  // namespace

std::vector<OpCase> gradus::softmax_cases() {
  std::vector<OpCase> cases;
  for (const bool log : {false, true}) {
    cases.push_back(softmax_case("last axis", {3, 4}, -1, log));
    cases.push_back(softmax_case("first axis", {4, 3}, 0, log));
    cases.push_back(softmax_case("middle axis", {2, 4, 3}, 1, log));
    cases.push_back(softmax_case("a vector", {5}, 0, log));
    cases.push_back(softmax_case("one class", {3, 1}, 1, log));
    cases.push_back(softmax_case("many rows", {1501, 7}, 1, log));
    cases.push_back(softmax_case("long rows", {3, 2003}, 1, log));
  }
  return cases;
}

TEST_SUITE("softmax") {
  TEST_CASE("every axis: value and gradient") {
    for (const OpCase& c : softmax_cases()) check_op(c);
  }

  TEST_CASE("rows sum to 1, and a shift of a row changes nothing") {
    const Tensor x = away_from_zero({3, 5});
    for (const double s : sum(softmax(x), {1}).to_vector()) CHECK(s == doctest::Approx(1).epsilon(1e-15));
    const Values y = softmax(x).to_vector(), shifted = softmax(x + 1024).to_vector();
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(shifted[i] == doctest::Approx(y[i]).epsilon(1e-12));
  }

  TEST_CASE("logits of +-1e4 in f32: no overflow, and log_softmax keeps what softmax rounds to 0") {
    const Tensor x = tensor({1e4, -1e4, 1e4});
    CHECK(softmax(x).to_vector() == Values{0.5, 0, 0.5});
    CHECK(log_softmax(x).at({1}) == doctest::Approx(-2e4 - std::log(2.0)).epsilon(1e-6));
  }

  TEST_CASE("p = 1e-40 has its logarithm, and p = 1 - 1e-20 too") {
    const Tensor x = tensor({0, std::log(1e-40)}, DType::f64);
    CHECK(softmax(x).at({1}) == doctest::Approx(1e-40).epsilon(1e-12));
    CHECK(log_softmax(x).at({1}) == doctest::Approx(std::log(1e-40)).epsilon(1e-15));
    CHECK(log_softmax(tensor({0, std::log(1e-20)}, DType::f64)).at({0}) == doctest::Approx(-1e-20).epsilon(1e-12));
    CHECK(log_softmax(tensor({0, -92}))[0].item() == doctest::Approx(-std::exp(-92.0)).epsilon(1e-2));
  }

  TEST_CASE("a logit of -inf has probability 0 and takes no gradient") {
    const Tensor x = tensor({1, -inf, 2}, DType::f64);
    CHECK(softmax(x).at({1}) == 0);
    CHECK(log_softmax(x).at({1}) == -inf);
    const Values g = slopes(x, [](const Tensor& v) { return log_softmax(v)[2]; });
    CHECK(g[0] == doctest::Approx(-1 / (1 + std::exp(1.0))));
    CHECK(g[1] == 0);
    CHECK(slopes(x, [](const Tensor& v) { return softmax(v)[2]; })[1] == 0);
  }

  TEST_CASE("a row of -inf only, or with NaN anywhere, is NaN throughout, other rows are not touched") {
    const Tensor x = tensor({-inf, -inf, 1, NaN, 0, 0}, {3, 2}, DType::f64);
    for (const Tensor& y : {softmax(x), log_softmax(x)}) {
      for (const Index i : {0, 1, 2, 3}) CHECK(std::isnan(value_at(y, i)));
      for (const Index i : {4, 5}) CHECK(std::isfinite(value_at(y, i)));
    }
  }

  TEST_CASE("empty rows stay empty, scalars, integers and undefined tensors are errors") {
    CHECK(softmax(zeros({3, 0})).shape() == Shape{3, 0});
    CHECK(log_softmax(zeros({0, 3}), 0).shape() == Shape{0, 3});
    CHECK_THROWS_WITH_AS(softmax(scalar(1)), "[softmax] axis -1 does not exist in shape []", Error);
    CHECK_THROWS_WITH_AS(log_softmax(zeros({2}), 1), doctest::Contains("[log_softmax] axis 1"), Error);
    CHECK_THROWS_WITH_AS(softmax(labels({1, 2})), doctest::Contains("[softmax] needs f32 or f64"), Error);
    CHECK_THROWS_WITH_AS(softmax(Tensor()), doctest::Contains("undefined"), Error);
  }
}
