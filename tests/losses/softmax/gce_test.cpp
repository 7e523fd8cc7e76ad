// GCE: both forms, both ends, the bound on one wrong label, the p it prefers.
#include "losses/softmax/gce.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& logits, const Tensor& target, const GceOptions& o = {}) {
  return slopes(logits, [&](const Tensor& z) { return gce(z, target, o); });
}

}  // namespace

TEST_SUITE("gce") {
  TEST_CASE("gce: definition, closed form and central differences agree") { check_losses(gce_losses()); }

  TEST_CASE("by hand: p_t = 1/4 and q = 1/2 cost 1, and half the gradient of cross entropy") {
    const Tensor z = matrix({0, std::log(3.)}, 1);
    CHECK(gce(z, labels({0}), {.q = .5}).item() == doctest::Approx(1));
    check_near(gradient(z, labels({0}), {.q = .5}), {-.375, .375}, 1e-15);
  }

  TEST_CASE("q to 0 is cross entropy, where 1 - p^q as it stands loses all digits, and q = 1 is 1 - p_t") {
    const Tensor z = distinct({1, 5}), t = labels({2});
    const double ce = cross_entropy(z, t).item(), p = std::exp(-ce);
    CHECK(gce(z, t, {.q = 1e-12}).item() == doctest::Approx(ce).epsilon(1e-11));
    CHECK(gce(z.to(DType::f32), t, {.q = 1e-12}).item() == doctest::Approx(ce).epsilon(1e-6));
    CHECK(std::abs((1 - std::pow(p, 1e-15)) / 1e-15 - ce) > .01 * ce);
    CHECK(gce(z, t, {.q = 1}).item() == doctest::Approx(1 - p).epsilon(1e-14));
  }

  TEST_CASE("one wrong label costs at most 1/q, and at p_t = 0 the gradient is 0, not infinite") {
    CHECK(gce(matrix({-1e4, 1e4}, 1), labels({0})).item() == doctest::Approx(1 / .7));
    CHECK(gce(matrix({-inf, 0}, 1), labels({0})).item() == doctest::Approx(1 / .7));
    CHECK(gradient(matrix({-inf, 0}, 1), labels({0})) == Values{0, 0});
  }

  TEST_CASE("not proper: for the truth (.7,.3) and q = .5 the best p is (.49,.09) up to its sum") {
    const auto expected = [](const Tensor& z) {
      const Tensor row = z.reshape({1, 2});
      return sum(vec({.7, .3}) * gce(cat({row, row}), labels({0, 1}), {.q = .5, .reduction = Reduction::none}));
    };
    check_near(softmax(vec(minimise(expected, vec({0, 0}), 1000))).to_vector(), {.49 / .58, .09 / .58}, 1e-6);
  }

  TEST_CASE("ignored rows may hold NaN, and GCE of no row is 0") {
    const Tensor z = matrix({NaN, 1, 0, 2}, 2);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(gce(z, labels({-100, 1}), {.q = 1, .form = form}).item() == doctest::Approx(.119202922));
      const Values g = gradient(z, labels({-100, 1}), {.form = form});
      CHECK(Values(g.begin(), g.begin() + 2) == Values(2, 0));
      CHECK(gce(z, labels({-100, -100}), {.form = form}).item() == 0);
      CHECK(gradient(z, labels({-100, -100}), {.form = form}) == Values(4, 0));
    }
  }

  TEST_CASE("gce: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(gce(z, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(gce(z, labels({0})), doctest::Contains("one label for each row"), Error);
    for (const double q : {0., 1.1, -1., NaN}) {
      CHECK_THROWS_WITH_AS(gce(z, t, {.q = q}), doctest::Contains("q must lie in (0,1]"), Error);
    }
  }
}
