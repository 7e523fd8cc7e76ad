// Multi-label cross entropy with soft targets: its optimum, the ends t = 0 and t = 1, gradients to the targets.
#include "losses/logsumexp/multilabel_soft.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& s, const Tensor& t, const MultilabelOptions& o = {}) {
  return slopes(s, [&](const Tensor& x) { return multilabel_ce_soft(x, t, o); });
}
Values target_gradient(const Tensor& s, const Tensor& t, const MultilabelOptions& o = {}) {
  return slopes(t, [&](const Tensor& x) { return multilabel_ce_soft(s, x, o); });
}

}  // namespace

TEST_SUITE("multilabel_soft") {
  TEST_CASE("multilabel_soft: definition, closed form and central differences agree") {
    check_losses(multilabel_soft_losses());
  }

  TEST_CASE("B098 D11 the optimum is t = sigmoid(2 s), not sigmoid(s)") {
    const Tensor t = matrix({.9, .2, .6}, 1);
    const Values s = minimise([&](const Tensor& x) { return multilabel_ce_soft(x, t); }, zeros({1, 3}, DType::f64));
    check_near(s, {1.0986122887, -0.6931471806, 0.2027325541}, 1e-6);
    check_near(sigmoid(2 * vec(s)).to_vector(), {.9, .2, .6}, 1e-6);
    check_near(sigmoid(vec(s)).to_vector(), {.75, 1.0 / 3, .550510257}, 1e-6);
    check_near(gradient(matrix({std::log(3.0), -std::log(2.0), std::log(1.5) / 2}, 1), t), {0, 0, 0}, 1e-15);
  }

  TEST_CASE("B099 targets of 0 and 1 give the hard loss, also where 0 e^1000 would be NaN") {
    const Tensor t = matrix({1, 0, 0, 1, 0, 1}, 2);
    for (const double scale : {1.0, 1000.0, 1e4}) {
      const Tensor s = scale * matrix({1, -1, .5, -.25, .75, 2}, 2);
      CHECK(multilabel_ce_soft(s, t).item() == doctest::Approx(multilabel_ce(s, t).item()).epsilon(1e-13));
      check_near(gradient(s, t), slopes(s, [&](const Tensor& x) { return multilabel_ce(x, t); }), 1e-13);
    }
    const Tensor s = matrix({1000}, 1), one = matrix({1}, 1);
    CHECK(std::isnan(sum((1 - one) * exp(s)).item()));
    CHECK(multilabel_ce_soft(s, one).item() == 0);
    CHECK(multilabel_ce_soft(matrix({-inf}, 1), matrix({0}, 1)).item() == 0);
  }

  TEST_CASE("at t = 0 and t = 1 the gradient to t is the one-sided derivative") {
    const Tensor s = matrix({.5, -1}, 1), t = matrix({0, 1}, 1);
    // P = log(1 + e), Q = log(1 + e^.5)
    const double p = 1 + std::exp(1.0), q = 1 + std::exp(0.5);
    const Values by_hand{std::exp(-.5) / p - std::exp(.5) / q, std::exp(1.0) / p - std::exp(-1.0) / q};
    for (const Form form : {Form::closed, Form::definition})
      check_near(target_gradient(s, t, {.form = form}), by_hand, 1e-14);
    const double h = 1e-6, at = multilabel_ce_soft(s, t).item();
    const Values moved{(multilabel_ce_soft(s, matrix({h, 1}, 1)).item() - at) / h,
                       (at - multilabel_ce_soft(s, matrix({0, 1 - h}, 1)).item()) / h};
    check_near(moved, by_hand, 1e-5);
  }

  TEST_CASE("the gradients to scores and targets are finite at any score and any target") {
    const Tensor s = matrix({1e4, 1e4, -1e4, -1e4, inf, -inf, 300, -300}, 1), t = matrix({0, 1, 0, 1, 1, 0, .5, 0}, 1);
    for (const DType type : {DType::f32, DType::f64}) {
      for (const double v : target_gradient(s.to(type), t.to(type))) CHECK(std::isfinite(v));
      for (const double v : gradient(s.to(type), t.to(type))) CHECK(std::isfinite(v));
    }
  }

  TEST_CASE("a tiny target beside a score whose exponential overflows") {
    const Tensor s = matrix({-800, -100}, 1), t = matrix({1e-300, 1}, 1);  // t e^-s = e^109 and e^100
    const double a = 800 + std::log(1e-300), P = a + std::log1p(std::exp(100 - a));
    CHECK(multilabel_ce_soft(s, t).item() == doctest::Approx(P).epsilon(1e-14));
    check_near(gradient(s, t), {-std::exp(a - P), -std::exp(100 - P)}, 1e-12);
  }

  TEST_CASE("a masked class counts nowhere, and its gradients are exactly 0") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor s = matrix({1, NaN, -2}, 1), t = matrix({.25, .5, 0}, 1), mask = matrix({1, 0, 1}, 1);
      const MultilabelOptions o{.mask = mask, .form = form};
      const double left = multilabel_ce_soft(matrix({1, -2}, 1), matrix({.25, 0}, 1)).item();
      CHECK(multilabel_ce_soft(s, t, o).item() == doctest::Approx(left).epsilon(1e-14));
      CHECK(gradient(s, t, o)[1] == 0);
      CHECK(target_gradient(s, t, o)[1] == 0);
    }
  }

  TEST_CASE("swapping t with 1 - t and the sign of s changes nothing") {
    const Tensor s = distinct({3, 4}), t = sigmoid(distinct({3, 4}, 2));
    CHECK(multilabel_ce_soft(-s, 1 - t).item() == doctest::Approx(multilabel_ce_soft(s, t).item()).epsilon(1e-13));
  }

  TEST_CASE("what does not fit multilabel_ce_soft is an error that names it") {
    const Tensor s = zeros({2, 3});
    CHECK_THROWS_WITH_AS(multilabel_ce_soft(s, zeros({2, 2})), doctest::Contains("needs scores [N,C]"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce_soft(s, full({2, 3}, 1.25)), doctest::Contains("at [0,0] is outside [0,1]"),
                         Error);
    CHECK_THROWS_WITH_AS(multilabel_ce_soft(s, full({2, 3}, NaN)), doctest::Contains("outside [0,1]"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce_soft(s, zeros({2, 3}, DType::f64)), doctest::Contains("types differ"), Error);
  }
}
