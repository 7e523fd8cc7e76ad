// LDAM: both forms, the margins by hand, cross entropy as its limit, empty classes.
#include "losses/softmax/ldam.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& logits, const Tensor& target, const Tensor& counts, const LdamOptions& o = {}) {
  return slopes(logits, [&](const Tensor& z) { return ldam(z, target, counts, o); });
}

// L at equal logits and s = 1 is log(1 + (C - 1) e^m): its margin.
double margin(const std::vector<Index>& counts, Index c, double max_m = .5) {
  const Index C = Index(counts.size());
  const double L = ldam(zeros({1, C}, DType::f64), labels({c}), labels(counts), {.max_m = max_m, .s = 1}).item();
  return std::log(std::expm1(L) / double(C - 1));
}

}  // namespace

TEST_SUITE("ldam") {
  TEST_CASE("ldam: definition, closed form and central differences agree") { check_losses(ldam_losses()); }

  TEST_CASE("A038 margins go with n^(-1/4), the rarest class has max_m, and only ratios of counts matter") {
    check_near(margin({16, 1, 81}, 0), .25, 1e-14);
    check_near(margin({16, 1, 81}, 1), .5, 1e-14);
    check_near(margin({16, 1, 81}, 2), .5 / 3, 1e-14);
    check_near(margin({1600, 100, 8100}, 2, .9), .3, 1e-14);
  }

  TEST_CASE("an empty class has the margin max_m and leaves the others theirs") {
    check_near(margin({16, 0, 81, 1}, 1), .5, 1e-14);
    check_near(margin({16, 0, 81, 1}, 0), .25, 1e-14);
    check_near(margin({0, 0}, 1), .5, 1e-14);
  }

  TEST_CASE("by hand: cosines .2 and .1, margin .5, s 30: log(1 + e^12), and the slopes are -30 and 30") {
    const Tensor z = matrix({.2, .1}, 1), n = labels({1, 16});
    CHECK(ldam(z, labels({0}), n).item() == doctest::Approx(std::log1p(std::exp(12.))));
    const double p = 1 / (1 + std::exp(12.));
    check_near(gradient(z, labels({0}), n), {-30 * (1 - p), 30 * (1 - p)}, 1e-13);
  }

  TEST_CASE("without margin and scale it is cross entropy, with weights, ignored rows and their mean") {
    const Tensor z = distinct({4, 3}), t = labels({2, -100, 0, 1}), n = labels({5, 9, 70}), w = vec({.5, 2, 3});
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      const LdamOptions o{.max_m = 0, .s = 1, .weight = w, .reduction = reduction};
      const auto ce = [&](const Tensor& x) { return cross_entropy(x, t, {.weight = w, .reduction = reduction}); };
      check_near(ldam(z, t, n, o).to_vector(), ce(z).to_vector(), 1e-15);
      check_near(gradient(z, t, n, o), slopes(z, ce), 1e-15);
    }
  }

  TEST_CASE("ignored rows may hold NaN, and LDAM of no row is 0") {
    const Tensor z = matrix({NaN, 1, 0, .2}, 2), n = labels({3, 4});
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(std::isfinite(ldam(z, labels({-100, 1}), n, {.form = form}).item()));
      const Values g = gradient(z, labels({-100, 1}), n, {.form = form});
      CHECK(Values(g.begin(), g.begin() + 2) == Values(2, 0));
      CHECK(ldam(z, labels({-100, -100}), n, {.form = form}).item() == 0);
      CHECK(gradient(z, labels({-100, -100}), n, {.form = form}) == Values(4, 0));
    }
  }

  TEST_CASE("ldam: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2}), n = labels({1, 2, 3});
    const auto f = [](const Tensor& logits, const Tensor& target, const Tensor& counts, const LdamOptions& o = {}) {
      return ldam(logits, target, counts, o);
    };
    CHECK_THROWS_WITH_AS(f(z, labels({0}), n), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, labels({1, 2})), doctest::Contains("count for each class, [3]"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, labels({1, 2, -3})), doctest::Contains("must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, n, {.weight = ones({2})}), doctest::Contains("weight with a number for each"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, n, {.max_m = -1}), doctest::Contains("max_m must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, n, {.s = 0}), doctest::Contains("s must be > 0"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, n, {.s = NaN}), doctest::Contains("s must be > 0"), Error);
  }
}
