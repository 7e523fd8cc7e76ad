// Losses over a reference: by the start, by the prior, by themselves.
#include "losses/combine/normalised.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/combine/weighted.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// Two tasks on two parameters whose gradients are the unit vectors: losses start + x.
Values direction(const Values& start) {
  return slopes(vec({0, 0}), [&](const Tensor& x) { return live_norm(x + vec(start)); });
}
double degrees(const Values& g) { return std::atan2(g[1], g[0]) * 180 / 3.14159265358979323846; }

}  // namespace

TEST_SUITE("normalised") {
  TEST_CASE("normalised: definition, closed form and central differences agree") { check_losses(normalised_losses()); }

  TEST_CASE("A126 A127 by hand") {
    const Tensor losses = vec({2, 30});
    CHECK(init_norm(losses, vec({4, 10})).item() == 3.5);
    check_near(slopes(losses, [](const Tensor& L) { return init_norm(L, vec({4, 10})); }), {0.25, 0.1}, 1e-15);
    const Tensor p = vec({0.5, 0.5}), y = vec({1, 3, 5});  // H = log 2, Var = 8/3
    CHECK(prior_norm(losses, p, y).item() == doctest::Approx(2 / std::log(2.0) + 90. / 8));
    check_near(slopes(losses, [&](const Tensor& L) { return prior_norm(L, p, y); }), {1 / std::log(2.0), 0.375}, 1e-15);
  }

  TEST_CASE("A128 B123 the value of live_norm is the number of tasks, its gradient is that of the sum of log L_i") {
    const Tensor x = distinct({4});
    const auto losses = [](const Tensor& z) { return stack({sum(square(z)), sum(exp(z)), 150 + sum(sin(z))}); };
    CHECK(live_norm(losses(x)).item() == 3);
    CHECK(live_norm(losses(5 * x)).item() == 3);
    check_near(slopes(x, [&](const Tensor& z) { return live_norm(losses(z)); }),
               slopes(x, [&](const Tensor& z) { return sum(log(losses(z))); }), 1e-14);
  }

  TEST_CASE("C61 without the stop L_1/L_1 + L_2/L_2 has gradient 0, with it 1/L_i") {
    const auto literal = [](const Tensor& L) { return sum(L / L); };
    check_near(slopes(vec({2, 3}), literal), {0, 0}, 1e-16);
    check_near(slopes(vec({2, 3}), [](const Tensor& L) { return live_norm(L); }), {0.5, 1. / 3}, 1e-15);
  }

  TEST_CASE("B124 C62 adding 1 to both losses turns live_norm from 33.690 to 36.870 degrees, and not the naive sum") {
    check_near(direction({2, 3}), {1. / 2, 1. / 3}, 1e-15);
    CHECK(degrees(direction({2, 3})) == doctest::Approx(33.690).epsilon(1e-5));
    CHECK(degrees(direction({3, 4})) == doctest::Approx(36.870).epsilon(1e-5));
    // init_norm turns too when the reference moves with the loss; the naive sum never.
    const auto by_init = [](const Values& start) {
      return slopes(vec({0, 0}), [&](const Tensor& x) { return init_norm(x + vec(start), vec(start)); });
    };
    CHECK(degrees(by_init({3, 4})) - degrees(by_init({2, 3})) == doctest::Approx(3.18).epsilon(1e-3));
    for (const Values& start : {Values{2, 3}, Values{3, 4}}) {
      CHECK(slopes(vec({0, 0}), [&](const Tensor& x) { return weighted_sum(x + vec(start)); }) == Values{1, 1});
    }
    // Parallel gradients cannot turn: L_1 = 2 + x + 2 y, L_2 = 3 + 5 (x + 2 y).
    for (const double b : {0., 1.}) {
      const Values g = slopes(vec({0, 0}), [&](const Tensor& x) {
        const Tensor z = sum(x * vec({1, 2}));
        return live_norm(stack({z + (2 + b), 5 * z + (3 + b)}));
      });
      CHECK(g[1] / g[0] == doctest::Approx(2).epsilon(1e-14));
    }
  }

  TEST_CASE("B128 H(p) and Var(y) are the least losses of a constant prediction") {
    const Values p = {0.5, 0.3, 0.2};
    const Tensor y = vec({1, 4, -2, 7, 3.5});
    const auto cls = [&](const Tensor& z) { return -sum(vec(p) * log_softmax(z)); };
    const auto reg = [&](const Tensor& c) { return mean(square(y - c)); };
    CHECK(-(0.5 * std::log(0.5) + 0.3 * std::log(0.3) + 0.2 * std::log(0.2)) ==
          doctest::Approx(1.029653).epsilon(1e-6));
    const Values z = minimise(cls, vec({0, 0, 0}), 2000), c = minimise(reg, vec({0}), 2000, 0.4);
    const Tensor best = stack({cls(vec(z)), reg(vec(c))});
    // Both tasks at their constant optimum: each term of prior_norm is 1.
    CHECK(prior_norm(best, vec(p), y).item() == doctest::Approx(2).epsilon(1e-9));
    check_near(prior_norm(vec({best.at({0}), 0}), vec(p), y).item(), 1, 1e-9);
    // A worse constant has a term above 1.
    CHECK(prior_norm(vec({0, reg(vec({2})).item()}), vec(p), y).item() > 1.05);
  }

  TEST_CASE("a task that is over counts nothing: live loss 0, one class, labels all equal") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor L = vec({0, 2}), one = vec({1}), same = vec({4, 4, 4}), p = vec({0.5, 0.5}), y = vec({0, 2});
      CHECK(live_norm(L, {.form = form}).item() == 1);
      CHECK(slopes(L, [&](const Tensor& x) { return live_norm(x, {.form = form}); }) == Values{0, 0.5});
      CHECK(prior_norm(vec({3, 5}), one, y, {.form = form}).item() == 5);
      CHECK(prior_norm(vec({std::log(2.0), 5}), p, same, {.form = form}).item() == doctest::Approx(1));
      CHECK(slopes(vec({3, 5}), [&](const Tensor& x) { return prior_norm(x, one, same, {.form = form}); }) ==
            Values{0, 0});
      CHECK(live_norm(zeros({0}), {.form = form}).item() == 0);
    }
  }

  TEST_CASE(
      "a factor on a loss changes nothing in the direction of live_norm, nor of init_norm when the start has it too") {
    const auto by_live = [](double a) {
      return slopes(distinct({3}), [&](const Tensor& x) {
        return live_norm(stack({a * sum(exp(x)), sum(square(x))}));
      });
    };
    check_near(by_live(1e6), by_live(1), 1e-14);
    CHECK(init_norm(vec({6, 5}), vec({3, 2})).item() ==
          doctest::Approx(init_norm(vec({6e7, 5}), vec({3e7, 2})).item()));
  }

  TEST_CASE("the reference takes no gradient") {
    const Tensor init = vec({2, 4});
    CHECK(slopes(init, [](const Tensor& r) { return init_norm(vec({1, 1}), r) + sum(r); }) == Values{1, 1});
  }

  TEST_CASE("normalised: what does not fit is an error that names it") {
    const Tensor L = vec({1, 2}), p = vec({.5, .5}), y = vec({1, 2, 3});
    CHECK_THROWS_WITH_AS(init_norm(L, y), doctest::Contains("one entry of init for each task"), Error);
    CHECK_THROWS_WITH_AS(init_norm(L, vec({1, 0})), doctest::Contains("initial loss of 0"), Error);
    CHECK_THROWS_WITH_AS(prior_norm(y, p, y), doctest::Contains("needs two losses"), Error);
    CHECK_THROWS_WITH_AS(prior_norm(L, Tensor(), y), doctest::Contains("class_probs [C] and y [N]"), Error);
    CHECK_THROWS_WITH_AS(prior_norm(L, vec({3, 5}), y), doctest::Contains("must sum to 1, got 8"), Error);
    CHECK_THROWS_WITH_AS(prior_norm(L, vec({2, -1}), y), doctest::Contains("class_probs must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(prior_norm(L, p, ones({3})), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(live_norm(scalar(1)), doctest::Contains("needs losses [K]"), Error);
  }
}
