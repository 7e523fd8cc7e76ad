// Metrics of numbers: by hand, extremes, and what a mean of means gets wrong.
#include "losses/metrics/regression.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("regression_metrics") {
  TEST_CASE("definition and closed form agree") { check_losses(regression_metric_losses()); }

  TEST_CASE("rmse by hand, and of sizes whose squares leave the range") {
    CHECK(rmse(vec({1, 2, 3}), vec({1, 4, 7})) == doctest::Approx(std::sqrt(20.0 / 3)));
    CHECK(rmse(vec({3e200, 0}), vec({0, 4e200})) == doctest::Approx(5e200 / std::sqrt(2.0)));
    CHECK(rmse(vec({3e-200, 0}), vec({0, 4e-200})) == doctest::Approx(5e-200 / std::sqrt(2.0)));
    CHECK(rmse(vec({inf}), vec({0})) == inf);
    CHECK(std::isnan(rmse(vec({1, NaN, 2}), vec({0, 0, 0}))));
    CHECK(rmse(zeros({0}), zeros({0})) == 0);
  }

  TEST_CASE("angles by hand: 0, 45, 90 and 180 degrees") {
    const double quarter = std::acos(0.0);
    const Tensor u = matrix({1, 0, 1, 0, 1, 0, 1, 0}, 4), v = matrix({5, 0, 1, 1, 0, 2, -3, 0}, 4);
    CHECK(angular_error(u, v) == doctest::Approx((0 + quarter / 2 + quarter + 2 * quarter) / 4).epsilon(1e-15));
    CHECK(angular_error(matrix({0, 0}, 1), matrix({1, 0}, 1)) == quarter);
    CHECK(angular_error(zeros({0, 2}), zeros({0, 2})) == 0);
  }

  TEST_CASE("an angle of 1e-9 is 1e-9, where acos of the cosine says 0 or NaN") {
    const Tensor u = matrix({1, 0}, 1), v = matrix({1, 1e-9}, 1);
    CHECK(angular_error(u, v) == doctest::Approx(1e-9).epsilon(1e-12));
    CHECK(angular_error(u, v, Form::definition) == 0);
    CHECK(angular_error(1e300 * u, 1e-300 * v) == doctest::Approx(1e-9).epsilon(1e-12));
    CHECK(angular_error(u, -v) == doctest::Approx(2 * std::acos(0.0) - 1e-9).epsilon(1e-15));
  }

  TEST_CASE("the perplexity of a run is that of its mean loss over tokens, not the mean of perplexities") {
    const Tensor nll = vec({std::log(2.0), std::log(8.0)});
    CHECK(perplexity_of_nll(nll) == doctest::Approx(4));  // the mean of perplexities is 5
    CHECK(perplexity_of_nll(nll, vec({3, 1})) == doctest::Approx(std::sqrt(8.0)));
    CHECK(perplexity_of_nll(nll, vec({3, 0})) == doctest::Approx(2));
    CHECK(perplexity_of_nll(vec({std::log(50.0)})) == doctest::Approx(50));
    CHECK(perplexity_of_nll(vec({})) == 1);
    CHECK(perplexity_of_nll(vec({1e4})) == inf);
  }

  TEST_CASE("regression_metrics: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(rmse(vec({1}), vec({1, 2})), doctest::Contains("of one shape"), Error);
    CHECK_THROWS_WITH_AS(rmse(Tensor(), vec({1})), doctest::Contains("of one shape"), Error);
    CHECK_THROWS_WITH_AS(angular_error(vec({1}), vec({1})), doctest::Contains("two tensors [N,D]"), Error);
    CHECK_THROWS_WITH_AS(perplexity_of_nll(zeros({1, 1})), doctest::Contains("needs mean losses [n]"), Error);
    CHECK_THROWS_WITH_AS(perplexity_of_nll(vec({1}), vec({-1})), doctest::Contains("negative or NaN"), Error);
  }
}
