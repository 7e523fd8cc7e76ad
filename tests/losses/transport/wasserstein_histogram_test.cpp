// W1 of histograms: both forms and central differences agree, and what the head of wasserstein_histogram.h promises.
#include "losses/transport/wasserstein_histogram.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/transport/wasserstein.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("wasserstein_histogram") {
  TEST_CASE("wasserstein_histogram: definition, closed form and central differences agree") {
    check_losses(wasserstein_histogram_losses());
  }

  TEST_CASE(
      "by hand: a sure bin against a sure bin costs their distance, cross entropy does not see "
      "it") {
    const Tensor target = matrix({0, 0, 0, 1}, 1);
    double last = inf;
    for (const Index bin : {0, 1, 2, 3}) {
      Tensor p = zeros({1, 4}, DType::f64);
      set_value(p, bin, 1);
      const double value = wasserstein_histogram(p, target, {.probabilities = true}).item();
      CHECK(value == double(3 - bin));
      CHECK(value < last);
      last = value;
    }
    // Uniform over 4 bins: 3/4 + 2/4 + 1/4.
    CHECK(wasserstein_histogram(zeros({1, 4}, DType::f64), target).item() == doctest::Approx(1.5));
    CHECK(wasserstein_histogram(zeros({1, 4}, DType::f64), matrix({1, 0, 0, 0}, 1)).item() == doctest::Approx(1.5));
  }

  TEST_CASE("A042 a histogram is a weighted cloud: both losses agree") {
    const Tensor p = softmax(distinct({1, 5})), t = softmax(distinct({1, 5}, 2)), bins = vec({0, 1, 2, 3, 4});
    CHECK(wasserstein_histogram(p, t, {.probabilities = true}).item() ==
          doctest::Approx(wasserstein_1d(bins, bins, {.wx = p.reshape({5}), .wy = t.reshape({5})}).item())
              .epsilon(1e-13));
  }

  TEST_CASE("the gradient in the logits sums to 0, a shift of them changes nothing") {
    const Tensor z = distinct({3, 5}), t = softmax(distinct({3, 5}, 2));
    const auto f = [&](const Tensor& x) { return wasserstein_histogram(x, t); };
    for (const double s : sum(matrix(slopes(z, f), 3), {1}).to_vector()) CHECK(std::abs(s) < 1e-15);
    CHECK(f(z + 50.0).item() == doctest::Approx(f(z).item()).epsilon(1e-13));
  }

  TEST_CASE("wasserstein_histogram: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3});
    CHECK_THROWS_WITH_AS(wasserstein_histogram(z, zeros({2, 4})), doctest::Contains("needs logits [N,K]"), Error);
    CHECK_THROWS_WITH_AS(wasserstein_histogram(Tensor(), z), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(wasserstein_histogram(zeros({2, 0}), zeros({2, 0})), doctest::Contains("K >= 1"), Error);
  }
}
