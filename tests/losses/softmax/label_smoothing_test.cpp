// Label smoothing, an option of cross_entropy: what it adds, where its optimum lies, and what it does not teach.
#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/divergence.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// (1 - eps) [c = t] + eps / C
Values smoothed(Index C, Index t, double eps) {
  Values q(std::size_t(C), eps / double(C));
  q[std::size_t(t)] += 1 - eps;
  return q;
}

double smooth_loss(const Tensor& z, Index t, double eps) {
  return cross_entropy(z, labels({t}), {.label_smoothing = eps}).item();
}

}  // namespace

TEST_SUITE("label_smoothing") {
  TEST_CASE("B028 A031 100 classes at 0.1: the label has .901, the others .001, together 1") {
    // The loss is linear in the targets: its slopes by them are -log p, its value is their sum with the smoothed row.
    const Values q = smoothed(100, 7, .1);
    double total = 0;
    for (const double v : q) total += v;
    check_near(total, 1, 1e-15);
    check_near(q[7], .901, 1e-15);
    check_near(q[8], .001, 1e-15);
    const Tensor z = distinct({1, 100});
    check_near(smooth_loss(z, 7, .1), cross_entropy(z, matrix(q, 1)).item(), 1e-14);
    // With logits 0, p = .01 each: the gradient p - q shows the smoothed targets themselves.
    const Values g = slopes(zeros({1, 100}, DType::f64),
                            [](const Tensor& x) { return cross_entropy(x, labels({7}), {.label_smoothing = .1}); });
    for (std::size_t c = 0; c < 100; ++c) check_near(.01 - g[c], q[c], 1e-15);
  }

  TEST_CASE(
      "B029 D18 it is (1 - eps) CE + eps CE(uniform) = (1 - eps) CE + eps (KL(u || p) + log C), 1 - eps included") {
    const Index C = 100;
    const Tensor z = 2 * distinct({1, C}), u = full({1, C}, 1.0 / C, DType::f64);
    for (const double eps : {.05, .1, .4}) {
      const double L = smooth_loss(z, 3, eps), ce = cross_entropy(z, labels({3})).item();
      check_near(L, (1 - eps) * ce + eps * cross_entropy(z, u).item(), 1e-12);
      check_near(L, (1 - eps) * ce + eps * (kl_div(z, u).item() + std::log(double(C))), 1e-12);
      CHECK(std::abs(L - (ce + eps * kl_div(z, u).item())) > 1e-3);  // the source leaves both constants out
    }
  }

  TEST_CASE("B030 D18 the optimum at 100 classes: p_t = .901, others .001, gap log 901 = 6.8035, value .777797") {
    const auto f = [](const Tensor& x) { return cross_entropy(x, labels({7}), {.label_smoothing = .1}); };
    const Values z = minimise(f, zeros({1, 100}, DType::f64), 3000);
    const Values p = softmax(vec(z)).to_vector();
    check_near(p[7], .901, 1e-6);
    check_near(p[8], .001, 1e-6);
    check_near(z[7] - z[8], 6.8035, 1e-4);
    check_near(z[7] - z[8], std::log(901.0), 1e-4);
    check_near(f(matrix(z, 1)).item(), .777797, 1e-6);
    // Surer is worse: p_t = .9999 costs more than p_t = .901.
    const double sure = std::log(.9999 / (.0001 / 99));
    Values beyond(100, 0);
    beyond[7] = sure;
    CHECK(f(matrix(beyond, 1)).item() > 1.1);
  }

  TEST_CASE("D18 the gradient is p minus the smoothed target") {
    const Tensor z = distinct({1, 6});
    const Values p = softmax(z).to_vector(), q = smoothed(6, 2, .3);
    const Values g = slopes(z, [](const Tensor& x) { return cross_entropy(x, labels({2}), {.label_smoothing = .3}); });
    for (std::size_t c = 0; c < 6; ++c) check_near(g[c], p[c] - q[c], 1e-15);
  }

  TEST_CASE("B031 C37 smoothing is linear in eps, in the loss and in the gradient alike") {
    const Tensor z = distinct({1, 5});
    const auto gradient = [&](double eps) {
      return slopes(z, [&](const Tensor& x) { return cross_entropy(x, labels({1}), {.label_smoothing = eps}); });
    };
    const Values hard = gradient(0), flat = gradient(1), mixed = gradient(.2);
    check_near(smooth_loss(z, 1, .2), .8 * smooth_loss(z, 1, 0) + .2 * smooth_loss(z, 1, 1), 1e-15);
    for (std::size_t c = 0; c < 5; ++c) check_near(mixed[c], .8 * hard[c] + .2 * flat[c], 1e-15);
  }

  TEST_CASE("C36 it does not teach which classes are related: the near synonym and the antonym both get .001") {
    const Values q = smoothed(100, 0, .1);
    CHECK(q[1] == q[99]);
    const Values g = slopes(zeros({1, 100}, DType::f64),
                            [](const Tensor& x) { return cross_entropy(x, labels({0}), {.label_smoothing = .1}); });
    CHECK(g[1] == g[99]);
    // Swapping two wrong classes changes nothing at all.
    const Tensor z = matrix({3, 1, -2}, 1), swapped = matrix({3, -2, 1}, 1);
    check_near(smooth_loss(z, 0, .1), smooth_loss(swapped, 0, .1), 1e-15);
  }

  TEST_CASE("A032 a hand-made soft label .9, .05, .05 is learned as it is") {
    const Tensor soft = matrix({.9, .05, .05}, 1);
    const Values z = minimise([&](const Tensor& x) { return cross_entropy(x, soft); }, zeros({1, 3}, DType::f64), 1000);
    check_near(softmax(vec(z)).to_vector(), {.9, .05, .05}, 1e-6);
  }

  TEST_CASE("A033 a sweep finds the eps that answers best under label noise of 10 percent: the one that matches it") {
    // A model that fits its smoothed targets answers with p_t = 1 - eps + eps / C. If a share r of the labels was
    // redrawn uniformly, they are right with probability 1 - r + r / C. So its calibration error is least at eps = r.
    const double r = .1, C = 4, right = 1 - r + r / C;
    double best = -1, least = inf;
    for (double eps = 0; eps <= .3001; eps += .02) {
      const auto f = [&](const Tensor& x) { return cross_entropy(x, labels({0}), {.label_smoothing = eps}); };
      const Tensor z = eps > 0 ? matrix(minimise(f, zeros({1, 4}, DType::f64), 200), 1) : matrix({30, 0, 0, 0}, 1);
      const double error = std::abs(softmax(z).at({0, 0}) - right);
      if (error < least) best = eps, least = error;
    }
    check_near(best, .1, 1e-12);
  }
}
