// Variants of the n by m losses: what they reduce to, and what is wrong with the steps that led to them.
#include "losses/logsumexp/nm_variants.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/logsumexp/multilabel.h"
#include "losses/logsumexp/multilabel_soft.h"
#include "losses/logsumexp/nm.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

double ce(const Values& s, Index label) { return cross_entropy(matrix(s, 1), labels({label})).item(); }

// The comment's (4.4): log(1 + sum (1 - t) e^s), the target's own score left out.
Tensor negatives_alone(const Tensor& s, const Tensor& t) { return log1p(sum((1 - t) * exp(s))); }

}  // namespace

TEST_SUITE("nm_variants") {
  TEST_CASE("nm_variants: definition, closed form and central differences agree") { check_losses(nm_variant_losses()); }

  TEST_CASE("by hand: one wrong class at log 2, one right class at 0") {
    const Tensor s = matrix({std::log(2.0), 0}, 1), t = matrix({0, 1}, 1);  // N = 2, P = 1
    CHECK(nm_product(s, t).item() == doctest::Approx(std::log(6.0)));
    CHECK(nm_expanded(s, t).item() == doctest::Approx(std::log(6.0)));
    CHECK(nm_first_order(s, t).item() == doctest::Approx(std::log(4.0)));
    CHECK(nm_cross(s, t).item() == doctest::Approx(std::log(3.0)));
  }

  TEST_CASE("softmax cross entropy is log(1 + sum e^{s_i - s_t}), and loss-2 of one hard task log(1 + e^{-f(s_t)})") {
    const Values s{.3, -1.2, 2, .7};
    const double pairs = std::log1p(std::exp(s[0] - s[3]) + std::exp(s[1] - s[3]) + std::exp(s[2] - s[3]));
    check_near(ce(s, 3), pairs, 1e-14);
    check_near(nm_eq2(matrix(s, 1), matrix({0, 0, 0, 1}, 1), NmScore::score).item(), std::log1p(std::exp(-s[3])),
               1e-14);
  }

  TEST_CASE("B113 C84 the step from (4.3) to (4.3.1) drops the target's score: equal only where that is 0") {
    const auto right = [](const Values& s) { return ce(s, 0); };
    const auto source = [](const Values& s) { return negatives_alone(matrix(s, 1), matrix({1, 0, 0}, 1)).item(); };
    CHECK(right({1, 0, 0}) == doctest::Approx(.551445).epsilon(1e-5));
    CHECK(source({1, 0, 0}) == doctest::Approx(1.098612).epsilon(1e-5));
    CHECK(right({0, .4, -.1}) == doctest::Approx(source({0, .4, -.1})).epsilon(1e-14));
  }

  TEST_CASE("C85 (4.4) to (4.7) leave the target without a gradient: the least loss is all negatives at -infinity") {
    const Tensor t = matrix({1, 0, 0}, 1);
    const Values good{-50, -60, -60}, bad{-70, -60, -60};
    for (const Values& s : {good, bad}) {
      CHECK(negatives_alone(matrix(s, 1), t).item() == doctest::Approx(1.75e-26).epsilon(1e-2));
      CHECK(slopes(matrix(s, 1), [&](const Tensor& x) { return negatives_alone(x, t); })[0] == 0);
      // The product over classes of (4.6) for one task of three classes: the same, class by class.
      CHECK(sum(log1p((1 - t) * exp(matrix(s, 1)))).item() == doctest::Approx(1.75e-26).epsilon(1e-2));
    }
    CHECK(ce(good, 0) == doctest::Approx(9.1e-5).epsilon(1e-2));
    CHECK(ce(bad, 0) == doctest::Approx(10.69).epsilon(1e-3));
    // Ours, with the positives' factor, see the difference.
    CHECK(nm_cross(matrix(bad, 1), t).item() == doctest::Approx(ce(bad, 0)));
    CHECK(nm_product(matrix(good, 1), t).item() < nm_product(matrix(bad, 1), t).item());
  }

  TEST_CASE("B114 the product of two sums multiplied out: nm_expanded is the soft multi-label loss of all cells") {
    Rng rng(1);
    const Tensor s = 2 * randn({3, 4}, rng, DType::f64), t = rand({3, 4}, rng, DType::f64);
    const double N = sum((1 - t) * exp(s)).item(), P = sum(t * exp(-s)).item();
    check_near(nm_expanded(s, t).item(), std::log((1 + N) * (1 + P)), 1e-12);
    check_near(nm_expanded(s, t).item(), multilabel_ce_soft(s.reshape({1, 12}), t.reshape({1, 12})).item(), 1e-14);
  }

  TEST_CASE(
      "B115 n = 1 and hard labels: (4.11) is multilabel_ce, the product (4.8) the sum of binary cross entropies") {
    const Tensor s = matrix({.5, -1, 2, -.3, 1.1}, 1), t = matrix({1, 0, 0, 1, 0}, 1);
    check_near(nm_expanded(s, t).item(), multilabel_ce(s, t).item(), 1e-12);
    check_near(nm_product(s, t).item(), sum(softplus((1 - 2 * t) * s)).item(), 1e-12);
    CHECK(nm_product(s, t).item() > nm_expanded(s, t).item() + 0.1);
  }

  TEST_CASE("B116 n = 1 and one right class: (4.11.1) is softmax cross entropy") {
    const Values s{.5, -1, 2, -.3, 1.1};
    check_near(nm_cross(matrix(s, 1), matrix({0, 0, 0, 1, 0}, 1)).item(), ce(s, 3), 1e-12);
    const Values scaled{5000, -1e4, 2e4, -3000, 1.1e4};
    check_near(nm_cross(matrix(scaled, 1), matrix({0, 0, 0, 1, 0}, 1)).item(), ce(scaled, 3), 1e-12);
  }

  TEST_CASE("B117 a shift by 7 does not change (4.11.1), and changes (4.11) by more than 5") {
    const Tensor s = matrix({.5, -1, 2, -.3, 1.1}, 1), t = matrix({1, 0, 0, 1, 0}, 1);
    check_near(nm_cross(s + 7, t).item(), nm_cross(s, t).item(), 1e-14);
    CHECK(std::abs(nm_expanded(s + 7, t).item() - nm_expanded(s, t).item()) > 5);
    CHECK(std::abs(nm_first_order(s + 7, t).item() - nm_first_order(s, t).item()) > 5);
    const Values g = slopes(s, [&](const Tensor& x) { return nm_cross(x, t); });
    CHECK(std::abs(g[0] + g[1] + g[2] + g[3] + g[4]) < 1e-15);
  }

  TEST_CASE("a bias is a shift of the scores, a margin a factor e^m of all terms") {
    Rng rng(2);
    const Tensor s = randn({2, 3}, rng, DType::f64), t = rand({2, 3}, rng, DType::f64);
    for (const auto f : {nm_product, nm_expanded, nm_first_order, nm_cross}) {
      check_near(f(s + 1.5, t, {.bias = 1.5}).item(), f(s, t, {}).item(), 1e-13);
      CHECK(f(s, t, {.margin = 1}).item() > f(s, t, {}).item());
    }
    const double N = sum((1 - t) * exp(s)).item(), P = sum(t * exp(-s)).item();
    check_near(nm_first_order(s, t, {.margin = 5}).item(), std::log1p(std::exp(5.0) * (N + P)), 1e-13);
    check_near(nm_cross(s, t, {.margin = 5}).item(), std::log1p(std::exp(10.0) * N * P), 1e-13);
  }

  TEST_CASE("C87 a soft label is the fixed offset log t of its score, whatever the score") {
    Rng rng(3);
    const Tensor t = matrix({.9, .2, .6}, 1);
    for (int draw = 0; draw < 5; ++draw) {
      const Tensor s = 3 * randn({1, 3}, rng, DType::f64);
      double N = 0, P = 0;
      for (Index j = 0; j < 3; ++j) {
        N += std::exp(s.at({0, j}) + std::log(1 - t.at({0, j})));
        P += std::exp(-s.at({0, j}) + std::log(t.at({0, j})));
      }
      check_near(nm_first_order(s, t).item(), std::log1p(N + P), 1e-13);
    }
  }

  TEST_CASE(
      "B119 B120 C86 a pair starts beyond its margin when 2 m + log((1 - t_neg) t_pos) > 0: .999 and .001 need m > "
      "6.9") {
    CHECK(std::log(.01) == doctest::Approx(-4.605).epsilon(1e-3));
    CHECK(std::log(.25) == doctest::Approx(-1.386).epsilon(1e-3));
    CHECK(std::log(.81) == doctest::Approx(-.211).epsilon(1e-2));
    // At equal scores the pair's term of nm_cross is e^{2 m} (1 - t_neg) t_pos: above 1 means loss above log 2.
    const auto loss = [](double t_neg, double t_pos, double m) {
      const double term = std::exp(2 * m) * (1 - t_neg) * t_pos;
      return std::log1p(term);
    };
    const double enough = -std::log(1e-6) / 2;
    CHECK(enough == doctest::Approx(6.9078).epsilon(1e-4));
    for (const double m : {3.0, 5.0, 6.9}) CHECK(loss(.999, .001, m) < std::log(2.0));
    CHECK(loss(.999, .001, 6.91) > std::log(2.0));
    CHECK(2 * 3 + std::log(1e-6) == doctest::Approx(-7.8155).epsilon(1e-4));
    CHECK(2 * 5 + std::log(1e-6) == doctest::Approx(-3.8155).epsilon(1e-4));
    CHECK(loss(.9, .1, 2.30) < std::log(2.0));
    CHECK(loss(.9, .1, 2.31) > std::log(2.0));
    // One class with t_neg alone in N, one with t_pos alone in P, as the product of the two sums has it.
    const Tensor s = zeros({1, 2}, DType::f64), t = matrix({1 - 1e-3, 1e-3}, 1);
    const double N = 1e-3 + (1 - 1e-3), P = 1;
    check_near(nm_cross(s, t, {.margin = 3}).item(), std::log1p(std::exp(6.0) * N * P), 1e-12);
  }

  TEST_CASE("nm_expanded is at least nm_first_order and nm_cross") {
    Rng rng(4);
    for (int draw = 0; draw < 50; ++draw) {
      const Tensor s = 3 * randn({2, 3}, rng, DType::f64), t = rand({2, 3}, rng, DType::f64);
      const double whole = nm_expanded(s, t).item();
      CHECK(nm_first_order(s, t).item() <= whole);
      CHECK(nm_cross(s, t).item() <= whole);
    }
  }

  TEST_CASE("nothing wrong or nothing right: nm_cross is 0 with gradient 0, at any score") {
    for (const Values& label : {Values{0, 0}, Values{1, 1}}) {
      const auto f = [&](const Tensor& x) { return nm_cross(x, matrix(label, 1)); };
      CHECK(f(matrix({1e4, -3}, 1)).item() == 0);
      CHECK(slopes(matrix({1e4, -3}, 1), f) == Values{0, 0});
    }
    CHECK(nm_first_order(zeros({0, 3}), zeros({0, 3})).item() == 0);
  }

  TEST_CASE("what does not fit an n by m variant is an error that names it") {
    const Tensor s = zeros({2, 3});
    for (const auto f : {nm_product, nm_expanded, nm_first_order, nm_cross}) {
      CHECK_THROWS_WITH_AS(f(s, zeros({3, 2}), {}), doctest::Contains("needs scores [N,C]"), Error);
      CHECK_THROWS_WITH_AS(f(s, full({2, 3}, 1.5), {}), doctest::Contains("outside [0,1]"), Error);
      CHECK_THROWS_WITH_AS(f(s, s, {.margin = inf}), doctest::Contains("must be finite"), Error);
      CHECK_THROWS_WITH_AS(f(s, Tensor(), {}), doctest::Contains("one of them is undefined"), Error);
    }
  }
}
