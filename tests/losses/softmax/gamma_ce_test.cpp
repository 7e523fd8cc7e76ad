// gamma-CE: both forms, its two ends, its gradient, where it learns slowly and which p it prefers.
#include "losses/softmax/gamma_ce.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& logits, const Tensor& target, const GammaCeOptions& o = {}) {
  return slopes(logits, [&](const Tensor& z) { return gamma_ce(z, target, o); });
}
Values ce_gradient(const Tensor& logits, const Tensor& target) {
  return slopes(logits, [&](const Tensor& z) { return cross_entropy(z, target); });
}

Tensor two_classes(double p) { return matrix({std::log(p), std::log1p(-p)}, 1); }  // softmax gives p and 1 - p
double loss_at(double p, double gamma) { return gamma_ce(two_classes(p), labels({0}), {.gamma = gamma}).item(); }
// The gradient of gamma-CE over that of cross entropy.
double relative(double p, double gamma) {
  return gradient(two_classes(p), labels({0}), {.gamma = gamma})[0] / ce_gradient(two_classes(p), labels({0}))[0];
}

// p that minimises the loss expected under the truth pi.
Values best(const Values& pi, const std::function<Tensor(const Tensor& z, const Tensor& truth)>& loss,
            int steps = 3000) {
  const Index K = Index(pi.size());
  const auto expected = [&](const Tensor& z) { return loss(z.reshape({1, K}), matrix(pi, 1)); };
  return softmax(vec(minimise(expected, vec(Values(pi.size(), 0)), steps))).to_vector();
}
Values best(const Values& pi, double gamma, int steps = 3000) {
  return best(
      pi, [=](const Tensor& z, const Tensor& truth) { return gamma_ce(z, truth, {.gamma = gamma}); }, steps);
}

// p_t after some steps from equal logits over 1000 classes.
double learnt(double gamma) {
  Tensor z = zeros({1, 1000}, DType::f64);
  for (int step = 0; step < 20; ++step) {
    const Values dz = gradient(z, labels({7}), {.gamma = gamma});
    Tensor next = z.clone();
    for (Index j = 0; j < 1000; ++j) set_value(next, j, value_at(z, j) - dz[std::size_t(j)]);
    z = next;
  }
  return value_at(softmax(z), 7);
}

}  // namespace

TEST_SUITE("gamma_ce") {
  TEST_CASE("gamma_ce: definition, closed form and central differences agree") { check_losses(gamma_ce_losses()); }

  TEST_CASE("B032 gamma to 0 is cross entropy, gamma 0 exactly so") {
    const double p = std::exp(-1.5401070871);
    CHECK(loss_at(p, 1e-9) == doctest::Approx(1.5401070855).epsilon(1e-8));
    CHECK(loss_at(p, 0) == doctest::Approx(1.5401070871).epsilon(1e-14));
    const Tensor z = distinct({4, 5}), t = labels({2, 0, 4, 4}), soft = softmax(distinct({4, 5}, 2));
    for (const Tensor& target : {t, soft}) {
      check_near(gamma_ce(z, target, {.gamma = 0}).item(), cross_entropy(z, target).item(), 1e-14);
      check_near(gradient(z, target, {.gamma = 0}), ce_gradient(z, target), 1e-14);
    }
  }

  TEST_CASE("B033 gamma to 1 is 1 - p_t, also at gamma 1 - 1e-15 where the formula as it stands fails") {
    const double p = std::exp(-1.5401070871);
    CHECK(loss_at(p, .9999) == doctest::Approx(.78567).epsilon(1e-4));
    CHECK(loss_at(p, 1) == doctest::Approx(1 - p).epsilon(1e-14));
    const double g = 1 - 1e-15;
    CHECK(loss_at(p, g) == doctest::Approx(1 - p).epsilon(1e-13));
    CHECK(std::abs(-std::log(g + (1 - g) * p) / (1 - g) - (1 - p)) > .005);
  }

  TEST_CASE("B034 the gradient is that of cross entropy times p_t over the mix") {
    const Tensor z = distinct({3, 4}), t = labels({1, 3, 0});
    const Values p = softmax(z).to_vector();
    for (const double g : {.2, .5, .9}) {
      Values wanted;
      for (Index r = 0; r < 3; ++r) {
        const double p_t = p[std::size_t(r * 4 + Index(value_at(t, r)))];
        for (Index j = 0; j < 4; ++j) {
          wanted.push_back(p_t / (g + (1 - g) * p_t) * (p[std::size_t(r * 4 + j)] - (j == Index(value_at(t, r)))));
        }
      }
      check_near(gradient(z, t, {.gamma = g, .reduction = Reduction::none}), wanted, 1e-14);
    }
  }

  TEST_CASE("B035 from nothing it needs a small gamma: at p_t = .001 gamma .2 leaves .005 of the gradient") {
    CHECK(relative(.001, .2) == doctest::Approx(.00498).epsilon(1e-3));
    CHECK(learnt(0) > .9);
    CHECK(learnt(.001) > .9);
    CHECK(learnt(.2) < .002);
  }

  TEST_CASE("C38 against cross entropy at gamma .2 the gradient is .998, .833, .357, .005 of it") {
    check_near({relative(.99, .2), relative(.5, .2), relative(.1, .2), relative(.001, .2)}, {.998, .833, .357, .005},
               5e-4);
  }

  TEST_CASE("B036 C38 D17 it does not calibrate: its best p is sharper than the truth, and known") {
    check_near(best({.7, .3}, .1), {.7444, .2556}, 1e-4);
    check_near(best({.7, .3}, .2), {.8, .2}, 1e-4);
    check_near(best({.7, .3}, .5), {1, 0}, 1e-3);
    check_near(best({.6, .3, .1}, .2, 6000), {.75, .25, 0}, 1e-3);
    const auto formula = [](double pi, double K, double g) {
      return std::min(1., (pi * (1 + (K - 1) * g) - g) / (1 - g));
    };
    check_near({formula(.7, 2, .1), formula(.7, 2, .2), formula(.7, 2, .5)}, {.7444, .8, 1}, 1e-4);
  }

  TEST_CASE("D17 cross entropy and the Brier score do: their best p is the truth") {
    check_near(best({.7, .3}, 0), {.7, .3}, 1e-4);
    const auto brier = [](const Tensor& z, const Tensor& truth) {  // sum_k pi_k |p - e_k|^2 = |p|^2 - 2 <p, pi> + 1
      const Tensor p = softmax(z);
      return sum(p * p - 2 * p * truth);
    };
    check_near(best({.7, .3}, brier), {.7, .3}, 1e-4);
  }

  TEST_CASE("C37 gamma mixes the reciprocal of the weight, label smoothing mixes loss and gradient alike") {
    // -dL/dp_t: 1/p for cross entropy, 1 for 1 - p. gamma-CE has the harmonic mix, not the arithmetic one.
    const double p = .1, g = .2, h = 1e-6;
    CHECK((loss_at(p - h, g) - loss_at(p + h, g)) / (2 * h) == doctest::Approx(3.5714).epsilon(1e-4));
    CHECK(1 / (g + (1 - g) * p) == doctest::Approx(3.5714).epsilon(1e-4));
    CHECK((1 - g) / p + g == doctest::Approx(8.2));
    const Tensor z = distinct({1, 4}), t = labels({2}), uniform = matrix({.25, .25, .25, .25}, 1);
    const auto smoothed = [&](const Tensor& x) { return cross_entropy(x, t, {.label_smoothing = .1}); };
    const Values hard = ce_gradient(z, t), even = ce_gradient(z, uniform);
    Values mixed;
    for (std::size_t j = 0; j < 4; ++j) mixed.push_back(.9 * hard[j] + .1 * even[j]);
    check_near(slopes(z, smoothed), mixed, 1e-15);
    check_near(smoothed(z).item(), .9 * cross_entropy(z, t).item() + .1 * cross_entropy(z, uniform).item(), 1e-15);
  }

  TEST_CASE("A036 smoothing mixes the losses of all classes, for labels as for one-hot targets") {
    const Tensor z = distinct({2, 3}), t = labels({2, 0}), hot = matrix({0, 0, 1, 1, 0, 0}, 2);
    const auto row = [&](Index c) { return gamma_ce(z, labels({c, c}), {.reduction = Reduction::none}).to_vector(); };
    const Values of[] = {row(0), row(1), row(2)};
    Values wanted;
    for (const std::size_t r : {0, 1}) {
      const double all = of[0][r] + of[1][r] + of[2][r];
      wanted.push_back(.9 * of[r == 0 ? 2 : 0][r] + .1 / 3 * all);
    }
    const GammaCeOptions o{.reduction = Reduction::none, .label_smoothing = .1};
    check_near(gamma_ce(z, t, o).to_vector(), wanted, 1e-14);
    check_near(gamma_ce(z, hot, o).to_vector(), wanted, 1e-14);
    check_near(gradient(z, t, o), gradient(z, hot, o), 1e-14);
    check_near(gradient(z, t), gradient(z, hot), 1e-14);
  }

  TEST_CASE("A035 a mix with cross entropy is a sum, a schedule is an argument: gamma grows with p_t and learns on") {
    const Tensor z = distinct({3, 4}), t = labels({1, 3, 0});
    const auto mix = [&](const Tensor& x) { return .3 * cross_entropy(x, t) + .7 * gamma_ce(x, t); };
    const Values a = ce_gradient(z, t), b = gradient(z, t), both = slopes(z, mix);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(both[i] == doctest::Approx(.3 * a[i] + .7 * b[i]));
    for (const double p : {.001, .1, .5, .9}) CHECK(relative(p, p / 2) > .6);  // gamma below p_t keeps the gradient
  }

  TEST_CASE("one wrong label costs at most log(1/g) / (1 - g), one minus g at the other end") {
    const Tensor z = matrix({-1e4, 1e4}, 1);
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const double g : {1e-30, .2, .5}) {
        CHECK(gamma_ce(z.to(dtype), labels({0}), {.gamma = g}).item() ==
              doctest::Approx(-std::log(g) / (1 - g)).epsilon(1e-6));
      }
      CHECK(gamma_ce(z.to(dtype), labels({0}), {.gamma = 1}).item() == 1);
      CHECK(gamma_ce(z.to(dtype), labels({0}), {.gamma = 0}).item() == 2e4);
    }
    const Tensor far = matrix({0, 110}, 1).to(DType::f32);  // p_t = 1e-48 is 0 in f32, gamma is too
    CHECK(gamma_ce(far, labels({0}), {.gamma = 1e-300}).item() == doctest::Approx(110));
    check_near(gradient(far, labels({0}), {.gamma = 1e-300}), {-1, 1}, 1e-5);
    CHECK(gamma_ce(matrix({-inf, 0}, 1), labels({0})).item() == doctest::Approx(-std::log(.2) / .8));
    CHECK(gradient(matrix({-inf, 0}, 1), labels({0})) == Values{0, 0});
  }

  TEST_CASE("ignored rows may hold NaN, with smoothing too, and no row left gives 0") {
    const Tensor z = matrix({NaN, 1, 0, 2, .3, -1}, 3), t = labels({-100, 1, 0}), none = labels({-100, -100, -100});
    for (const Form form : {Form::closed, Form::definition}) {
      for (const double smoothing : {0., .1}) {
        const GammaCeOptions mean{.label_smoothing = smoothing, .form = form};
        const GammaCeOptions sum{.reduction = Reduction::sum, .label_smoothing = smoothing, .form = form};
        CHECK(2 * gamma_ce(z, t, mean).item() == doctest::Approx(gamma_ce(z, t, sum).item()));
        const Values g = gradient(z, t, mean);
        CHECK(Values(g.begin(), g.begin() + 2) == Values(2, 0));
        CHECK(std::abs(g[2] + g[3]) < 1e-16);
        CHECK(gamma_ce(z, none, mean).item() == 0);
        CHECK(gradient(z, none, mean) == Values(6, 0));
      }
    }
  }

  TEST_CASE("gamma_ce: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(gamma_ce(Tensor(), t), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(Tensor(), z), doctest::Contains("got no logits"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(z, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(z, labels({0, 3})), doctest::Contains("label 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(z, zeros({3, 2})), doctest::Contains("soft targets of that shape"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(z, zeros({2, 3}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(z, t, {.gamma = 1.1}), doctest::Contains("gamma must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(z, t, {.gamma = NaN}), doctest::Contains("gamma must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(gamma_ce(z, t, {.label_smoothing = -1}), doctest::Contains("label_smoothing must"), Error);
  }
}
