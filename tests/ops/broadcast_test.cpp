// broadcast_to repeats, sum_to adds up: each is the other's gradient.
#include "ops/broadcast.h"

#include <doctest/doctest.h>

#include "tests/support/op_case.h"

using namespace gradus;

namespace {

OpCase repeat_case(const char* name, const Shape& from, const Shape& to) {
  return {name,
          [to](const auto& in) { return broadcast_to(in[0], to); },
          {away_from_zero(from)},
          [to](const auto& in) { return tabulate(to, [&](Index i) { return repeated_value(in[0], to, i); }); }};
}

// The reference adds each element to where repeating would have taken it from: it repeats the numbers of the places.
OpCase sum_case(const char* name, const Shape& from, const Shape& to) {
  return {name,
          [to](const auto& in) { return sum_to(in[0], to); },
          {away_from_zero(from)},
          [from, to](const auto& in) {
            const Tensor place = tabulate(to, [](Index i) { return double(i); });
            Tensor y = zeros(to, DType::f64);
            for (Index i = 0; i < from.numel(); ++i) {
              const Index k = Index(repeated_value(place, from, i));
              set_value(y, k, value_at(y, k) + value_at(in[0], i));
            }
            return y;
          }};
}

}  // namespace

std::vector<OpCase> gradus::broadcast_cases() {
  return {
      repeat_case("a scalar to a matrix", {}, {2, 3}),
      repeat_case("a row to a matrix", {4}, {3, 4}),
      repeat_case("a column to a matrix", {3, 1}, {3, 4}),
      repeat_case("a middle axis", {2, 1, 4}, {2, 3, 4}),
      repeat_case("crosswise, with new axes", {3, 1, 5, 1}, {2, 3, 4, 5, 2}),
      repeat_case("to its own shape", {2, 3}, {2, 3}),
      repeat_case("many columns", {3, 1}, {3, 6000}),
      sum_case("a matrix to a scalar", {2, 3}, {}),
      sum_case("a matrix to a row", {3, 4}, {4}),
      sum_case("a matrix to a column", {3, 4}, {3, 1}),
      sum_case("the middle axis away", {2, 3, 4}, {2, 1, 4}),
      sum_case("crosswise, with axes gone", {2, 3, 4, 5, 2}, {3, 1, 5, 1}),
      sum_case("to the same shape", {2, 3}, {2, 3}),
      sum_case("many rows", {6001, 3}, {3}),
  };
}

TEST_SUITE("broadcast") {
  TEST_CASE("broadcast_to and sum_to: value and gradient") {
    for (const OpCase& c : broadcast_cases()) check_op(c);
  }

  TEST_CASE("an axis of size 0 is repeated to nothing and sums to 0") {
    CHECK(broadcast_to(zeros({1, 3}), {0, 3}).shape() == Shape{0, 3});
    CHECK(sum_to(zeros({0, 3}), {1, 3}).to_vector() == std::vector<double>{0, 0, 0});
  }

  TEST_CASE("shapes that do not repeat to each other are errors") {
    CHECK_THROWS_WITH_AS(broadcast_to(zeros({2, 3}), {3}), "[broadcast_to] f32 [2,3] does not repeat to [3]", Error);
    CHECK_THROWS_WITH_AS(broadcast_to(zeros({2}), {3}), doctest::Contains("[2] and [3] do not broadcast"), Error);
    CHECK_THROWS_WITH_AS(sum_to(zeros({3}), {2, 3}), "[sum_to] f32 [3] does not sum to [2,3]", Error);
    CHECK_THROWS_WITH_AS(sum_to(zeros({3}), {2}), doctest::Contains("do not broadcast"), Error);
    CHECK_THROWS_WITH_AS(broadcast_to(Tensor(), {2}), doctest::Contains("undefined"), Error);
  }
}
