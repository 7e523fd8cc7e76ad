// Self-paced learning: its gradient is the weight, its weights are the best, and outliers stay out.
#include "losses/schemes/self_paced.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("self_paced") {
  TEST_CASE("self_paced: definition, closed form and central differences agree") { check_losses(self_paced_losses()); }

  TEST_CASE("self-paced: the gradient is the weight, hard or linear") {
    const Tensor l = vec({0.2, 0.9, 1.5, 0});
    const auto gradient = [&](Pace pace) {
      return slopes(l, [&](const Tensor& x) { return self_paced(x, {.pace = pace, .reduction = Reduction::sum}); });
    };
    check_near(gradient(Pace::hard), {1, 1, 0, 1}, 1e-16);
    check_near(gradient(Pace::linear), {0.8, 0.1, 0, 1}, 1e-15);
    CHECK(self_paced_weights(l).to_vector() == gradient(Pace::hard));
    CHECK(self_paced_weights(l, {.pace = Pace::linear}).to_vector() == gradient(Pace::linear));
  }

  TEST_CASE("self-paced weights are the best: no other v has a smaller v l + f(v)") {
    for (const double l : {0.0, 0.3, 0.8, 1.7}) {
      const double hard = self_paced(vec({l}), {.lambda = 0.9}).item();
      const double linear = self_paced(vec({l}), {.lambda = 0.9, .pace = Pace::linear}).item();
      double best_hard = 9, best_linear = 9;
      for (int i = 0; i <= 1000; ++i) {
        const double v = i / 1000.0;
        best_hard = std::min(best_hard, v * l + 0.9 * (1 - v));
        best_linear = std::min(best_linear, v * l + 0.45 * (1 - v) * (1 - v));
      }
      CHECK(hard == doctest::Approx(best_hard).epsilon(1e-12));
      CHECK(linear == doctest::Approx(best_linear).epsilon(1e-6));
      CHECK(linear <= best_linear + 1e-15);
    }
  }

  TEST_CASE("a location fitted with self-paced losses ignores an outlier that moves the plain mean") {
    const Tensor x = vec({0.9, 1.1, 1.0, 0.95, 1.05, 50});
    const auto fit = [&](double lambda, Pace pace) {
      return minimise([&](const Tensor& m) { return self_paced(square(x - m), {.lambda = lambda, .pace = pace}); },
                      vec({0.5}), 400, 0.4)[0];
    };
    CHECK(fit(inf, Pace::hard) == doctest::Approx(55.0 / 6).epsilon(1e-6));
    CHECK(fit(4, Pace::hard) == doctest::Approx(1).epsilon(1e-6));
    CHECK(fit(4, Pace::linear) == doctest::Approx(1).epsilon(1e-6));
  }

  TEST_CASE("lambda without end is the plain loss, NaN stays NaN, at the threshold the row is out") {
    for (const Pace pace : {Pace::hard, Pace::linear}) {
      CHECK(self_paced(vec({1, 5}), {.lambda = inf, .pace = pace}).item() == 3);
      CHECK(std::isnan(self_paced(vec({NaN}), {.pace = pace}).item()));
      CHECK(slopes(vec({1}), [&](const Tensor& x) { return self_paced(x, {.pace = pace}); }) == Values{0});
    }
  }

  TEST_CASE("self_paced: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(self_paced(vec({1}), {.lambda = 0}), doctest::Contains("lambda must be positive"), Error);
    CHECK_THROWS_WITH_AS(self_paced(labels({1})), doctest::Contains("needs losses, f32 or f64"), Error);
  }
}
