// Poly-1: both forms, the Taylor series it comes from, saturation.
#include "losses/softmax/poly1.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& logits, const Tensor& target, const Poly1Options& o = {}) {
  return slopes(logits, [&](const Tensor& z) { return poly1(z, target, o); });
}

}  // namespace

TEST_SUITE("poly1") {
  TEST_CASE("poly1: definition, closed form and central differences agree") { check_losses(poly1_losses()); }

  TEST_CASE("by hand: p_t = 1/4 costs log 4 + 2 * 3/4, its gradient is 1.5 times that of cross entropy") {
    const Tensor z = matrix({0, std::log(3.)}, 1);
    CHECK(poly1(z, labels({0})).item() == doctest::Approx(std::log(4.) + 1.5));
    check_near(gradient(z, labels({0})), {-1.125, 1.125}, 1e-15);
  }

  TEST_CASE("epsilon 0 is cross entropy, epsilon -1 takes the first Taylor term away") {
    const Tensor z = distinct({4, 5}), t = labels({2, 0, 4, 4});
    check_near(poly1(z, t, {.epsilon = 0}).item(), cross_entropy(z, t).item(), 1e-15);
    check_near(gradient(z, t, {.epsilon = 0}), slopes(z, [&](const Tensor& x) { return cross_entropy(x, t); }), 1e-15);
    // At 1 - p = q the rest is q^2 / 2 + q^3 / 3 + ...
    const double q = 1e-3;
    CHECK(poly1(matrix({std::log1p(-q), std::log(q)}, 1), labels({0}), {.epsilon = -1}).item() ==
          doctest::Approx(q * q / 2 + q * q * q / 3).epsilon(1e-6));
  }

  TEST_CASE("below epsilon -1 a row that is nearly right is pushed away from its label") {
    const Tensor z = matrix({3, 0}, 1);
    CHECK(gradient(z, labels({0}), {.epsilon = -2})[0] > 0);
    CHECK(gradient(z, labels({0}), {.epsilon = -1})[0] < 0);
  }

  TEST_CASE("ignored rows may hold NaN, and poly-1 of no row is 0") {
    const Tensor z = matrix({NaN, 1, 0, 2}, 2);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(poly1(z, labels({-100, 1}), {.form = form}).item() == doctest::Approx(.126928011 + 2 * .119202922));
      const Values g = gradient(z, labels({-100, 1}), {.form = form});
      CHECK(Values(g.begin(), g.begin() + 2) == Values(2, 0));
      CHECK(poly1(z, labels({-100, -100}), {.form = form}).item() == 0);
      CHECK(gradient(z, labels({-100, -100}), {.form = form}) == Values(4, 0));
    }
  }

  TEST_CASE("poly1: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(poly1(z, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(poly1(z, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(poly1(z, t, {.epsilon = inf}), doctest::Contains("epsilon must be a finite number"), Error);
  }
}
