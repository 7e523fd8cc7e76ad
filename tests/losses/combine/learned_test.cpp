// Learned task weights: where they run to, how the forms of uncertainty weighting hang together, and their kin.
#include "losses/combine/learned.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/combine/generalised_mean.h"
#include "losses/combine/normalised.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values weight_slopes(const Tensor& losses, const Tensor& w) {
  return slopes(w, [&](const Tensor& v) { return softmax_weighted(losses, v); });
}
double by_sigma(double L, double sigma) { return uncertainty_sigma(vec({L}), vec({sigma})).item(); }
double by_logvar(double L, double s) { return uncertainty_logvar(vec({L}), vec({s})).item(); }
double sigma_slope(double L, double sigma) {
  return slopes(vec({sigma}), [&](const Tensor& s) { return uncertainty_sigma(vec({L}), s); })[0];
}

// Two quadratics on R^2.
Tensor quadratics(const Tensor& x) {
  return stack({sum(square(x - vec({1, -2}))) + 0.5, 40 * sum(square(x * vec({1, 3}) - vec({0.3, 0.2}))) + 7});
}

}  // namespace

TEST_SUITE("learned") {
  TEST_CASE("learned: definition, closed form and central differences agree") { check_losses(learned_losses()); }

  TEST_CASE("A131 A134 A135 by hand") {
    CHECK(softmax_weighted(vec({2, 6}), vec({0, std::log(3.0)})).item() == doctest::Approx(5));
    CHECK(uncertainty_sigma(vec({8, 2}), vec({2, 1})).item() == doctest::Approx(1 + std::log(2.0) + 1));
    CHECK(uncertainty_logvar(vec({8, 2}), vec({std::log(4.0), 0})).item() == doctest::Approx(2 + std::log(4.0) + 2));
  }

  TEST_CASE("B129 C64 descent on softmax weights gives everything to the smallest loss: .826, .990, .99990") {
    const Tensor losses = vec({2.3, 150, 50});
    Tensor w = ones({3}, DType::f64);
    for (int step = 1; step <= 1000; ++step) {
      const Values g = weight_slopes(losses, w);
      for (Index i = 0; i < 3; ++i) set_value(w, i, value_at(w, i) - 0.1 * g[std::size_t(i)]);
      const double first = softmax(w).at({0});
      if (step == 1) CHECK(first == doctest::Approx(0.826).epsilon(1e-3));
      if (step == 10) CHECK(first == doctest::Approx(0.990).epsilon(1e-3));
      if (step == 1000) CHECK(first == doctest::Approx(0.99990).epsilon(1e-5));
    }
    CHECK(softmax_weighted(losses, w).item() < 2.32);  // by not training the other two, not by training the first
  }

  TEST_CASE("B130 D22 the weight gradient is the transport kernel p_j (c_j - sum p c) with the losses as costs") {
    const Tensor w = distinct({5}), losses = square(distinct({5}, 2)) + 0.1;
    const Values p = softmax(w).to_vector(), c = losses.to_vector();
    double mean = 0;
    for (std::size_t j = 0; j < 5; ++j) mean += p[j] * c[j];
    Values kernel(5);
    for (std::size_t j = 0; j < 5; ++j) kernel[j] = p[j] * (c[j] - mean);
    check_near(weight_slopes(losses, w), kernel, 1e-14);
    double total = 0;
    for (const double g : weight_slopes(losses, w + 1000)) total += g;
    CHECK(std::abs(total) < 1e-14);
  }

  TEST_CASE(
      "B132 C73 D22 the code of uncertainty weighting is twice its formula, whatever sigma, so both have one optimum") {
    Rng rng(3);
    for (int i = 0; i < 20; ++i) {
      const double L = 5 * rng.uniform(), variance = std::exp(2 * rng.normal());
      CHECK(by_logvar(L, std::log(variance)) == doctest::Approx(2 * by_sigma(L, std::sqrt(variance))).epsilon(1e-13));
    }
    CHECK(by_logvar(3, std::log(2.5)) / by_sigma(3, std::sqrt(2.5)) == doctest::Approx(2).epsilon(1e-14));
    for (const double L : {0.25, 4.}) CHECK(by_logvar(L, std::log(L)) == doctest::Approx(1 + std::log(L)));
  }

  TEST_CASE("B133 the best sigma^2 is the loss, the value there is 1/2 + log(L)/2") {
    for (const double L : {0.25, 1., 4.}) {
      const auto f = [&](const Tensor& s) { return uncertainty_sigma(vec({L}), s); };
      const double sigma = minimise(f, vec({1.5}), 4000, 0.05)[0];
      CHECK(sigma * sigma == doctest::Approx(L).epsilon(1e-6));
      CHECK(by_sigma(L, std::sqrt(L)) == doctest::Approx(0.5 + 0.5 * std::log(L)));
      CHECK(std::abs(sigma_slope(L, std::sqrt(L))) < 1e-14);
    }
  }

  TEST_CASE("B134 C72 log sigma keeps sigma from infinity, L / (2 sigma^2) keeps it from 0, not the reverse") {
    CHECK(by_sigma(1, 0.1) == doctest::Approx(50 - 2.302585).epsilon(1e-7));
    CHECK(by_sigma(1, 1e6) == doctest::Approx(13.8155).epsilon(1e-5));
    CHECK(sigma_slope(1, 0.1) < -900);  // near 0 the slope that pushes up is that of the first term
    CHECK(sigma_slope(1, 1e6) > 0);     // far out the slope that pushes back is that of the logarithm
    // Without the logarithm sigma only grows: the slope is -L / sigma^3 everywhere.
    const auto without = [](const Tensor& s) { return sum(1 / (2 * square(s))); };
    for (const double s : {0.1, 1., 1e3}) CHECK(slopes(vec({s}), without)[0] < 0);
    // And the value falls without bound as the loss goes to 0.
    for (const auto& [L, least] : {std::pair{1e-2, -1.80}, {1e-6, -6.41}, {1e-12, -13.3}}) {
      CHECK(by_sigma(L, std::sqrt(L)) == doctest::Approx(least).epsilon(3e-3));
    }
  }

  TEST_CASE(
      "B135 C74 exact for a Gaussian up to log(2 pi)/2, for cross entropy even the factor 1/sigma^2 is approximate") {
    const double y = 1.7, f = 0.4, sigma = 0.8, pi = 3.14159265358979323846;
    const double density = std::exp(-(y - f) * (y - f) / (2 * sigma * sigma)) / std::sqrt(2 * pi * sigma * sigma);
    CHECK(by_sigma((y - f) * (y - f), sigma) + 0.5 * std::log(2 * pi) == doctest::Approx(-std::log(density)));
    // Logits 2, 0, -1 of label 0, tempered by 1/sigma^2.
    const Tensor z = matrix({2, 0, -1}, 1), t = labels({0});
    const double ce = cross_entropy(z, t).item();
    const Values variance = {0.5, 1, 2}, exact = {.0206, .1698, .4644}, approximate = {-.0069, .1698, .4315};
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(cross_entropy(z / variance[i], t).item() == doctest::Approx(exact[i]).epsilon(2e-4));
      CHECK(ce / variance[i] + 0.5 * std::log(variance[i]) == doctest::Approx(approximate[i]).epsilon(2e-4));
      CHECK(by_sigma(ce, std::sqrt(variance[i])) ==
            doctest::Approx(ce / (2 * variance[i]) + 0.5 * std::log(variance[i])));
    }
  }

  TEST_CASE("D22 live norm, log losses, profiled uncertainty and the power mean at gamma 0 are one direction") {
    const Tensor x = vec({0.4, 0.7}), L = quadratics(x);
    const auto at = [&](const auto& combine) {
      return slopes(x, [&](const Tensor& z) { return combine(quadratics(z)); });
    };
    const Values live = at([](const Tensor& l) { return live_norm(l); });
    check_near(live, at([](const Tensor& l) { return sum(log(l)); }), 1e-9);
    const Tensor sigma = sqrt(L), s = log(L);
    Values profiled = at([&](const Tensor& l) { return uncertainty_sigma(l, sigma); });
    for (double& g : profiled) g *= 2;
    check_near(live, profiled, 1e-9);
    check_near(live, at([&](const Tensor& l) { return uncertainty_logvar(l, s); }), 1e-9);
    for (const double gamma : {0., 1e-15}) {
      const Values m = at([&](const Tensor& l) { return generalised_mean(l, {.gamma = gamma}); });
      const double inner = m[0] * live[0] + m[1] * live[1];
      CHECK(inner / std::hypot(m[0], m[1]) / std::hypot(live[0], live[1]) > 1 - 1e-12);
    }
  }

  TEST_CASE("the weighted loss lies between the least and the greatest, f32 keeps slopes where p is 1 - 1e-30") {
    const Tensor losses = vec({2.3, 150, 50}).to(DType::f32), w = vec({69, 0, -1}).to(DType::f32);
    CHECK(softmax_weighted(losses, w).item() == doctest::Approx(2.3));
    const Values g = weight_slopes(losses, w);
    CHECK(g[0] < 0);  // p_0 (L_0 - L) rounds to 0 if L is formed first
    CHECK(g[1] > 0);
    CHECK(g[0] + g[1] + g[2] == doctest::Approx(0).scale(1e-28));
  }

  TEST_CASE("learned: what does not fit is an error that names it") {
    const Tensor L = vec({1, 2});
    CHECK_THROWS_WITH_AS(softmax_weighted(L, vec({1})), doctest::Contains("one entry of weights"), Error);
    CHECK_THROWS_WITH_AS(uncertainty_sigma(L, Tensor()), doctest::Contains("needs sigma [K]"), Error);
    CHECK_THROWS_WITH_AS(uncertainty_sigma(L, vec({1, 0})), doctest::Contains("sigma must be > 0, got 0"), Error);
    CHECK_THROWS_WITH_AS(uncertainty_sigma(L, vec({-1, 1})), doctest::Contains("at [0]"), Error);
    CHECK_THROWS_WITH_AS(uncertainty_logvar(L, zeros({2})), doctest::Contains("types differ"), Error);
  }
}
