// Rotary positions: a rotation keeps lengths, and scores depend on distances only.
#include "ops/rope.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/distance.h"
#include "ops/math.h"
#include "ops/normalize.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

OpCase rope_case(const char* name, const Shape& shape, const Tensor& positions, double base) {
  return {name,
          [=](const auto& in) { return rope(in[0], positions, base); },
          {away_from_zero(shape)},
          [=](const auto& in) {
            const Index T = shape[-2], D = shape[-1];
            return tabulate(shape, [&](Index i) {
              const Index t = i / D % T, pair = i % D / 2, first = i / 2 * 2;
              const double position = positions ? value_at(positions, t) : double(t);
              const double angle = position * std::pow(base, -2.0 * double(pair) / double(D));
              const double a = value_at(in[0], first), b = value_at(in[0], first + 1);
              return i % 2 == 0 ? a * std::cos(angle) - b * std::sin(angle) : a * std::sin(angle) + b * std::cos(angle);
            });
          }};
}

}  // namespace

std::vector<OpCase> gradus::rope_cases() {
  return {
      rope_case("rope", {3, 4}, {}, 10000),
      rope_case("rope of heads", {2, 2, 3, 6}, {}, 100),
      rope_case("rope at given positions", {3, 4}, labels({7, 0, 7}), 10000),
      rope_case("rope at i32 positions", {2, 3, 2}, labels({5, 6, 40}).to(DType::i32), 500),
      rope_case("rope, many", {5, 301, 14}, {}, 10000),
  };
}

TEST_SUITE("rope") {
  TEST_CASE("every form: value and gradient") {
    for (const OpCase& c : rope_cases()) check_op(c);
  }

  TEST_CASE("position 0 turns nothing, and no position changes a length") {
    const Tensor x = away_from_zero({5, 8});
    CHECK(rope(x)[0].to_vector() == x[0].to_vector());
    const Values before = norm(x).to_vector(), after = norm(rope(x)).to_vector();
    for (std::size_t t = 0; t < 5; ++t) CHECK(after[t] == doctest::Approx(before[t]).epsilon(1e-14));
  }

  TEST_CASE("the score of a query and a key depends on the distance of their positions only") {
    const Tensor q = away_from_zero({1, 8}, 1), k = away_from_zero({1, 8}, 2);
    const auto score = [&](Index m, Index n) { return dot(rope(q, labels({m})), rope(k, labels({n}))).item(); };
    CHECK(score(17, 12) == doctest::Approx(score(5, 0)).epsilon(1e-12));
    CHECK(score(1005, 1000) == doctest::Approx(score(5, 0)).epsilon(1e-12));
    CHECK(std::abs(score(6, 0) - score(5, 0)) > 1e-3);
  }

  TEST_CASE("at position 1e5, f32 is still as near to f64 as at position 1") {
    const Tensor x = away_from_zero({2, 6}), positions = labels({100000, 99999});
    const Values narrow = rope(x.to(DType::f32), positions).to_vector(), wide = rope(x, positions).to_vector();
    for (std::size_t i = 0; i < wide.size(); ++i) CHECK(std::abs(narrow[i] - wide[i]) < 3e-7);
  }

  TEST_CASE("an odd width, a missing axis, too few positions and a base of 0 are errors") {
    CHECK_THROWS_WITH_AS(rope(zeros({3, 5})), "[rope] needs [..,T,D] with an even D, got f32 [3,5]", Error);
    CHECK_THROWS_WITH_AS(rope(zeros({4})), doctest::Contains("[rope] needs [..,T,D]"), Error);
    CHECK_THROWS_WITH_AS(rope(zeros({3, 4}), labels({0, 1})),
                         "[rope] needs one position per row: i64 [2] for f32 [3,4]", Error);
    CHECK_THROWS_WITH_AS(rope(zeros({1, 4}), tensor({0})), doctest::Contains("[rope] needs indices of type"), Error);
    CHECK_THROWS_WITH_AS(rope(zeros({1, 4}), {}, 0), doctest::Contains("[rope] needs a positive base"), Error);
    CHECK_THROWS_WITH_AS(rope(labels({1, 2}).reshape({1, 2})), doctest::Contains("[rope] needs f32 or f64"), Error);
    CHECK_THROWS_WITH_AS(rope(Tensor()), doctest::Contains("undefined"), Error);
  }
}
