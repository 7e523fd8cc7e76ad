// Choosing: comparisons and masks, where and its trap, masked_fill, maximum and minimum with their ties.
#include "ops/select.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "ops/math.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

// 1 where a hash of the place is odd: both values occur in every row and column.
Tensor checkered(const Shape& shape) {
  return tabulate(shape, [](Index i) { return double((i * 7 + i / 3) % 2); }).to(DType::u8);
}

OpCase where_case(const char* name, const Shape& mask_shape, const Shape& a, const Shape& b) {
  const Tensor mask = checkered(mask_shape);
  return {name,
          [mask](const auto& in) { return where(mask, in[0], in[1]); },
          {away_from_zero(a, 1), away_from_zero(b, 2)},
          [mask](const auto& in) {
            const Shape shape = broadcast("", mask.shape(), broadcast("", in[0].shape(), in[1].shape()));
            return tabulate(shape, [&](Index i) {
              return repeated_value(in[repeated_value(mask, shape, i) != 0 ? 0 : 1], shape, i);
            });
          }};
}

OpCase fill_case(const char* name, const Shape& mask_shape, const Shape& x) {
  const Tensor mask = checkered(mask_shape);
  return {name,
          [mask](const auto& in) { return masked_fill(in[0], mask, -2.5); },
          {away_from_zero(x)},
          [mask](const auto& in) {
            const Shape shape = in[0].shape();
            return tabulate(shape,
                            [&](Index i) { return repeated_value(mask, shape, i) != 0 ? -2.5 : value_at(in[0], i); });
          }};
}

// Operands that differ everywhere: b is a, or a row of it, moved by at least 0.3.
OpCase extreme_case(const char* name, Tensor (*f)(At, At), double (*reference)(double, double), const Shape& a,
                    const Shape& b) {
  return {name,
          [f](const auto& in) { return f(in[0], in[1]); },
          {between(1, 1.2, a, 1), 1.1 + away_from_zero(b, 2)},
          [reference](const auto& in) {
            const Shape shape = broadcast("", in[0].shape(), in[1].shape());
            return tabulate(shape, [&](Index i) {
              return reference(repeated_value(in[0], shape, i), repeated_value(in[1], shape, i));
            });
          }};
}

}  // namespace

std::vector<OpCase> gradus::select_cases() {
  const auto larger = [](double a, double b) { return a > b ? a : b; };
  const auto smaller = [](double a, double b) { return a < b ? a : b; };
  return {
      where_case("where, equal shapes", {3, 4}, {3, 4}, {3, 4}),
      where_case("where, mask is a row", {4}, {3, 4}, {3, 4}),
      where_case("where, b is a scalar", {3, 4}, {3, 4}, {}),
      where_case("where, all three repeat", {2, 1, 1}, {3, 1}, {4}),
      where_case("where, large", {41, 401}, {401}, {41, 1}),
      fill_case("masked_fill, equal shapes", {3, 4}, {3, 4}),
      fill_case("masked_fill, mask is a column", {3, 1}, {3, 4}),
      fill_case("masked_fill, large", {401}, {41, 401}),
      extreme_case("maximum, equal shapes", maximum, larger, {3, 4}, {3, 4}),
      extreme_case("maximum, row", maximum, larger, {3, 4}, {4}),
      extreme_case("maximum, large column", maximum, larger, {41, 401}, {41, 1}),
      extreme_case("minimum, equal shapes", minimum, smaller, {3, 4}, {3, 4}),
      extreme_case("minimum, scalar on the left", minimum, smaller, {}, {2, 5}),
  };
}

TEST_SUITE("select") {
  TEST_CASE("where, masked_fill, maximum and minimum: value and gradient") {
    for (const OpCase& c : select_cases()) check_op(c);
  }

  TEST_CASE("comparisons give 1 or 0, and NaN compares as unequal to everything") {
    const Tensor a = tensor({1, 2, 3, std::nan("")}), b = tensor({2, 2, 2, 2});
    CHECK(less(a, b).to_vector() == Values{1, 0, 0, 0});
    CHECK(less_equal(a, b).to_vector() == Values{1, 1, 0, 0});
    CHECK(greater(a, b).to_vector() == Values{0, 0, 1, 0});
    CHECK(greater_equal(a, b).to_vector() == Values{0, 1, 1, 0});
    CHECK(equal(a, b).to_vector() == Values{0, 1, 0, 0});
    CHECK(not_equal(a, b).to_vector() == Values{1, 0, 1, 1});
    CHECK(less(a, b).dtype() == DType::u8);
  }

  TEST_CASE("comparisons broadcast and take any one type") {
    CHECK(greater(arange(3).reshape({3, 1}), arange(2)).to_vector() == Values{0, 0, 1, 0, 1, 1});
    CHECK(equal(labels({1, 2, 3}), labels({2})).to_vector() == Values{0, 1, 0});
    CHECK_THROWS_WITH_AS(less(labels({1}), tensor({1})), doctest::Contains("[less] types differ"), Error);
    CHECK_THROWS_WITH_AS(equal(zeros({2}), zeros({3})), doctest::Contains("[equal] shapes [2] and [3]"), Error);
  }

  TEST_CASE("masks combine by and, or, not, anything but 0 counts as true") {
    const Tensor a = tensor({0, 0, 1, 2}, DType::u8), b = tensor({0, 1, 0, 1}, DType::u8);
    CHECK(logical_and(a, b).to_vector() == Values{0, 0, 0, 1});
    CHECK(logical_or(a, b).to_vector() == Values{0, 1, 1, 1});
    CHECK(logical_not(a).to_vector() == Values{1, 1, 0, 0});
    CHECK(where(a, tensor({1, 1, 1, 1}), tensor({5, 5, 5, 5})).to_vector() == Values{5, 5, 1, 1});
  }

  TEST_CASE("a tie of maximum or minimum gives each side half of the gradient") {
    Tensor a = tensor({1, 2, 3}, DType::f64).requires_grad_(), b = tensor({2, 2, 2}, DType::f64).requires_grad_();
    for (const auto f : {maximum, minimum}) {
      Tape tape;
      const Tensor y = f(a, b);
      BackwardPass pass(tape);
      pass.seed(y, tensor({2, 4, 8}, DType::f64));
      pass.finish_without_grad();
      const bool max = y.at({0}) == 2;
      CHECK(pass.gradient(a).to_vector() == (max ? Values{0, 2, 8} : Values{2, 2, 0}));
      CHECK(pass.gradient(b).to_vector() == (max ? Values{2, 2, 0} : Values{0, 2, 8}));
    }
    CHECK(slopes(a.detach(), [](const Tensor& x) { return maximum(x, x); }) == Values{1, 1, 1});
  }

  TEST_CASE("NaN on either side is the maximum and the minimum") {
    const Tensor a = tensor({std::nan(""), 1}), b = tensor({1, std::nan("")});
    for (const double v : (maximum(a, b) + minimum(a, b)).to_vector()) CHECK(std::isnan(v));
  }

  // Note [Safe where]
  TEST_CASE("where lets the NaN of the other branch into the gradient, unless that branch is made safe first") {
    const Tensor x = tensor({0, 4}, DType::f64), zero = zeros({2}, DType::f64), one = ones({2}, DType::f64);
    const auto unsafe = [&](const Tensor& v) { return where(greater(v, zero), sqrt(v), zero); };
    const auto safe = [&](const Tensor& v) {
      const Tensor positive = greater(v, zero);
      return where(positive, sqrt(where(positive, v, one)), zero);
    };
    CHECK(unsafe(x).to_vector() == Values{0, 2});
    CHECK(safe(x).to_vector() == Values{0, 2});
    CHECK(std::isnan(slopes(x, unsafe)[0]));
    CHECK(slopes(x, safe) == Values{0, 0.25});

    const Tape tape(Debug::yes);
    Tensor leaf = x.clone().requires_grad_();
    const Tensor y = unsafe(leaf);
    const auto sweep = [&] {
      BackwardPass pass(Tape::of("test", y));
      pass.seed(y, one);
      pass.finish_without_grad();
    };
    CHECK_THROWS_WITH_AS(sweep(), doctest::Contains("a branch that where() did not select"), Error);
  }

  TEST_CASE("masked_fill with -inf is meant, also on a debug tape") {
    const Tape tape(Debug::yes);
    Tensor x = tensor({1, 2}).requires_grad_();
    const Tensor y = masked_fill(x, tensor({0, 1}, DType::u8), -INFINITY);
    CHECK(y.to_vector() == Values{1, -INFINITY});
  }

  TEST_CASE("a mask of another type, or one larger than what it masks, is an error") {
    const Tensor x = zeros({2, 3}), mask = ones({2, 3}, DType::u8);
    CHECK_THROWS_WITH_AS(where(x, x, x), doctest::Contains("[where] the mask must be of type u8, got f32 [2,3]"),
                         Error);
    CHECK_THROWS_WITH_AS(masked_fill(x, labels({1}), 0), doctest::Contains("[masked_fill] the mask must be"), Error);
    CHECK_THROWS_WITH_AS(masked_fill(x, Tensor(), 0), doctest::Contains("got (undefined)"), Error);
    CHECK_THROWS_WITH_AS(masked_fill(zeros({3}), mask, 0), doctest::Contains("u8 [2,3] is larger than f32 [3]"), Error);
    CHECK_THROWS_WITH_AS(where(mask, x, zeros({4})), doctest::Contains("[where] shapes [2,3] and [4]"), Error);
    CHECK_THROWS_WITH_AS(where(mask, x, zeros({3}, DType::f64)), doctest::Contains("[where] types differ"), Error);
    CHECK_THROWS_WITH_AS(where(mask, x, Tensor()), doctest::Contains("undefined"), Error);
  }
}
