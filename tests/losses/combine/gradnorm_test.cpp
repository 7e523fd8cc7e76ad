// GradNorm: which way the weights move, where they come to rest, and each way in which the usual code goes wrong.
#include "losses/combine/gradnorm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/combine/weighted.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// Two tasks: norms 2 and 40, the first at 0.9 of its start, the second at 0.3, so r = (1.5, 0.5).
Tensor norms() { return vec({2, 40}); }
Tensor losses_now() { return vec({0.9, 0.3}); }
Tensor losses_then() { return vec({1, 1}); }

Values weight_slopes(const Tensor& w, double alpha) {
  return slopes(w,
                [&](const Tensor& v) { return gradnorm(v, norms(), losses_now(), losses_then(), {.alpha = alpha}); });
}

}  // namespace

TEST_SUITE("gradnorm") {
  TEST_CASE("gradnorm: definition, closed form and central differences agree") { check_losses(gradnorm_losses()); }

  TEST_CASE("A133 by hand: G = (2, 40), mean 21, targets 21 r^1.5 = (38.58, 7.42)") {
    const double first = 21 * std::pow(1.5, 1.5), second = 21 * std::pow(0.5, 1.5);
    CHECK(gradnorm(ones({2}, DType::f64), norms(), losses_now(), losses_then()).item() ==
          doctest::Approx(first - 2 + 40 - second));
  }

  TEST_CASE("D24 C68 dL_grad/dw is (-2, 40), and (0, 0) when the unweighted norms stand in its place") {
    CHECK(weight_slopes(ones({2}, DType::f64), 1.5) == Values{-2, 40});
    const auto unweighted = [&](const Tensor& w) {
      const Tensor r = losses_now() / mean(losses_now());
      return sum(abs(norms() - mean(norms()) * pow(r, 1.5))) + 0 * sum(w);
    };
    CHECK(slopes(ones({2}, DType::f64), unweighted) == Values{0, 0});
  }

  TEST_CASE("D24 C67 r above 1 is the slow task: factors r^1.5 = (1.837, .354), so descent raises its weight") {
    const Tensor ratio = losses_now() / losses_then(), r = ratio / mean(ratio);
    check_near(r.to_vector(), {1.5, 0.5}, 1e-15);
    check_near(pow(r, 1.5).to_vector(), {1.837117, 0.353553}, 1e-6);
    // Norms and weights equal, so only the pace differs: the first task is nearer to its start, and gains.
    const Values g = slopes(ones({2}, DType::f64), [](const Tensor& w) {
      return gradnorm(w, vec({3, 3}), losses_now(), losses_then());
    });
    CHECK(g == Values{-3, 3});
  }

  TEST_CASE("D24 C69 the source's code leaks (22.64, -0.113) into the losses, ours gives the network exactly 0") {
    // Norms (2, 40) not stopped from the losses, ratio of sums, and r not detached.
    const Tensor now = vec({0.5, 100}), then = vec({1, 100});
    const auto leaking = [&](const Tensor& L) {
      const Tensor r = (L / then) / (sum(L) / sum(then));
      return sum(abs(norms() - mean(norms()) * pow(r, 1.5)));
    };
    check_near(slopes(now, leaking), {22.64, -0.113}, 5e-4);
    // Ours, with losses that depend on x.
    Tensor x = vec({0.3, -0.2}).requires_grad_(), w = ones({2}, DType::f64).requires_grad_();
    Tape tape;
    const Tensor L = stack({sum(square(x)), 3 * sum(square(x - 1))});
    backward(gradnorm(w, gradient_norms(L, {x}), L, losses_then()));
    CHECK(!x.grad());
    CHECK(w.grad());
  }

  TEST_CASE("C70 mean of ratios, not ratio of sums: (.6667, 1.3333), not (.5025, 1.0050)") {
    const Tensor then = vec({1, 100}), now = vec({.5, 100}), ratio = now / then;
    check_near((ratio / mean(ratio)).to_vector(), {2. / 3, 4. / 3}, 1e-15);
    check_near((ratio / (sum(now) / sum(then))).to_vector(), {.5025, 1.0050}, 1e-4);
    // alpha 1, G = (1, 1): |1 - 2/3| + |1 - 4/3|
    const Tensor one = ones({2}, DType::f64);
    CHECK(gradnorm(one, one, now, then, {.alpha = 1}).item() == doctest::Approx(2. / 3));
  }

  TEST_CASE("C71 for alpha 1.5 the mean of r^alpha is 1.0953, so 0 is out of reach, and for alpha 1 it is 1") {
    CHECK((std::pow(1.5, 1.5) + std::pow(0.5, 1.5)) / 2 == doctest::Approx(1.0953).epsilon(1e-4));
    double least = inf;
    for (int i = 1; i < 2000; ++i) {
      const double a = i / 1000.;
      least = std::min(least, gradnorm(vec({a, 2 - a}), norms(), losses_now(), losses_then()).item());
    }
    CHECK(least > 0.1);
    CHECK(gradnorm(vec({2 * 60. / 61, 2 / 61.}), norms(), losses_now(), losses_then(), {.alpha = 1}).item() < 1e-14);
  }

  TEST_CASE("B131 D24 alpha 1 comes to rest at w = (1.96721, .03279), where the weighted norms stand as 3 to 1") {
    Tensor w = ones({2}, DType::f64);
    double rate = 1e-3;
    for (int step = 0; step < 4000; ++step, rate *= 0.998) {
      const Values g = weight_slopes(w, 1);
      for (Index i = 0; i < 2; ++i) set_value(w, i, value_at(w, i) - rate * g[std::size_t(i)]);
      w = renormalised(w);
    }
    check_near(w.to_vector(), {1.96721, .03279}, 5e-3);
    CHECK(2 * value_at(w, 0) / (40 * value_at(w, 1)) == doctest::Approx(3).epsilon(5e-3));
  }

  TEST_CASE("gradient_norms are the norms over all shared parameters, and leave the tape for the step that follows") {
    Tensor a = distinct({3}).requires_grad_(), b = distinct({2}, 2).requires_grad_(), w = vec({0.5, 2});
    const auto task = [](int k, const Tensor& x, const Tensor& y) {
      return k == 0 ? sum(exp(x)) + sum(square(y)) : sum(square(x)) * 2;
    };
    Values wanted;
    for (int k = 0; k < 2; ++k) {
      double square_sum = 0;
      for (const double g : slopes(a.detach(), [&](const Tensor& x) { return task(k, x, b.detach()); }))
        square_sum += g * g;
      for (const double g : slopes(b.detach(), [&](const Tensor& y) { return task(k, a.detach(), y) + 0 * sum(y); })) {
        square_sum += g * g;
      }
      wanted.push_back(std::sqrt(square_sum));
    }
    Tape tape;
    const Tensor L = stack({task(0, a, b), task(1, a, b)});
    check_near(gradient_norms(L, {a, b}).to_vector(), wanted, 1e-14);
    CHECK(!a.grad());
    backward(weighted_sum(L, {.weights = w}));
    CHECK(a.grad());
  }

  TEST_CASE("one step on one tape: norms, weights, then the network with the new weights") {
    Tensor x = vec({0.3, -0.2}).requires_grad_(), w = ones({2}, DType::f64).requires_grad_();
    Tape tape;
    const Tensor L = stack({sum(square(x)), 30 * sum(square(x - 1))});
    backward(gradnorm(w, gradient_norms(L, {x}), L, vec({1, 100})));
    const Values slope = w.grad().to_vector();
    w.copy_from(renormalised(w - 0.001 * w.grad()));
    CHECK(value_at(w, 1) > 1);  // the second task is the slow one
    backward(weighted_sum(L, {.weights = w}));
    const double a = value_at(w, 0), b = value_at(w, 1);
    check_near(x.grad().to_vector(), {a * 0.6 - b * 42, -a * 0.4 - b * 72}, 1e-13);
    CHECK(w.grad().to_vector() == slope);
  }

  TEST_CASE("a task at its target has slope 0, all losses 0 count as one pace, no tasks give 0") {
    const Tensor one = ones({2}, DType::f64);
    CHECK(slopes(one, [&](const Tensor& w) { return gradnorm(w, one, one, one); }) == Values{0, 0});
    CHECK(gradnorm(one, vec({1, 3}), zeros({2}, DType::f64), one).item() == 2);
    CHECK(gradnorm(zeros({0}), zeros({0}), zeros({0}), zeros({0})).item() == 0);
    check_near(renormalised(vec({1, 3, 2})).to_vector(), {.5, 1.5, 1}, 1e-15);
  }

  TEST_CASE("gradnorm: what does not fit is an error that names it") {
    const Tensor one = vec({1, 1});
    CHECK_THROWS_WITH_AS(gradnorm(one, vec({1}), one, one), doctest::Contains("one entry of grad_norms"), Error);
    CHECK_THROWS_WITH_AS(gradnorm(one, vec({1, -1}), one, one), doctest::Contains("grad_norms must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(gradnorm(one, one, vec({-1, 1}), one), doctest::Contains("losses must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(gradnorm(one, one, one, vec({1, 0})), doctest::Contains("init_losses must be > 0"), Error);
    CHECK_THROWS_WITH_AS(gradnorm(one, one, one, one, {.alpha = -1}), doctest::Contains("alpha must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(gradnorm(one, one, one, one, {.alpha = NaN}), doctest::Contains("alpha must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(renormalised(vec({1, -1})), doctest::Contains("a sum > 0"), Error);
  }
}
