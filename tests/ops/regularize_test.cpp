// dropout, stop_gradient and scale_gradient: what reaches the parameters, and what does not.
#include "ops/regularize.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

// The generator starts anew at each call, so that the function is one function; at an odd position, which is rounded up to
// that of a whole Philox block.
OpCase dropout_case(const char* name, const Shape& shape, double p) {
  return {name,
          [p](const auto& in) {
            Rng rng(9);
            rng.seek(3);
            return dropout(in[0], p, rng);
          },
          {away_from_zero(shape)},
          [=](const auto& in) {
            return tabulate(shape, [&](Index i) {
              const double word = philox(9, std::uint64_t(2 + i / 4))[std::size_t(i % 4)];
              return word < std::floor(p * 0x1p32) ? 0 : value_at(in[0], i) / (1 - p);
            });
          }};
}

}  // namespace

std::vector<OpCase> gradus::regularize_cases() {
  return {
      dropout_case("dropout 0.5", {3, 5}, 0.5),
      dropout_case("dropout 0.1, many", {41, 401}, 0.1),
      {"scale_gradient by 1",
       [](const auto& in) { return scale_gradient(in[0], 1); },
       {away_from_zero({2, 3})},
       [](const auto& in) { return in[0]; }},
  };
}

TEST_SUITE("regularize") {
  TEST_CASE("dropout and scale_gradient: value and gradient") {
    for (const OpCase& c : regularize_cases()) check_op(c);
  }

  TEST_CASE("dropout keeps the mean, and drops the share it was told") {
    Rng rng(1);
    const Tensor y = dropout(ones({100000}), 0.3, rng);
    double dropped = 0;
    for (const double v : y.to_vector()) dropped += v == 0;
    CHECK(dropped / 100000 == doctest::Approx(0.3).epsilon(0.02));
    CHECK(mean(y).item() == doctest::Approx(1).epsilon(0.01));
  }

  TEST_CASE("what was dropped gets no gradient, what was kept gets 1 / (1 - p)") {
    Rng rng(2);
    const Tensor x = ones({1000}, DType::f64);
    Values y;
    const Values g = slopes(x, [&](const Tensor& v) {
      const Tensor out = dropout(v, 0.75, rng);
      y = out.to_vector();
      return out;
    });
    CHECK(g == y);
  }

  TEST_CASE("the mask follows from seed and position, each call moves on to another") {
    Rng rng(3), again(3);
    const Tensor x = ones({65});
    const Values first = dropout(x, 0.5, rng).to_vector();
    const std::uint64_t position = rng.position();
    const Values second = dropout(x, 0.5, rng).to_vector();
    CHECK(first != second);
    again.seek(position);
    CHECK(dropout(x, 0.5, again).to_vector() == second);
  }

  TEST_CASE("p = 0 is the identity and takes no random numbers, p = 1 and beyond is an error") {
    Rng rng(4);
    const Tensor x = ones({3});
    CHECK(dropout(x, 0, rng).handle() == x.handle());
    CHECK(rng.position() == 0);
    CHECK_THROWS_WITH_AS(dropout(x, 1, rng), doctest::Contains("[dropout] needs 0 <= p < 1, got 1.0"), Error);
    CHECK_THROWS_WITH_AS(dropout(x, -0.1, rng), doctest::Contains("needs 0 <= p < 1"), Error);
    CHECK_THROWS_WITH_AS(dropout(x, std::nan(""), rng), doctest::Contains("needs 0 <= p < 1"), Error);
    CHECK_THROWS_WITH_AS(dropout(labels({1}), 0.5, rng), doctest::Contains("[dropout] needs f32 or f64"), Error);
    CHECK_THROWS_WITH_AS(dropout(Tensor(), 0.5, rng), doctest::Contains("undefined"), Error);
  }

  TEST_CASE("stop_gradient passes the value and nothing back, scale_gradient multiplies what goes back") {
    const Tensor x = tensor({2, -3}, DType::f64);
    CHECK(slopes(x, [](const Tensor& v) { return v * stop_gradient(v); }) == Values{2, -3});
    CHECK(slopes(x, [](const Tensor& v) { return v + scale_gradient(v, -1) * 3.0; }) == Values{-2, -2});
    CHECK(slopes(x, [](const Tensor& v) { return scale_gradient(v, 0); }) == Values{0, 0});
    CHECK(scale_gradient(x, -1).to_vector() == x.to_vector());
    CHECK_THROWS_WITH_AS(stop_gradient(Tensor()), doctest::Contains("undefined"), Error);
  }
}
