// Weights set between steps: priorities that last, and the softmax that makes them forget.
#include "losses/combine/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/combine/weighted.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// The source's update: factors, then a softmax of the priorities; the best metric begins at 0.
struct Forgetful {
  Values p = Values(3, 1), best = Values(3, 0);
  void update(const Values& metrics) {
    double total = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const bool better = metrics[i] > best[i];
      if (better) best[i] = metrics[i];
      p[i] = std::exp(p[i] * (better ? 0.9 : 1.1));
      total += p[i];
    }
    for (double& v : p) v /= total;
  }
};

}  // namespace

TEST_SUITE("schedule") {
  TEST_CASE("B136 C75 with a softmax priorities stop at (.31201, .34399, .34399) for ever, with p / sum p they adapt") {
    // Task 0 always gets better, the other two never again after the first look.
    Forgetful theirs;
    DynamicPriority ours(3);
    for (int t = 1; t <= 50; ++t) {
      theirs.update({double(t), -1, -1});
      ours.update({double(t), 0, 0});
      if (t == 1) check_near(theirs.p, {.2905, .3548, .3548}, 1e-4);
      if (t >= 12) check_near(theirs.p, {.31201, .34399, .34399}, 1e-5);
    }
    CHECK(ours.weights()[0] < 1e-4);
    CHECK(ours.weights()[1] == doctest::Approx(.5).epsilon(1e-4));
    CHECK(ours.weights()[0] + ours.weights()[1] + ours.weights()[2] == doctest::Approx(1));
  }

  TEST_CASE("A136 by hand: one task better, two stalled: (.9, 1.1, 1.1) / 3.1") {
    DynamicPriority p(3);
    p.update({0.5, 0.5, 0.5});  // a first look: all better
    check_near(p.weights(), {1. / 3, 1. / 3, 1. / 3}, 1e-15);
    p.update({0.6, 0.5, 0.4});
    check_near(p.weights(), {.9 / 3.1, 1.1 / 3.1, 1.1 / 3.1}, 1e-15);
    CHECK(weighted_sum(vec({31, 0, 0}), {.weights = vec(p.weights())}).item() == doctest::Approx(9));
  }

  TEST_CASE("C75 negative metrics: a best of 0 sees no improvement from -5 to -1, a best of -inf does") {
    Forgetful theirs;
    DynamicPriority ours(2);
    theirs.update({-5, -5, -5});
    theirs.update({-1, -5, -5});
    CHECK(theirs.p[0] == theirs.p[1]);
    ours.update({-5, -5});
    ours.update({-1, -5});
    CHECK(ours.weights()[0] < ours.weights()[1]);
  }

  TEST_CASE("a task that got better for 10000 looks can still come back") {
    DynamicPriority p(2);
    for (int t = 0; t < 10000; ++t) p.update({double(t), 0});
    CHECK(p.weights()[0] > 0);
    for (int t = 0; t < 10000; ++t) p.update({0, double(t) + 1});
    CHECK(p.weights()[0] > p.weights()[1]);
  }

  TEST_CASE("dynamic weight average by hand: ratios 1 and 0.5 at temperature 2 differ by e^.25, and sum to K") {
    const Values w = dynamic_weight_average({2, 3}, {2, 6});
    CHECK(w[0] / w[1] == doctest::Approx(std::exp(.25)));
    CHECK(w[0] + w[1] == doctest::Approx(2));
    check_near(dynamic_weight_average({2, 3}, {2, 6}, {.temperature = 1e12}), {1, 1}, 1e-11);
    check_near(dynamic_weight_average({5, 0.1, 9}, {5, 0.1, 9}), {1, 1, 1}, 1e-15);
    check_near(dynamic_weight_average({0, 3}, {0, 3}), {1, 1}, 1e-15);    // a loss of 0
    check_near(dynamic_weight_average({1e6, 1}, {1, 1}), {2, 0}, 1e-15);  // a loss that explodes is no overflow
    CHECK(dynamic_weight_average({}, {}).empty());
  }

  TEST_CASE("schedule: what does not fit is an error that names it") {
    DynamicPriority p(2);
    CHECK_THROWS_WITH_AS(DynamicPriority(0), doctest::Contains("at least one task"), Error);
    CHECK_THROWS_WITH_AS(DynamicPriority(2, {.better = 0}), doctest::Contains("factors must be > 0"), Error);
    CHECK_THROWS_WITH_AS(p.update({1, 2, 3}), doctest::Contains("each of 2 tasks, got 3"), Error);
    CHECK_THROWS_WITH_AS(dynamic_weight_average({1}, {1, 2}), doctest::Contains("two losses of each task"), Error);
    CHECK_THROWS_WITH_AS(dynamic_weight_average({-1}, {1}), doctest::Contains("losses must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(dynamic_weight_average({1}, {1}, {.temperature = 0}), doctest::Contains("temperature"), Error);
  }
}
