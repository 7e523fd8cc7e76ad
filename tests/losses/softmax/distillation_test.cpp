// Distillation: its forms, its limits in alpha and T, and that the teacher stays as it is.
#include "losses/softmax/distillation.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/divergence.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

struct Case {
  Tensor z = distinct({4, 3}), v = distinct({4, 3}, 2), t = labels({2, 0, 1, 1});
};

Values slope(const Case& c, const DistillationOptions& o) {
  return slopes(c.z, [&](const Tensor& z) { return distillation(z, c.v, c.t, o); });
}

}  // namespace

TEST_SUITE("distillation") {
  TEST_CASE("distillation: definition, closed form and central differences agree") {
    check_losses(distillation_losses());
  }

  TEST_CASE("A145 it is alpha T^2 KL(teacher || student) at T plus (1 - alpha) cross entropy at 1") {
    const Case c;
    const Tensor q = softmax(c.v / 3);
    const double kl = sum(q * (log(q) - log_softmax(c.z / 3))).item() / 4;
    check_near(distillation(c.z, c.v, c.t, {.T = 3, .alpha = .7}).item(),
               .7 * 9 * kl + .3 * cross_entropy(c.z, c.t).item(), 1e-14);
  }

  TEST_CASE("the gradient is alpha T (p_T - q) + (1 - alpha) (p - y)") {
    const Case c;
    const Values p = softmax(c.z).to_vector(), pT = softmax(c.z / 4).to_vector(), q = softmax(c.v / 4).to_vector();
    const Values g = slope(c, {.T = 4, .alpha = .6, .reduction = Reduction::sum});
    for (std::size_t i = 0; i < 12; ++i) {
      const double y = double(Index(i % 3) == Index(value_at(c.t, Index(i / 3))));
      check_near(g[i], .6 * 4 * (pT[i] - q[i]) + .4 * (p[i] - y), 1e-14);
    }
  }

  TEST_CASE("alpha 0 is cross entropy, alpha 1 needs no label, an equal teacher leaves the labels' part") {
    const Case c;
    check_near(distillation(c.z, c.v, c.t, {.alpha = 0}).item(), cross_entropy(c.z, c.t).item(), 1e-15);
    check_near(distillation(c.z, c.v, c.t, {.T = 1, .alpha = 1}).item(), kl_div(c.z, softmax(c.v)).item(), 1e-14);
    CHECK(distillation(c.z, c.v, c.t, {.alpha = 1}).item() ==
          distillation(c.z, c.v, labels({0, 0, 0, 0}), {.alpha = 1}).item());
    check_near(distillation(c.z, c.z + 5, c.t).item(), .5 * cross_entropy(c.z, c.t).item(), 1e-14);
  }

  TEST_CASE("at a high temperature rows of mean 0 are matched as logits: T^2 KL -> |z - v|^2 / 2C") {
    const Case c;
    const Tensor z = c.z - mean(c.z, {1}, true), v = c.v - mean(c.v, {1}, true);
    const double limit = sum(square(z - v)).item() / (2 * 3) / 4;
    CHECK(distillation(z, v, c.t, {.T = 1e3, .alpha = 1}).item() == doctest::Approx(limit).epsilon(2e-3));
    // Without the factor T^2 the gradient would be a millionth.
    CHECK(kl_div_logits(z, v, {.temperature = 1e3}).item() < 1e-5 * limit);
  }

  TEST_CASE("the teacher is a constant unless it is asked to learn") {
    const Case c;
    for (const bool learns : {false, true}) {
      Tape tape;
      Tensor v = c.v.clone().requires_grad_(), z = c.z.clone().requires_grad_();
      backward(distillation(z, v, c.t, {.teacher_learns = learns}));
      CHECK(bool(v.grad()) == learns);
      CHECK(z.grad());
    }
    const Values g = slopes(c.v, [&](const Tensor& v) {
      return distillation(c.z, v, c.t, {.T = 2, .alpha = 1, .teacher_learns = true, .reduction = Reduction::sum});
    });
    const Tensor q = softmax(c.v / 2), gap = log_softmax(c.v / 2) - log_softmax(c.z / 2);
    check_near(g, (2 * q * (gap - sum(q * gap, {1}, true))).to_vector(), 1e-14);
  }

  TEST_CASE("distillation: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(distillation(z, zeros({2, 4}), t), doctest::Contains("teacher logits need the shape"), Error);
    CHECK_THROWS_WITH_AS(distillation(z, z, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(distillation(z, z, labels({0, 3})), doctest::Contains("label 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(distillation(z, z, t, {.T = 0}), doctest::Contains("T must be above 0"), Error);
    CHECK_THROWS_WITH_AS(distillation(z, z, t, {.T = NaN}), doctest::Contains("T must be above 0"), Error);
    CHECK_THROWS_WITH_AS(distillation(z, z, t, {.alpha = 1.5}), doctest::Contains("alpha must lie in [0,1]"), Error);
  }
}
