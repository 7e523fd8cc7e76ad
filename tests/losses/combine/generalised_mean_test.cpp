// The power mean: its named members, its limits, zeros, and the orders at which the plain formula breaks.
#include "losses/combine/generalised_mean.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/combine/normalised.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

const Values seed = {2.3, 150, 50};
double value(const Values& losses, double gamma) { return generalised_mean(vec(losses), {.gamma = gamma}).item(); }
Values weights(const Values& losses, double gamma) {
  return slopes(vec(losses), [&](const Tensor& L) { return generalised_mean(L, {.gamma = gamma}); });
}

}  // namespace

TEST_SUITE("generalised_mean") {
  TEST_CASE("generalised_mean: definition, closed form and central differences agree") {
    check_losses(generalised_mean_losses());
  }

  TEST_CASE("A130 B126 min, harmonic, geometric, arithmetic, max of (2.3, 150, 50)") {
    check_near({value(seed, -inf), value(seed, -1), value(seed, 0), value(seed, 1), value(seed, inf)},
               {2.3, 6.50126, 25.83825, 67.43333, 150}, 1e-6);
  }

  TEST_CASE("B126 slopes are (L_i/M)^(gamma-1)/K, and sum_i L_i times slope is M") {
    for (const double gamma : {-inf, -200., -1., 0., 1e-9, 0.5, 1., 2., 200., inf}) {
      const double M = value(seed, gamma);
      const Values w = weights(seed, gamma);
      double total = 0;
      for (std::size_t i = 0; i < 3; ++i) {
        if (std::isfinite(gamma)) CHECK(w[i] == doctest::Approx(std::pow(seed[i] / M, gamma - 1) / 3).epsilon(1e-9));
        total += w[i] * seed[i];
      }
      CHECK(total == doctest::Approx(M).epsilon(1e-13));
    }
  }

  TEST_CASE("B127 at gamma 0 every task has the same w_i L_i, 8.612749, and the direction is that of L/sg(L)") {
    const Values w = weights(seed, 0);
    const Values live = slopes(vec(seed), [](const Tensor& L) { return live_norm(L); });
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(w[i] * seed[i] == doctest::Approx(8.612749).epsilon(1e-7));
      CHECK(w[i] / live[i] == doctest::Approx(value(seed, 0) / 3).epsilon(1e-13));
    }
  }

  TEST_CASE("C65 the plain formula gives inf at gamma 200 and 1 at gamma 1e-20, ours 149.178 and 25.838") {
    const auto plain = [](double gamma) {
      double s = 0;
      for (const double L : seed) s += std::pow(L, gamma) / 3;
      return std::pow(s, 1 / gamma);
    };
    CHECK(plain(200) == inf);
    CHECK(plain(1e-20) == 1);
    CHECK(value(seed, 200) == doctest::Approx(149.178).epsilon(3e-6));
    CHECK(value(seed, 1e-20) == doctest::Approx(25.83825).epsilon(3e-7));
    // What the source's table calls its limits are the values at gamma = -1e4 and 1e4.
    CHECK(value(seed, -1e4) == doctest::Approx(2.3003).epsilon(1e-4));
    CHECK(value(seed, 1e4) == doctest::Approx(149.98).epsilon(1e-4));
  }

  TEST_CASE("gamma passes through 0 without a step: values and slopes rise evenly from -1e-3 to 1e-3") {
    const double here = value(seed, 0), var_l = var(log(vec(seed)), 0, 0).item();
    for (const double gamma : {-1e-3, -1e-6, -1e-9, -1e-15, 1e-300, 1e-19, 1e-12, 1e-6, 1e-3}) {
      CHECK(std::abs(std::log(value(seed, gamma) / here) - gamma * var_l / 2) < gamma * gamma + 1e-14);
      check_near(weights(seed, gamma), weights(seed, 0), std::abs(gamma) * 50 + 1e-13);
    }
  }

  TEST_CASE("M lies between min and max and rises with gamma") {
    double last = 2.3;
    for (const double gamma : {-1e6, -200., -3., -1., -.1, 0., .1, .5, 1., 2., 10., 200., 1e6}) {
      const double M = value(seed, gamma);
      CHECK(M > last);
      CHECK(M < 150);
      last = M;
    }
    CHECK(value({7, 7, 7}, -200) == 7);
    CHECK(value({1e-30, 1e-30}, 0.3) == 1e-30);
  }

  TEST_CASE("zeros: M is 0 for gamma <= 0, and slopes are the finite limits, else 0") {
    const Values L = {0, 2, 0, 5};
    for (const double gamma : {-inf, -1., 0.}) CHECK(value(L, gamma) == 0);
    CHECK(value(L, 1) == 1.75);
    CHECK(value(L, 2) == doctest::Approx(std::sqrt(29. / 4)));
    CHECK(value(L, inf) == 5);
    CHECK(weights(L, 1) == Values(4, 0.25));
    check_near(weights(L, -1), {1, 0, 1, 0}, 1e-15);  // (1/2) (2/4)^(1/-1)
    check_near(weights(L, -2), {.5 * std::sqrt(2.), 0, .5 * std::sqrt(2.), 0}, 1e-15);
    CHECK(weights(L, -inf) == Values{.5, 0, .5, 0});
    CHECK(weights(L, 0) == Values(4, 0));
    CHECK(weights(L, 3)[0] == 0);
    CHECK(weights(L, .5)[0] == 0);
    for (const double gamma : {-inf, -3., 0., .5, 2., inf}) CHECK(weights({0, 0}, gamma) == Values{.5, .5});
    // The limit, for two losses that go to 0 together.
    check_near(weights({1e-12, 2, 1e-12, 5}, -2), weights(L, -2), 1e-12);
  }

  TEST_CASE("ties at gamma +-inf share the slope equally") {
    CHECK(weights({3, 1, 3}, inf) == Values{.5, 0, .5});
    CHECK(weights({1, 1, 3}, -inf) == Values{.5, .5, 0});
  }

  TEST_CASE("16 losses of 1e-3 have the geometric mean 1e-3, where pow(prod L, 1/16) in f32 gives 0") {
    float product = 1;
    for (int i = 0; i < 16; ++i) product *= 1e-3f;
    CHECK(std::pow(product, 1.f / 16) == 0);
    CHECK(generalised_mean(full({16}, 1e-3), {.gamma = 0}).item() == doctest::Approx(1e-3).epsilon(1e-6));
    for (const double w : slopes(full({16}, 1e-3), [](const Tensor& L) { return generalised_mean(L, {.gamma = 0}); })) {
      CHECK(w == doctest::Approx(1. / 16).epsilon(1e-6));
    }
  }

  TEST_CASE("an infinite loss is the mean for gamma > 0 and no more than absent from the sum for gamma < 0") {
    CHECK(value({inf, 2}, 2) == inf);
    CHECK(value({inf, 2}, -1) == 4);
    CHECK(std::isnan(value({NaN, 2}, 1)));
    CHECK(std::isnan(value({2, NaN, 3}, -inf)));
  }

  TEST_CASE("no tasks give 0, a negative loss or a NaN gamma is an error") {
    CHECK(generalised_mean(zeros({0})).item() == 0);
    CHECK_THROWS_WITH_AS(value({1, -2}, 1), doctest::Contains("a loss must be >= 0, got -2"), Error);
    CHECK_THROWS_WITH_AS(value({1, 2}, NaN), doctest::Contains("[-inf, inf], got NaN"), Error);
    CHECK_THROWS_WITH_AS(generalised_mean(scalar(1)), doctest::Contains("needs losses [K]"), Error);
  }
}
