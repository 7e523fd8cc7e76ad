// Spearman: by hand, with ties, and what leaves it unchanged.
#include "losses/metrics/spearman.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("spearman") {
  TEST_CASE("spearman: counting and sorting agree") { check_losses(spearman_losses()); }

  TEST_CASE("without ties it is 1 - 6 sum d^2 / (n^3 - n), with ties that form is wrong") {
    // Ranks 1 2 3 4 5 against 2 1 4 3 5: d^2 sums to 4.
    CHECK(spearman(vec({1, 2, 3, 4, 5}), vec({20, 10, 40, 30, 50})) == doctest::Approx(1 - 6 * 4 / 120.0));
    // x = 1 1 2 3 has ranks 1.5 1.5 3 4; against 1 2 3 4 the sums are 4.5, 4.5 and 5.
    const double with_ties = spearman(vec({1, 1, 2, 3}), vec({1, 2, 3, 4}));
    CHECK(with_ties == doctest::Approx(4.5 / std::sqrt(4.5 * 5)).epsilon(1e-15));
    CHECK(std::abs(with_ties - (1 - 6 * 0.5 / 60)) > 1e-3);
  }

  TEST_CASE("ties share their average rank") {
    CHECK(average_ranks(vec({10, 20, 20, 5, 20})).to_vector() == Values{2, 4, 4, 1, 4});
    CHECK(average_ranks(vec({7, 7, 7, 7})).to_vector() == Values(4, 2.5));
    CHECK(average_ranks(vec({inf, -inf, 0})).to_vector() == Values{3, 1, 2});
    CHECK(average_ranks(vec({-0.0, 0.0})).to_vector() == Values{1.5, 1.5});
  }

  TEST_CASE("only the order counts: increasing functions change nothing, decreasing ones the sign, swapping nothing") {
    const Tensor x = distinct({30}), y = distinct({30}, 2);
    const double rho = spearman(x, y);
    CHECK(std::abs(rho) < 1);
    CHECK(spearman(exp(x), y) == rho);
    CHECK(spearman(-x, y) == -rho);
    CHECK(spearman(y, x) == rho);
    CHECK(spearman(x, exp(x)) == 1);
    CHECK(spearman(x, -x) == -1);
    CHECK(spearman(1e300 * x, 1e-300 * y) == rho);
  }

  TEST_CASE("all tied, one row, no rows: 0, NaN stays NaN") {
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(spearman(vec({3, 3, 3}), vec({1, 2, 3}), form) == 0);
      CHECK(spearman(vec({1}), vec({2}), form) == 0);
      CHECK(spearman(vec({}), vec({}), form) == 0);
      CHECK(std::isnan(spearman(vec({1, NaN}), vec({1, 2}), form)));
    }
  }

  TEST_CASE("integers have ranks too, and f32 gives what f64 gives") {
    const Tensor x = distinct({50}), y = distinct({50}, 2);
    CHECK(spearman(x.to(DType::f32), y.to(DType::f32)) == spearman(x, y));
    CHECK(spearman(labels({3, 1, 2}), vec({30, 10, 20})) == 1);
  }

  TEST_CASE("spearman: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(spearman(vec({1}), vec({1, 2})), doctest::Contains("of one length"), Error);
    CHECK_THROWS_WITH_AS(spearman(vec({1}), Tensor()), doctest::Contains("needs two tensors"), Error);
    CHECK_THROWS_WITH_AS(average_ranks(zeros({1, 1})), doctest::Contains("needs values [n]"), Error);
    CHECK_THROWS_WITH_AS(average_ranks(vec({NaN})), doctest::Contains("has no rank"), Error);
  }
}
