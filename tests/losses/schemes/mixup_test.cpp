// Mixup: two forms and central differences agree, the loss is linear in the label, and Beta(alpha, alpha) has its
// moments.
#include "losses/schemes/mixup.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/arithmetic.h"
#include "ops/index.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("mixup") {
  TEST_CASE("mixup: definition, closed form and central differences agree") { check_losses(mixup_losses()); }

  TEST_CASE("B041 cross entropy is linear in the label: mixing losses is mixing labels") {
    const Tensor z = distinct({4, 3}), a = labels({0, 1, 2, 1}), b = labels({2, 0, 2, 1});
    const Tensor mixed = 0.3 * one_hot(a, 3, DType::f64) + 0.7 * one_hot(b, 3, DType::f64);
    CHECK(mixup_ce(z, a, b, {.lam = 0.3}).item() == doctest::Approx(cross_entropy(z, mixed).item()).epsilon(1e-14));
    check_near(slopes(z, [&](const Tensor& x) { return mixup_ce(x, a, b, {.lam = 0.3}); }),
               slopes(z, [&](const Tensor& x) { return cross_entropy(x, mixed); }), 1e-14);
  }

  TEST_CASE("by hand: logits 0 and log 3, labels 0 and 1, lam 1/4") {
    const Tensor z = matrix({0, std::log(3.0)}, 1);
    const MixupOptions o{.lam = 0.25};
    CHECK(mixup_ce(z, labels({0}), labels({1}), o).item() ==
          doctest::Approx(0.25 * std::log(4.0) + 0.75 * std::log(4.0 / 3)));
    // p = (1/4, 3/4) is q: the loss is at its least, the gradient 0.
    check_near(slopes(z, [&](const Tensor& x) { return mixup_ce(x, labels({0}), labels({1}), o); }), {0, 0}, 1e-16);
  }

  TEST_CASE("lam 1, lam 0 and equal labels are plain cross entropy, swapping labels and lam changes nothing") {
    const Tensor z = distinct({3, 4}), a = labels({0, 3, 2}), b = labels({1, 1, 0});
    CHECK(mixup_ce(z, a, b, {.lam = 1}).item() == doctest::Approx(cross_entropy(z, a).item()).epsilon(1e-15));
    CHECK(mixup_ce(z, a, b, {.lam = 0}).item() == doctest::Approx(cross_entropy(z, b).item()).epsilon(1e-15));
    CHECK(mixup_ce(z, a, a, {.lam = 0.4}).item() == doctest::Approx(cross_entropy(z, a).item()).epsilon(1e-15));
    CHECK(mixup_ce(z, a, b, {.lam = 0.25}).item() == doctest::Approx(mixup_ce(z, b, a, {.lam = 0.75}).item()));
    // A label of weight 0 is not looked at, even where it is impossible.
    CHECK(mixup_ce(matrix({0, -inf}, 1), labels({0}), labels({1}), {.lam = 1}).item() == 0);
  }

  TEST_CASE("inputs mix row by row, with gradients to both rows") {
    const Tensor x = matrix({1, 2, 10, 20, 100, 200}, 3), partner = labels({1, 0, 2});
    check_near(mix(x, partner, 0.75).to_vector(), {3.25, 6.5, 7.75, 15.5, 100, 200}, 1e-15);
    check_near(slopes(x,
                      [&](const Tensor& v) {
                        return mix(v, labels({1, 1, 1}), 0.75);
                      }),
               {0.75, 0.75, 1.5, 1.5, 0.75, 0.75}, 1e-15);
  }

  TEST_CASE("Beta(alpha, alpha) has mean 1/2 and variance 1 / (4 (2 alpha + 1))") {
    for (const double alpha : {0.001, 0.2, 0.4, 1.0, 2.5, 30.0}) {
      CAPTURE(alpha);
      Rng rng(7);
      const int n = 20000;
      double sum = 0, square = 0;
      int inside = 0;
      for (int i = 0; i < n; ++i) {
        const double lam = mixup_lam(rng, alpha);
        inside += lam >= 0 && lam <= 1;
        sum += lam;
        square += (lam - 0.5) * (lam - 0.5);
      }
      CHECK(inside == n);
      const double variance = 0.25 / (2 * alpha + 1);
      CHECK(std::abs(sum / n - 0.5) < 4 * std::sqrt(variance / n));
      CHECK(square / n == doctest::Approx(variance).epsilon(0.04));
    }
  }

  TEST_CASE("Beta(2, 6) has mean 1/4, Gamma(3) has mean 3, the same seed draws the same") {
    Rng rng(3);
    double beta = 0, gamma = 0;
    const int n = 20000;
    for (int i = 0; i < n; ++i) beta += beta_sample(rng, 2, 6), gamma += std::exp(gamma_log_sample(rng, 3));
    CHECK(beta / n == doctest::Approx(0.25).epsilon(0.02));
    CHECK(gamma / n == doctest::Approx(3).epsilon(0.02));
    Rng one(5), two(5);
    CHECK(mixup_lam(one, 0.2) == mixup_lam(two, 0.2));
  }

  TEST_CASE("mixup: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    Rng rng(1);
    CHECK_THROWS_WITH_AS(mixup_ce(Tensor(), t, t), doctest::Contains("logits are undefined"), Error);
    CHECK_THROWS_WITH_AS(mixup_ce(z, t, Tensor()), doctest::Contains("target_b is undefined"), Error);
    CHECK_THROWS_WITH_AS(mixup_ce(zeros({2, 0}), t, t), doctest::Contains("C >= 1"), Error);
    CHECK_THROWS_WITH_AS(mixup_ce(t.reshape({1, 2}), t, t), doctest::Contains("needs f32 or f64"), Error);
    CHECK_THROWS_WITH_AS(mixup_ce(z, t, labels({1})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(mixup_ce(z, labels({0, 3}), t), doctest::Contains("label 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(mixup_ce(z, t, t, {.lam = 1.5}), doctest::Contains("lam must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(mix(z, labels({0}), 0.5), doctest::Contains("a partner for each row"), Error);
    CHECK_THROWS_WITH_AS(mixup_lam(rng, 0), doctest::Contains("alpha must be positive"), Error);
    CHECK_THROWS_WITH_AS(beta_sample(rng, 1, NaN), doctest::Contains("beta must be positive"), Error);
    CHECK_THROWS_WITH_AS(gamma_log_sample(rng, -1), doctest::Contains("shape must be positive"), Error);
  }
}
