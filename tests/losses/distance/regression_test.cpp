// Regression losses: the proof, numbers by hand, the two optima, limits and errors.
#include "losses/distance/regression.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("regression") {
  TEST_CASE("regression: definition, closed form and central differences agree") { check_losses(regression_losses()); }

  TEST_CASE("A018 A019 by hand: differences 1, -2 and 0") {
    const Tensor p = vec({1, 0, 5}), t = vec({0, 2, 5});
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(mse(p, t, {.form = form}).item() == doctest::Approx(5.0 / 3));
      CHECK(mae(p, t, {.form = form}).item() == doctest::Approx(1));
      CHECK(huber(p, t, {.reduction = Reduction::sum, .form = form}).item() == doctest::Approx(0.5 + 1.5));
      CHECK(huber(p, t, {.delta = 4, .reduction = Reduction::sum, .form = form}).item() == doctest::Approx(2.5));
      CHECK(smooth_l1(p, t, {.beta = 4, .reduction = Reduction::sum, .form = form}).item() == doctest::Approx(2.5 / 4));
      const auto each = [&](auto f) { return slopes(p, [&](const Tensor& x) { return f(x); }); };
      check_near(each([&](const Tensor& x) { return mse(x, t, {.form = form}); }), {2.0 / 3, -4.0 / 3, 0}, 1e-15);
      check_near(each([&](const Tensor& x) { return mae(x, t, {.reduction = Reduction::sum, .form = form}); }),
                 {1, -1, 0}, 1e-15);
      check_near(each([&](const Tensor& x) { return huber(x, t, {.reduction = Reduction::sum, .form = form}); }),
                 {1, -1, 0}, 1e-15);
    }
  }

  TEST_CASE("B020 data 0, 0, 10: the optimum of mse is the mean 3.3333, of mae the median 0, of huber 1/2") {
    const Tensor data = vec({0, 0, 10}), start = vec({4});
    const auto best = [&](auto loss) {
      return minimise([&](const Tensor& c) { return loss(c + zeros({3}, DType::f64)); }, start, 3000, 0.5)[0];
    };
    CHECK(best([&](const Tensor& c) { return mse(c, data); }) == doctest::Approx(10.0 / 3).epsilon(1e-6));
    CHECK(std::abs(best([&](const Tensor& c) { return mae(c, data); })) < 1e-6);
    // Two points pull back with c each, the far one pulls with delta = 1.
    CHECK(best([&](const Tensor& c) { return huber(c, data); }) == doctest::Approx(0.5).epsilon(1e-6));
  }

  TEST_CASE("smooth_l1 is huber / beta, huber with delta = inf is mse / 2, smooth_l1 with beta = 0 is mae") {
    const Tensor p = between(-3, 3, {4, 5}, 1), t = between(-3, 3, {4, 5}, 2);
    for (const double k : {0.1, 1.0, 2.5}) {
      CHECK(smooth_l1(p, t, {.beta = k}).item() == doctest::Approx(huber(p, t, {.delta = k}).item() / k));
    }
    CHECK(huber(p, t, {.delta = inf}).item() == doctest::Approx(mse(p, t).item() / 2));
    CHECK(smooth_l1(p, t, {.beta = 0}).item() == mae(p, t).item());
    CHECK(smooth_l1(p, t, {.beta = 1e-12}).item() == doctest::Approx(mae(p, t).item()));
  }

  TEST_CASE("the gradients of prediction and target are opposite, and equal points have gradient 0") {
    const Tensor a = between(-3, 3, {3, 2}, 1), b = between(-3, 3, {3, 2}, 2);
    const auto check = [&](auto loss) {
      const Values da = slopes(a, [&](const Tensor& x) { return loss(x, b); });
      Values db = slopes(b, [&](const Tensor& x) { return loss(a, x); });
      for (double& v : db) v = -v;
      CHECK(da == db);
      CHECK(slopes(a, [&](const Tensor& x) { return loss(x, a); }) == Values(6, 0));
    };
    check([](const Tensor& x, const Tensor& y) { return mse(x, y); });
    check([](const Tensor& x, const Tensor& y) { return mae(x, y); });
    check([](const Tensor& x, const Tensor& y) { return huber(x, y); });
    check([](const Tensor& x, const Tensor& y) { return smooth_l1(x, y); });
  }

  TEST_CASE("the slope of huber is cut off at delta, there too it is the one that PyTorch takes") {
    const Tensor p = vec({1, -1, 1e30, -0.25}), t = vec({0, 0, 0, 0});
    check_near(slopes(p, [&](const Tensor& x) { return huber(x, t, {.reduction = Reduction::sum}); }),
               {1, -1, 1, -0.25}, 1e-15);
  }

  TEST_CASE("NaN is not lost, no elements give 0") {
    const Tensor p = vec({NaN, 1}), t = vec({0, 0});
    CHECK(std::isnan(mse(p, t).item()));
    CHECK(std::isnan(mae(p, t).item()));
    CHECK(std::isnan(huber(p, t).item()));
    CHECK(std::isnan(smooth_l1(p, t).item()));
    CHECK(std::isnan(slopes(p, [&](const Tensor& x) { return mae(x, t); })[0]));
    CHECK(mse(vec({}), vec({})).item() == 0);
    CHECK(mae(vec({}), vec({}), {.form = Form::definition}).item() == 0);
  }

  TEST_CASE("regression: what does not fit is an error that names it") {
    const Tensor p = zeros({3}), t = zeros({3, 1});
    CHECK_THROWS_WITH_AS(mse(p, t), doctest::Contains("[mse] needs two tensors of one shape"), Error);
    CHECK_THROWS_WITH_AS(mae(p, zeros({3}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(mae(p, Tensor()), doctest::Contains("an input is undefined"), Error);
    CHECK_THROWS_WITH_AS(huber(p, p, {.delta = 0}), doctest::Contains("delta must be above 0"), Error);
    CHECK_THROWS_WITH_AS(huber(p, p, {.delta = NaN}), doctest::Contains("delta must be above 0"), Error);
    CHECK_THROWS_WITH_AS(smooth_l1(p, p, {.beta = -1}), doctest::Contains("beta must be at least 0"), Error);
    CHECK_THROWS_WITH_AS(mse(labels({1}), labels({1})), doctest::Contains("needs f32 or f64"), Error);
  }
}
