// Bridges between losses: EMO with costs of 0 and 1, gamma cross entropy and cross entropy are one family.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/emo.h"
#include "losses/softmax/gamma_ce.h"
#include "ops/math.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

struct Case {
  Tensor z = 2 * distinct({1, 5}), t = labels({3});
  Values p = softmax(z).to_vector();
  Values ce() const {
    return slopes(z, [&](const Tensor& x) { return cross_entropy(x, t); });
  }
  Values gamma(double g) const {
    return slopes(z, [&](const Tensor& x) { return gamma_ce(x, t, {.gamma = g}); });
  }
  Values emo() const {
    return slopes(z, [&](const Tensor& x) { return expected_cost(x, matrix({1, 1, 1, 0, 1}, 1)); });
  }
};

double furthest(const Values& a, const Values& b) {
  double gap = 0;
  for (std::size_t i = 0; i < a.size(); ++i) gap = std::max(gap, std::abs(a[i] - b[i]));
  return gap;
}

}  // namespace

TEST_SUITE("bridges") {
  TEST_CASE("D04 with costs of 0 and 1 EMO is 1 - p_t, and its gradient p_t (p - y) is gamma-CE's at gamma 1") {
    const Case c;
    check_near(expected_cost(c.z, matrix({1, 1, 1, 0, 1}, 1)).item(), 1 - c.p[3], 1e-15);
    for (std::size_t j = 0; j < 5; ++j) check_near(c.emo()[j], c.p[3] * (c.p[j] - double(j == 3)), 1e-15);
    check_near(gamma_ce(c.z, c.t, {.gamma = 1}).item(), 1 - c.p[3], 1e-15);
    check_near(c.gamma(1), c.emo(), 1e-15);
    for (const double g : {.9, .99, .9999, 1 - 1e-9}) CHECK(furthest(c.gamma(g), c.emo()) <= 2 * (1 - g));
  }

  TEST_CASE("D04 gamma-CE's gradient is cross entropy's times p_t / (gamma + (1 - gamma) p_t)") {
    const Case c;
    for (const double g : {1e-9, .2, .5, .9, .9999}) {
      const double factor = c.p[3] / (g + (1 - g) * c.p[3]);
      const Values ce = c.ce(), gamma = c.gamma(g);
      for (std::size_t j = 0; j < 5; ++j) CHECK(gamma[j] == doctest::Approx(factor * ce[j]).epsilon(1e-7));
    }
  }

  TEST_CASE("D04 gamma -> 0 gives cross entropy, value and gradient within 2 gamma / p_t") {
    const Case c;
    for (const double g : {1e-9, 1e-6, 1e-3}) {
      CHECK(furthest(c.gamma(g), c.ce()) <= 2 * g / c.p[3]);
      const double gap = gamma_ce(c.z, c.t, {.gamma = g}).item() - cross_entropy(c.z, c.t).item();
      CHECK(std::abs(gap) <= 2 * g / c.p[3]);
    }
    check_near(c.gamma(0), c.ce(), 1e-15);
  }

  TEST_CASE("B031 C37 gamma-CE mixes the reciprocals of its weights on p_t, not the weights: 3.5714, not 8.2") {
    const Tensor z = log(matrix({.1, .9}, 1)), t = labels({0});
    const auto weight = [&](double g) {  // what multiplies -dp_t/dz_t = -p_t (1 - p_t)
      return slopes(z, [&](const Tensor& x) { return gamma_ce(x, t, {.gamma = g}); })[0] / -(.1 * .9);
    };
    check_near(weight(0), 10, 1e-13);
    check_near(weight(1), 1, 1e-13);
    check_near(weight(.2), 1 / (.2 + .8 * .1), 1e-13);
    check_near(weight(.2), 3.5714, 1e-4);
    check_near(1 / weight(.2), .8 / weight(0) + .2 / weight(1), 1e-13);
    check_near(.8 * weight(0) + .2 * weight(1), 8.2, 1e-13);
  }
}
