// log-cosh: the proof, numbers by hand, both ends.
#include "losses/distance/log_cosh.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/distance/regression.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("log_cosh") {
  TEST_CASE("log_cosh: definition, closed form and central differences agree") { check_losses(log_cosh_losses()); }

  TEST_CASE("log_cosh by hand: log cosh(log 2) = log 1.25, with slope 0.6") {
    const Tensor p = vec({std::log(2.0)}), t = vec({0});
    CHECK(log_cosh(p, t).item() == doctest::Approx(std::log(1.25)));
    check_near(slopes(p, [&](const Tensor& x) { return log_cosh(x, t); }), {0.6}, 1e-15);
  }

  TEST_CASE("log_cosh is d^2 / 2 near 0 to all digits, |d| - log 2 far out, and never above mse / 2 or mae") {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Tensor none = zeros({1}, dtype);
      const auto at = [&](double d) { return log_cosh(full({1}, d, dtype), none).item(); };
      CHECK(at(1e-4) == doctest::Approx(0.5e-8).epsilon(1e-6));
      CHECK(at(-1000) == doctest::Approx(1000 - std::log(2.0)).epsilon(1e-6));
      CHECK(at(0) == 0);
    }
    const Tensor p = between(-3, 3, {40}, 1), t = between(-3, 3, {40}, 2);
    const Values L = log_cosh(p, t, {.reduction = Reduction::none}).to_vector();
    const Values squares = mse(p, t, {.reduction = Reduction::none}).to_vector();
    for (std::size_t i = 0; i < L.size(); ++i) CHECK(L[i] <= std::min(squares[i] / 2, std::sqrt(squares[i])) + 1e-15);
  }

  TEST_CASE("log_cosh: shapes that differ are an error") {
    CHECK_THROWS_WITH_AS(log_cosh(zeros({2}), zeros({3})), doctest::Contains("two tensors of one shape"), Error);
  }
}
