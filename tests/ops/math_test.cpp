// Functions of one tensor: each against <cmath> and against its own slopes, and what is documented at kinks and limits.
#include "ops/math.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/checkpoint.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

OpCase unary(const char* name, Tensor (*f)(At), double (*reference)(double), Tensor small, Tensor large) {
  return {name,
          [f](const auto& in) { return f(in[0]); },
          {std::move(small)},
          [reference](const auto& in) {
            return tabulate(in[0].shape(), [&](Index i) { return reference(value_at(in[0], i)); });
          },
          {std::move(large)}};
}
OpCase unary(const char* name, Tensor (*f)(At), double (*reference)(double), double low, double high) {
  return unary(name, f, reference, between(low, high, {2, 5}), between(low, high, {3, 5479}));
}
OpCase with_kink(const char* name, Tensor (*f)(At), double (*reference)(double)) {
  return unary(name, f, reference, 2 * away_from_zero({2, 5}), 2 * away_from_zero({3, 5479}));
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double gelu_exact(double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

const double inf = std::numeric_limits<double>::infinity();

}  // namespace

std::vector<OpCase> gradus::math_cases() {
  return {
      unary("exp", exp, std::exp, -3, 2),
      unary("expm1", expm1, std::expm1, -3, 2),
      unary("log", log, std::log, 0.2, 5),
      unary("log1p", log1p, std::log1p, -0.7, 5),
      unary("sqrt", sqrt, std::sqrt, 0.3, 5),
      unary(
          "square", square, [](double x) { return x * x; }, -3, 3),
      unary(
          "pow 3", [](At x) { return pow(x, 3); }, [](double x) { return x * x * x; }, -2, 2),
      unary(
          "pow -0.5", [](At x) { return pow(x, -0.5); }, [](double x) { return 1 / std::sqrt(x); }, 0.4, 4),
      unary("sin", sin, std::sin, -7, 7),
      unary("cos", cos, std::cos, -7, 7),
      unary("tanh", tanh, std::tanh, -3, 3),
      unary("erf", erf, std::erf, -2, 2),
      unary("sigmoid", sigmoid, logistic, -5, 5),
      unary(
          "logsigmoid", logsigmoid, [](double x) { return -std::log1p(std::exp(-x)); }, -6, 6),
      unary(
          "softplus", softplus, [](double x) { return std::log1p(std::exp(x)); }, -6, 6),
      unary(
          "silu", silu, [](double x) { return x * logistic(x); }, -5, 5),
      unary(
          "gelu", [](At x) { return gelu(x); }, gelu_exact, -4, 4),
      unary(
          "gelu by tanh", [](At x) { return gelu(x, Gelu::tanh); }, gelu_tanh, -4, 4),
      with_kink("abs", abs, std::fabs),
      with_kink("relu", relu, [](double x) { return x > 0 ? x : 0; }),
      with_kink(
          "leaky_relu", [](At x) { return leaky_relu(x, 0.2); }, [](double x) { return x > 0 ? x : 0.2 * x; }),
      unary(
          "clamp", [](At x) { return clamp(x, -0.9, 1.2); }, [](double x) { return std::clamp(x, -0.9, 1.2); },
          distinct({3, 7}), distinct({3, 5479})),
      // In f32 this converts twice; in f64 it is square alone.
      {"to f64 and back",
       [](const auto& in) { return square(in[0].to(DType::f64)).to(in[0].dtype()); },
       {between(-2, 2, {3, 4})}},
      {"checkpoint",
       [](const auto& in) { return checkpoint([](const std::vector<Tensor>& x) { return exp(x[0]) * x[1]; }, in); },
       {between(-2, 2, {3, 4}, 1), between(-2, 2, {3, 4}, 2)}},
  };
}

TEST_SUITE("math") {
  TEST_CASE("every function: value against <cmath>, gradient against its slopes") {
    for (const OpCase& c : math_cases()) check_op(c);
  }

  TEST_CASE("derivatives at kinks are the documented ones") {
    const Tensor x = tensor({-1, 0, 1}, DType::f64);
    const auto values = [](std::initializer_list<double> v) { return std::vector<double>(v); };
    CHECK(slopes(x, [](const Tensor& v) { return relu(v); }) == values({0, 0, 1}));
    CHECK(slopes(x, [](const Tensor& v) { return abs(v); }) == values({-1, 0, 1}));
    CHECK(slopes(x, [](const Tensor& v) { return leaky_relu(v, 0.1); }) == values({0.1, 0.1, 1}));
    CHECK(slopes(x, [](const Tensor& v) { return clamp(v, 0, 1); }) == values({0, 1, 1}));
    CHECK(slopes(x, [](const Tensor& v) { return clamp(v, -0.5, 0); }) == values({0, 1, 0}));
    CHECK(slopes(x, [](const Tensor& v) { return pow(v, 0); }) == values({0, 0, 0}));
    CHECK(slopes(x, [](const Tensor& v) { return pow(v, 1); }) == values({1, 1, 1}));
    CHECK(slopes(tensor({0}, DType::f64), [](const Tensor& v) { return sqrt(v); })[0] == inf);
  }

  TEST_CASE("domains are those of <cmath>: log 0 is -inf, log and sqrt of a negative number are NaN") {
    const Tensor x = tensor({0, -1, inf}, DType::f64);
    CHECK(log(x).at({0}) == -inf);
    CHECK(std::isnan(log(x).at({1})));
    CHECK(log(x).at({2}) == inf);
    CHECK(std::isnan(sqrt(x).at({1})));
    CHECK(log1p(x).at({1}) == -inf);
  }

  TEST_CASE("NaN passes through every function, and so does its name") {
    const Tensor x = full({1}, std::nan(""), DType::f64);
    for (const OpCase& c : math_cases()) CHECK_MESSAGE(std::isnan(c.f({x, x}).item()), c.name);
  }

  TEST_CASE("what saturates keeps its value and its gradient in f32: no overflow at +-1000, no early zero") {
    const Tensor x = tensor({-1000, -90, 90, 1000});
    CHECK(sigmoid(x).at({0}) == 0);
    CHECK(sigmoid(x).at({1}) == doctest::Approx(8.194e-40).epsilon(1e-3));
    CHECK(sigmoid(x).at({3}) == 1);
    CHECK(logsigmoid(x).to_vector() == std::vector<double>{-1000, -90, double(-std::exp(-90.f)), 0});
    CHECK(softplus(x).to_vector() == std::vector<double>{0, double(std::exp(-90.f)), 90, 1000});
    CHECK(slopes(x, [](const Tensor& v) { return logsigmoid(v); }) == std::vector<double>{1, 1, sigmoid(x).at({1}), 0});
    CHECK(slopes(x, [](const Tensor& v) { return tanh(v); }) == std::vector<double>{0, 0, 0, 0});
    for (const double v : slopes(x, [](const Tensor& t) { return silu(t) + gelu(t); })) CHECK(std::isfinite(v));
  }

  TEST_CASE("expm1 and log1p keep the digits that exp(x) - 1 and log(1 + x) lose") {
    const Tensor x = tensor({1e-12}, DType::f64);
    CHECK(expm1(x).item() == doctest::Approx(1e-12 + 0.5e-24).epsilon(1e-15));
    CHECK(log1p(x).item() == doctest::Approx(1e-12 - 0.5e-24).epsilon(1e-15));
    CHECK(std::abs((exp(x) - 1).item() / 1e-12 - 1) > 1e-5);
  }

  TEST_CASE("clamp with exchanged limits, integers and undefined tensors are errors") {
    CHECK_THROWS_WITH_AS(clamp(zeros({2}), 1, 0), doctest::Contains("[clamp] needs low <= high"), Error);
    CHECK_THROWS_WITH_AS(clamp(zeros({2}), std::nan(""), 0), doctest::Contains("[clamp] needs low <= high"), Error);
    CHECK_THROWS_WITH_AS(exp(labels({1})), "[exp] needs f32 or f64, got i64; convert with to(DType::f32)", Error);
    CHECK_THROWS_WITH_AS(relu(Tensor()), doctest::Contains("[relu] the tensor is undefined"), Error);
  }
}
