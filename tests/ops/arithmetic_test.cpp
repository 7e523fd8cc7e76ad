// + - * / between tensors, in every pattern of broadcasting, and between a tensor and a number.
#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

struct Pattern {
  const char* name;
  Shape a, b;
  Shape large_a = {}, large_b = {};
};

const std::vector<Pattern> patterns = {
    {"equal shapes", {3, 4}, {3, 4}, {3, 5479}, {3, 5479}},
    {"scalar on the right", {3, 4}, {}, {3, 5479}, {}},
    {"scalar on the left", {}, {3, 4}},
    {"two scalars", {}, {}},
    {"one element of rank 2", {2, 5}, {1, 1}},
    {"row", {3, 4}, {4}, {3, 5479}, {5479}},
    {"row on the left", {1, 4}, {3, 4}},
    {"column", {3, 4}, {3, 1}, {41, 401}, {41, 1}},
    {"column on the left", {3, 1}, {3, 4}},
    {"column times row", {3, 1}, {4}, {41, 1}, {401}},
    {"middle axis", {2, 3, 4}, {2, 1, 4}},
    {"two outer axes", {2, 3, 4}, {3, 4}},
    {"first and last axis", {2, 3, 4}, {1, 3, 1}, {7, 5, 479}, {1, 5, 1}},
    {"both repeat, crosswise", {2, 1, 4, 1}, {3, 1, 5}},
};

struct Operator {
  const char* name;
  Tensor (*f)(At, At);
  double (*reference)(double, double);
};

const std::vector<Operator> operators = {
    {"+", [](At a, At b) { return a + b; }, [](double a, double b) { return a + b; }},
    {"-", [](At a, At b) { return a - b; }, [](double a, double b) { return a - b; }},
    {"*", [](At a, At b) { return a * b; }, [](double a, double b) { return a * b; }},
    {"/", [](At a, At b) { return a / b; }, [](double a, double b) { return a / b; }},
};

OpCase two_operands(const Operator& op, const Pattern& p) {
  OpCase c{std::string(op.name) + ", " + p.name,
           [op](const auto& in) { return op.f(in[0], in[1]); },
           {away_from_zero(p.a, 1), away_from_zero(p.b, 2)},
           [op](const auto& in) {
             const Shape shape = broadcast("test", in[0].shape(), in[1].shape());
             return tabulate(shape, [&](Index i) {
               return op.reference(repeated_value(in[0], shape, i), repeated_value(in[1], shape, i));
             });
           }};
  if (p.large_a.rank() > 0) c.large = {away_from_zero(p.large_a, 3), away_from_zero(p.large_b, 4)};
  return c;
}

OpCase with_number(const char* name, Tensor (*f)(const Tensor&), double (*reference)(double)) {
  return {name,
          [f](const auto& in) { return f(in[0]); },
          {away_from_zero({2, 5})},
          [reference](const auto& in) {
            return tabulate(in[0].shape(), [&](Index i) { return reference(value_at(in[0], i)); });
          },
          {away_from_zero({3, 5479})}};
}

}  // namespace

std::vector<OpCase> gradus::arithmetic_cases() {
  std::vector<OpCase> cases;
  for (const Operator& op : operators) {
    for (const Pattern& p : patterns) cases.push_back(two_operands(op, p));
  }
  using T = const Tensor&;
  for (const OpCase& c : {
           with_number(
               "x + 2", [](T x) { return x + 2; }, [](double x) { return x + 2; }),
           with_number(
               "2 + x", [](T x) { return 2 + x; }, [](double x) { return 2 + x; }),
           with_number(
               "x - 2", [](T x) { return x - 2; }, [](double x) { return x - 2; }),
           with_number(
               "2 - x", [](T x) { return 2 - x; }, [](double x) { return 2 - x; }),
           with_number(
               "x * 3", [](T x) { return x * 3; }, [](double x) { return x * 3; }),
           with_number(
               "3 * x", [](T x) { return 3 * x; }, [](double x) { return 3 * x; }),
           with_number(
               "x / 4", [](T x) { return x / 4; }, [](double x) { return x / 4; }),
           with_number(
               "4 / x", [](T x) { return 4 / x; }, [](double x) { return 4 / x; }),
           with_number(
               "-x", [](T x) { return -x; }, [](double x) { return -x; }),
       }) {
    cases.push_back(c);
  }
  return cases;
}

TEST_SUITE("arithmetic") {
  TEST_CASE("every operator in every pattern of broadcasting, and with numbers") {
    for (const OpCase& c : arithmetic_cases()) check_op(c);
  }

  TEST_CASE("x * x and x / x are differentiated as functions of one tensor") {
    const Tensor x = tensor({3, -2}, DType::f64);
    CHECK(slopes(x, [](const Tensor& v) { return v * v; }) == std::vector<double>{6, -4});
    CHECK(slopes(x, [](const Tensor& v) { return v / v; }) == std::vector<double>{0, 0});
    CHECK(slopes(x, [](const Tensor& v) { return v - v; }) == std::vector<double>{0, 0});
  }

  TEST_CASE("division by zero gives infinity, 0 / 0 gives NaN, as the processor does") {
    const Tensor y = tensor({1, -1, 0}, DType::f64) / tensor({0, 0, 0}, DType::f64);
    CHECK(std::isinf(y.at({0})));
    CHECK(y.at({1}) < 0);
    CHECK(std::isnan(y.at({2})));
  }

  TEST_CASE("a debug tape names the line that divided by zero") {
    const Tape tape(Debug::yes);
    const Tensor x = tensor({1, 0}).requires_grad_();
    CHECK_THROWS_WITH_AS(1.0 / x, doctest::Contains("arithmetic_test.cpp:"), Error);
  }

  TEST_CASE("shapes that do not broadcast, types that differ and integers are errors that say so") {
    const Tensor a = zeros({4, 3}), b = zeros({4, 2});
    CHECK_THROWS_WITH_AS(a + b, "[add] shapes [4,3] and [4,2] do not broadcast", Error);
    CHECK_THROWS_WITH_AS(a * zeros({4}), doctest::Contains("[mul] shapes [4,3] and [4]"), Error);
    CHECK_THROWS_WITH_AS(a - zeros({4, 3}, DType::f64),
                         "[sub] types differ: f32 [4,3] and f64 [4,3]; convert one with to(DType::f64)", Error);
    CHECK_THROWS_WITH_AS(a / labels({1, 2, 3}), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(labels({1}) + labels({2}), doctest::Contains("[add] needs f32 or f64, got i64"), Error);
    CHECK_THROWS_WITH_AS(a + Tensor(), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(Tensor() * 2.0, doctest::Contains("undefined"), Error);
  }
}
