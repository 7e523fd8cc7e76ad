// Circle loss: two forms and central differences agree, the identities of the unified pair loss, and what the head promises.
#include "losses/logsumexp/circle.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

const Values positives{.7, .2, .55}, negatives{.5, -.1, .35, .62};

double constant(const Values& p, const Values& n, double delta_p, double delta_n, double gamma) {
  return circle_const(vec(p), vec(n), {.delta_p = delta_p, .delta_n = delta_n, .gamma = gamma}).item();
}

// The slopes of n and of p.
struct Slopes {
  Values n, p;
};
template <class F> Slopes both(const F& f, const Values& p, const Values& n) {
  return {slopes(vec(n), [&](const Tensor& x) { return f(vec(p), x); }),
          slopes(vec(p), [&](const Tensor& x) { return f(x, vec(n)); })};
}

}  // namespace

TEST_SUITE("circle") {
  TEST_CASE("circle: definition, closed form and central differences agree") { check_losses(circle_losses()); }

  TEST_CASE("by hand: one of each on the boundary") {
    CHECK(circle_const(vec({.6}), vec({.1}), {.gamma = 10}).item() == doctest::Approx(std::log(2.0)).epsilon(1e-14));
    // g = 2, m = .25: a = .75, b = .65, A = 2 .75 .25 = .375, B = -2 .65 (-.15) = .195.
    CHECK(circle(vec({.6}), vec({.5}), {.gamma = 2}).item() ==
          doctest::Approx(std::log1p(std::exp(.57))).epsilon(1e-14));
  }

  TEST_CASE("B057 D09 the product form is the pairwise form") {
    for (const double gamma : {1.0, 8.0, 64.0}) {
      double pairs = 0;
      for (const double n : negatives) {
        for (const double p : positives) pairs += std::exp(gamma * (n - p + .75 - .25));
      }
      CHECK(constant(positives, negatives, .75, .25, gamma) == doctest::Approx(std::log1p(pairs)).epsilon(1e-12));
    }
  }

  TEST_CASE("B058 C25 D09 only the difference of the margins counts, and its slope g (1 - e^-L) is always above 0") {
    const double g = 3, h = 1e-5, L = constant(positives, negatives, .6, .2, g);
    CHECK(constant(positives, negatives, 1.1, .7, g) == doctest::Approx(L).epsilon(1e-13));
    const auto at = [&](double dp, double dn) { return constant(positives, negatives, .6 + dp, .2 + dn, g); };
    const double slope = g * -std::expm1(-L);
    CHECK((at(h, 0) - at(-h, 0)) / (2 * h) == doctest::Approx(slope).epsilon(1e-8));
    CHECK((at(0, h) - at(0, -h)) / (2 * h) == doctest::Approx(-slope).epsilon(1e-8));
    // Learned, the margin runs to -infinity and takes the loss with it.
    double last = L;
    for (const double margin : {0.0, -1.0, -5.0, -20.0}) {
      const double now = constant(positives, negatives, margin, 0, g);
      CHECK(now < last);
      last = now;
    }
    CHECK(last < 1e-24);
    CHECK(last > 0);
  }

  TEST_CASE("B059 within a side a harder sample weighs e^(g d) times more") {
    const Slopes g =
        both([](const Tensor& p, const Tensor& n) { return circle_const(p, n, {.gamma = 32}); }, {.5, .75}, {.4, .65});
    CHECK(g.n[1] / g.n[0] == doctest::Approx(std::exp(8.0)).epsilon(1e-11));  // 2981
    CHECK(g.p[0] / g.p[1] == doctest::Approx(2980.958).epsilon(1e-6));
  }

  TEST_CASE("B060 D09 one positive, no margin and g = 1 is softmax cross entropy") {
    const Tensor logits = matrix({.7, .5, -.1, .35, .62}, 1);
    CHECK(constant({.7}, negatives, 0, 0, 1) ==
          doctest::Approx(cross_entropy(logits, labels({0})).item()).epsilon(1e-14));
  }

  TEST_CASE("B060 D09 L / g goes to the worst triplet, within log(1 + P Q) / g") {
    const double worst = .62 - .2 + .5;
    for (const double g : {1.0, 10.0, 100.0, 1000.0}) {
      const double excess = constant(positives, negatives, .75, .25, g) / g - worst;
      CHECK(excess >= -1e-12);
      CHECK(excess <= std::log1p(12.0) / g);
    }
    CHECK(constant({.9}, {.1}, 0, 0, 1000) == 0);  // nothing violated: max(0, ..)
  }

  TEST_CASE("C26 the displayed form pulls both sides alike, the published one by their distance from the goal") {
    const auto seed = [](const Tensor& p, const Tensor& n) { return circle_const(p, n, {.gamma = 8}); };
    const auto paper = [](const Tensor& p, const Tensor& n) { return circle(p, n, {.gamma = 8}); };
    for (const auto& [n, p] : {std::pair{.8, .9}, std::pair{.1, .2}}) {
      const Slopes g = both(seed, {p}, {n});
      CHECK(g.n[0] == doctest::Approx(7.6867).epsilon(1e-4));
      CHECK(g.p[0] == doctest::Approx(-7.6867).epsilon(1e-4));
    }
    const Slopes far = both(paper, {.9}, {.8}), near = both(paper, {.2}, {.1});
    CHECK(far.n[0] == doctest::Approx(8.276).epsilon(1e-3));
    CHECK(far.p[0] == doctest::Approx(-2.759).epsilon(1e-3));
    CHECK(near.n[0] == doctest::Approx(2.759).epsilon(1e-3));
    CHECK(near.p[0] == doctest::Approx(-8.276).epsilon(1e-3));
  }

  TEST_CASE("no gradient goes through the weights: a gradient that did would be larger at n = .5 by (2 n) / (n + m)") {
    const auto f = [](const Tensor& n) { return circle(vec({.6}), n, {.gamma = 2}); };
    const double sigma = 1 / (1 + std::exp(-.57)), h = 1e-6;
    CHECK(slopes(vec({.5}), f)[0] == doctest::Approx(2 * .75 * sigma).epsilon(1e-14));
    const double through = (f(vec({.5 + h})).item() - f(vec({.5 - h})).item()) / (2 * h);
    CHECK(through == doctest::Approx(2 * .75 * sigma * (2 * .5) / .75).epsilon(1e-7));
    // Past its goal by more than m the weight is 0, and with it the gradient.
    CHECK(slopes(vec({-.4}), f) == Values{0});
  }

  TEST_CASE("an empty side: 0 with gradient 0, in both forms") {
    const Tensor none = zeros({0}, DType::f64), some = vec({.3, .9});
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(circle(none, some, {.form = form}).item() == 0);
      CHECK(circle(some, none, {.form = form}).item() == 0);
      CHECK(circle_const(none, none, {.form = form}).item() == 0);
      CHECK(slopes(some, [&](const Tensor& n) { return circle(none, n, {.form = form}); }) == Values{0, 0});
      CHECK(slopes(some, [&](const Tensor& p) { return circle_const(p, none, {.form = form}); }) == Values{0, 0});
    }
  }

  TEST_CASE("the order of a set does not count") {
    CHECK(circle(vec({.7, .2, .55}), vec(negatives)).item() ==
          doctest::Approx(circle(vec({.55, .7, .2}), vec({.62, .35, .5, -.1})).item()).epsilon(1e-14));
  }

  TEST_CASE("f32 at gamma 1e4 and at a loss of 1e-50 is f64 rounded") {
    const Tensor p = tensor({.3, .9, .2}), n = tensor({.8, .1, -.2});
    const auto wide = [](const Tensor& x) { return x.to(DType::f64); };
    CHECK(circle(p, n, {.gamma = 1e4}).item() ==
          doctest::Approx(circle(wide(p), wide(n), {.gamma = 1e4}).item()).epsilon(1e-7));
    CHECK(circle_const(tensor({1}), tensor({.25}), {.gamma = 256}).item() ==
          doctest::Approx(std::exp(-64.0)).epsilon(1e-6));
  }

  TEST_CASE("a batch compares the cosines of all pairs with equal labels against all others") {
    const Tensor x = distinct({5, 3}), y = labels({0, 1, 0, 2, 1});
    Values p, n;
    for (Index i = 0; i < 5; ++i) {
      for (Index j = i + 1; j < 5; ++j) {
        (value_at(y, i) == value_at(y, j) ? p : n).push_back(cosine_similarity(x[i], x[j]).item());
      }
    }
    CHECK(p.size() == 2);
    CHECK(circle_batch(x, y).item() == doctest::Approx(circle(vec(p), vec(n)).item()).epsilon(1e-13));
    CHECK(circle_batch(x, labels({0, 1, 2, 3, 4})).item() == 0);  // no positive
    CHECK(circle_batch(x, labels({7, 7, 7, 7, 7})).item() == 0);  // no negative
    CHECK(circle_batch(zeros({0, 3}), labels({})).item() == 0);
    // A zero row has cosine 0 with all and gradient 0.
    const Tensor with_zero = cat({x, zeros({1, 3}, DType::f64)});
    const Values g = slopes(with_zero, [](const Tensor& e) {
      return circle_batch(e, labels({0, 1, 0, 2, 1, 2}), {.gamma = 8});
    });
    CHECK(Values(g.end() - 3, g.end()) == Values{0, 0, 0});
    for (const double v : g) CHECK(std::isfinite(v));
  }

  TEST_CASE("circle: what does not fit is an error that names it") {
    const Tensor p = zeros({3}), n = zeros({2});
    CHECK_THROWS_WITH_AS(circle(p, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(circle(p, zeros({2, 1})), doctest::Contains("sp [P] and sn [Q], got f32 [3] and f32 [2,1]"),
                         Error);
    CHECK_THROWS_WITH_AS(circle(p, zeros({2}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(circle(p, n, {.gamma = 0}), doctest::Contains("gamma must be a finite number above 0"), Error);
    CHECK_THROWS_WITH_AS(circle(p, n, {.m = NaN}), doctest::Contains("margin must be a finite number"), Error);
    CHECK_THROWS_WITH_AS(circle_const(p, n, {.delta_n = inf}), doctest::Contains("[circle_const] the margin"), Error);
    CHECK_THROWS_WITH_AS(circle_batch(zeros({3, 2}), labels({0, 1})), doctest::Contains("a label for each row"), Error);
    CHECK_THROWS_WITH_AS(circle_batch(zeros({2, 2}), zeros({2})), doctest::Contains("i32 or i64"), Error);
    CHECK_THROWS_WITH_AS(circle_batch(zeros({2, 2}), Tensor()), doctest::Contains("one of them is undefined"), Error);
  }
}
