// Sums with fixed weights: what a weight does, and that a share of the value is not a share of the update.
#include "losses/combine/weighted.h"

#include <doctest/doctest.h>

#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("weighted") {
  TEST_CASE("weighted: definition, closed form and central differences agree") { check_losses(weighted_losses()); }

  TEST_CASE("A123 A125 by hand: the naive sum adds, weights scale") {
    const Tensor losses = vec({2.3, 150, 50});
    CHECK(weighted_sum(losses).item() == doctest::Approx(202.3));
    CHECK(weighted_sum(losses, {.weights = vec({1, 0.01, 0.1})}).item() == doctest::Approx(8.8));
    check_near(slopes(losses, [](const Tensor& L) { return weighted_sum(L); }), {1, 1, 1}, 0);
    CHECK(simplex_sum(losses, vec({0.5, 0.25, 0.25})).item() == doctest::Approx(51.15));
    const HierarchicalOptions levels{.alpha = 1, .beta = 2, .gamma = 3, .delta = 4};
    CHECK(hierarchical(vec({1, 10, 100, 1000}), levels).item() == 4321);
    check_near(slopes(vec({1, 1, 1, 1}), [&](const Tensor& L) { return hierarchical(L, levels); }), {1, 2, 3, 4}, 0);
  }

  TEST_CASE(
      "B121 A132 C63 a task with 0.27% of the value can have half of the update, and a million more changes nothing") {
    CHECK(2.3 / 852.3 == doctest::Approx(0.0026986).epsilon(1e-4));
    // Two tasks with gradients of length 1: 2.3 + x and 850 + y at x = y = 0.
    const auto update = [](double shift) {
      return slopes(vec({0, 0}), [&](const Tensor& x) { return weighted_sum(x + vec({2.3 + shift, 850})); });
    };
    CHECK(update(0) == Values{1, 1});
    CHECK(update(1e6) == Values{1, 1});
  }

  TEST_CASE("B141 the gradient of a sum is the weighted sum of the gradients") {
    const Tensor x = distinct({3}), w = vec({0.3, 2, 1.5, 0.7});
    const auto task = [](const Tensor& z, int k) { return k == 0 ? sum(square(z)) : sum(sin(double(k) * z)); };
    const auto all = [&](const Tensor& z) { return stack({task(z, 0), task(z, 1), task(z, 2), task(z, 3)}); };
    Values wanted(3, 0);
    for (int k = 0; k < 4; ++k) {
      const Values g = slopes(x, [&](const Tensor& z) { return task(z, k); });
      for (std::size_t i = 0; i < 3; ++i) wanted[i] += value_at(w, k) * g[i];
    }
    check_near(slopes(x, [&](const Tensor& z) { return weighted_sum(all(z), {.weights = w}); }), wanted, 1e-14);
    const HierarchicalOptions levels{.alpha = 0.3, .beta = 2, .gamma = 1.5, .delta = 0.7};
    check_near(slopes(x, [&](const Tensor& z) { return hierarchical(all(z), levels); }), wanted, 1e-14);
  }

  TEST_CASE("A124 B122 the simplex with 3 tasks has 2 free weights: 10 values each make 100 runs") {
    int runs = 0;
    for (int i = 0; i < 10; ++i) {
      for (int j = 0; j < 10; ++j) {
        const double a = i / 18., b = j / 18.;
        simplex_sum(ones({3}, DType::f64), vec({a, b, 1 - a - b}));
        ++runs;
      }
    }
    CHECK(runs == 100);
  }

  TEST_CASE("a weight of 0 switches a task off, also when its loss is infinite or NaN") {
    for (const Form form : {Form::closed, Form::definition}) {
      for (const double broken : {inf, NaN}) {
        const Tensor losses = vec({broken, 2}), w = vec({0, 3});
        CHECK(weighted_sum(losses, {.weights = w, .form = form}).item() == 6);
        CHECK(slopes(losses, [&](const Tensor& L) { return weighted_sum(L, {.weights = w, .form = form}); }) ==
              Values{0, 3});
      }
      CHECK(weighted_sum(zeros({0}), {.form = form}).item() == 0);
    }
  }

  TEST_CASE("weighted: what does not fit is an error that names it") {
    const Tensor L = vec({1, 2, 3});
    CHECK_THROWS_WITH_AS(weighted_sum(Tensor()), doctest::Contains("they are undefined"), Error);
    CHECK_THROWS_WITH_AS(weighted_sum(zeros({2, 3})), doctest::Contains("stack({l1, l2})"), Error);
    CHECK_THROWS_WITH_AS(weighted_sum(labels({1})), doctest::Contains("f32 or f64"), Error);
    CHECK_THROWS_WITH_AS(weighted_sum(L, {.weights = vec({1, 2})}), doctest::Contains("one entry of weights"), Error);
    CHECK_THROWS_WITH_AS(weighted_sum(L, {.weights = ones({3})}), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(simplex_sum(L, Tensor()), doctest::Contains("needs alpha [K]"), Error);
    CHECK_THROWS_WITH_AS(simplex_sum(L, vec({.5, .5, .5})), doctest::Contains("must sum to 1, got 1.5"), Error);
    CHECK_THROWS_WITH_AS(simplex_sum(L, vec({1.5, -.5, 0})), doctest::Contains("alpha must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(hierarchical(L), doctest::Contains("characters, words, phrases and sentences"), Error);
    CHECK_THROWS_WITH_AS(hierarchical(vec({1, 2, 3, 4}), {.beta = NaN}), doctest::Contains("is NaN"), Error);
  }
}
