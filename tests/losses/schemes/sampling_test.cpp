// Over-sampling and inverse frequencies: every class has its share.
#include "losses/schemes/sampling.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("sampling") {
  TEST_CASE("over-sampling gives every class its share") {
    Rng rng(5);
    std::vector<Index> y(1000, 7);
    y[3] = 0, y[500] = 2, y[501] = 2;
    const std::vector<Index> batch = oversampled_batch(labels(y), 3000, rng);
    CHECK(batch.size() == 3000);
    std::vector<Index> count(8);
    for (const Index i : batch) ++count[std::size_t(y[std::size_t(i)])];
    for (const std::size_t c : {0, 2, 7}) CHECK(std::abs(double(count[c]) - 1000) < 110);
    CHECK(oversampled_batch(labels({}), 0, rng).empty());
    Rng one(9), two(9);
    CHECK(oversampled_batch(labels(y), 20, one) == oversampled_batch(labels(y), 20, two));
  }

  TEST_CASE("inverse frequencies: each class weighs the same, all rows together N") {
    const Values n = {8, 0, 2}, w = inverse_frequency_weights(vec(n)).to_vector();
    check_near(w, {10.0 / 16, 0, 10.0 / 4}, 1e-15);
    CHECK(w[0] * 8 == w[2] * 2);
    CHECK(inverse_frequency_weights(vec({0, 0})).to_vector() == Values{0, 0});
  }

  TEST_CASE("sampling: what does not fit is an error that names it") {
    Rng rng(6);
    CHECK_THROWS_WITH_AS(oversampled_batch(labels({}), 1, rng), doctest::Contains("no rows to draw from"), Error);
    CHECK_THROWS_WITH_AS(oversampled_batch(vec({1}), 1, rng), doctest::Contains("i32 or i64"), Error);
    CHECK_THROWS_WITH_AS(oversampled_batch(labels({1}), -1, rng), doctest::Contains("must not be negative"), Error);
    CHECK_THROWS_WITH_AS(inverse_frequency_weights(vec({-1})), doctest::Contains("negative or NaN"), Error);
    CHECK_THROWS_WITH_AS(inverse_frequency_weights(zeros({1, 1})), doctest::Contains("class counts [C]"), Error);
  }
}
