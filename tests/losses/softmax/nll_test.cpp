// NLL: both forms, the seed's numbers for p_t, and that it is cross entropy after log_softmax.
#include "losses/softmax/nll.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& log_probs, const Tensor& target, const NllOptions& o = {}) {
  return slopes(log_probs, [&](const Tensor& x) { return nll(x, target, o); });
}

double nll_of(double p) { return nll(matrix({std::log(p), std::log1p(-p)}, 1), labels({0})).item(); }

}  // namespace

TEST_SUITE("nll") {
  TEST_CASE("nll: definition, closed form and central differences agree") { check_losses(nll_losses()); }

  TEST_CASE("B012 the loss is 1.20 at p = .3, 4.61 at p = .01 and .01 at p = .99") {
    check_near(nll_of(.3), 1.20397, 1e-5);
    check_near(nll_of(.01), 4.60517, 1e-5);
    check_near(nll_of(.99), .0100503, 1e-7);
  }

  TEST_CASE("B010 at p_t = .99 the logit of the label is pulled by -.01") {
    const Tensor z = matrix({std::log(.99), std::log(.01)}, 1);
    const auto loss = [](const Tensor& x) { return nll(log_softmax(x), labels({0})); };
    check_near(slopes(z, loss), {-.01, .01}, 1e-15);
  }

  TEST_CASE("B011 p_t goes to 1 with its logit: at 50 all but 1e-20 is there") {
    const double L = cross_entropy(matrix({50, 0}, 1), labels({0})).item();  // -log p_t
    CHECK(-std::expm1(-L) < 1e-20);
    CHECK(-std::expm1(-L) > 0);
  }

  TEST_CASE("A008 after log_softmax it is cross entropy: weights, ignored rows, all reductions") {
    const Tensor z = distinct({4, 3}), t = labels({2, -1, 0, 1}), weight = vec({.5, 2, 3});
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      const auto ours = [&](const Tensor& x) {
        return nll(log_softmax(x), t, {.weight = weight, .ignore_index = -1, .reduction = reduction});
      };
      const auto ce = [&](const Tensor& x) {
        return cross_entropy(x, t, {.weight = weight, .ignore_index = -1, .reduction = reduction});
      };
      check_near(ours(z).to_vector(), ce(z).to_vector(), 1e-15);
      check_near(slopes(z, ours), slopes(z, ce), 1e-15);
    }
  }

  TEST_CASE("A021 mean divides by the weights of the labels that count") {
    const Tensor log_p = matrix({-1, -2, -3, -4, -5, -6}, 3);
    CHECK(nll(log_p, labels({0, 1, -100}), {.weight = vec({1, 3})}).item() == doctest::Approx((1 + 3 * 4) / 4.));
    CHECK(nll(log_p, labels({0, 1, 0}), {.reduction = Reduction::none}).to_vector() == Values{1, 4, 5});
  }

  TEST_CASE("ignored rows and rows of weight 0 may hold anything, and none left gives 0, not NaN") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor log_p = matrix({NaN, -inf, -1, -2, -inf, 0}, 3);
      CHECK(nll(log_p, labels({-100, 1, 0}), {.weight = vec({0, 1}), .form = form}).item() == 2);
      CHECK(gradient(log_p, labels({-100, 1, 0}), {.weight = vec({0, 1}), .form = form}) == Values{0, 0, 0, -1, 0, 0});
      CHECK(nll(log_p, labels({-100, -100, -100}), {.form = form}).item() == 0);
      CHECK(gradient(log_p, labels({-100, -100, -100}), {.form = form}) == Values(6, 0));
      CHECK(nll(zeros({0, 3}), labels({}), {.form = form}).item() == 0);
      CHECK(nll(log_p, labels({1, 0, 1}), {.form = form}).item() == inf);
    }
  }

  TEST_CASE("nll: what does not fit is an error that names it") {
    const Tensor x = zeros({2, 3}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(nll(Tensor(), t), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(nll(zeros({2, 3, 4}), t), doctest::Contains("needs logits [N,C]"), Error);
    CHECK_THROWS_WITH_AS(nll(x, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(nll(x, labels({0, 3})), "[nll] label 3 at [1] of i64 [2] is outside 0..2", Error);
    CHECK_THROWS_WITH_AS(nll(x, t, {.weight = ones({2})}), doctest::Contains("weight with a number for each"), Error);
  }
}
