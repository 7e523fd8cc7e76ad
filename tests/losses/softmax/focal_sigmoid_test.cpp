// Focal loss of sigmoids: its two forms, its limits, and the logits at which others give NaN.
#include "losses/softmax/focal_sigmoid.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/bce.h"
#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values each(const Tensor& x, const Tensor& y, double gamma, double alpha = -1) {
  return focal_sigmoid(x, y, {.alpha = alpha, .gamma = gamma, .reduction = Reduction::none}).to_vector();
}

Values slope(const Tensor& x, const Tensor& y, double gamma, double alpha = -1) {
  return slopes(x, [&](const Tensor& z) {
    return focal_sigmoid(z, y, {.alpha = alpha, .gamma = gamma, .reduction = Reduction::sum});
  });
}

}  // namespace

TEST_SUITE("focal_sigmoid") {
  TEST_CASE("focal_sigmoid: definition, closed form and central differences agree") {
    check_losses(focal_sigmoid_losses());
  }

  TEST_CASE("by hand: logit log 3, gamma 2, alpha 1/4") {
    const Tensor x = vec({std::log(3.0), std::log(3.0)}), y = vec({1, 0});
    check_near(each(x, y, 2, 0.25), {0.25 / 16 * std::log(4.0 / 3), 0.75 * 9 / 16 * std::log(4.0)}, 1e-15);
  }

  TEST_CASE("gamma 0 without alpha is the binary cross entropy, value and gradient") {
    const Tensor x = distinct({9}), y = between(0, 1, {9});
    const auto bce = [&](const Tensor& z) { return bce_with_logits(z, y, {.reduction = Reduction::sum}); };
    check_near(each(x, y, 0), bce_with_logits(x, y, {.reduction = Reduction::none}).to_vector(), 1e-15);
    check_near(slope(x, y, 0), slopes(x, bce), 1e-15);
  }

  TEST_CASE("alpha weighs both sides and is off below 0") {
    const Tensor x = distinct({4}), y = vec({1, 0, 1, 0});
    const Values plain = each(x, y, 2), weighed = each(x, y, 2, 0.7);
    for (std::size_t i = 0; i < 4; ++i) CHECK(weighed[i] == doctest::Approx((i % 2 ? 0.3 : 0.7) * plain[i]));
    CHECK(each(x, y, 2, -3) == plain);
  }

  TEST_CASE("swapping yes and no mirrors the logit, soft targets approach hard ones") {
    const Tensor x = distinct({5}), y = between(0, 1, {5});
    check_near(each(x, y, 1.5), each(-x, 1 - y, 1.5), 1e-15);
    for (const double t : {0.0, 1.0}) {
      check_near(each(x, full({5}, std::abs(t - 1e-13), DType::f64), 0.5), each(x, full({5}, t, DType::f64), 0.5),
                 1e-10);
    }
  }

  TEST_CASE("gamma 0.5 at logits 20 to 1e4 in f32: finite, where torchvision's gradient is NaN") {
    const Tensor x = tensor({20, 60, 1e4, -20, -1e4}, {5}), y = tensor({1, 1, 1, 0, 0}, {5});
    for (const double v : each(x, y, 0.5)) CHECK(std::isfinite(v));
    const Values g = slope(x, y, 0.5);
    // q^(3/2) (1 + gamma) for small q = 1 - p_t = e^-20
    CHECK(g[0] == doctest::Approx(-1.5 * std::exp(-30.0)).epsilon(2e-5));
    CHECK(g[3] == doctest::Approx(1.5 * std::exp(-30.0)).epsilon(2e-5));
    CHECK(g[2] == 0);
    // A sure mistake costs its logit and has slope 1.
    CHECK(each(tensor({-1e4}, {1}), tensor({1}, {1}), 0.5)[0] == doctest::Approx(1e4));
    CHECK(slope(tensor({-1e4}, {1}), tensor({1}, {1}), 0.5)[0] == doctest::Approx(-1));
    // With an infinite logit the right answer costs 0.
    CHECK(each(vec({inf, -inf}), vec({1, 0}), 0.5) == Values{0, 0});
    CHECK(slope(vec({inf, -inf}), vec({1, 0}), 0.5) == Values{0, 0});
  }

  TEST_CASE("focal_sigmoid: what does not fit is an error that names it") {
    const Tensor x = zeros({2}), y = zeros({2});
    CHECK_THROWS_WITH_AS(focal_sigmoid(x, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(focal_sigmoid(x, zeros({3})), doctest::Contains("a target for each logit"), Error);
    CHECK_THROWS_WITH_AS(focal_sigmoid(x, zeros({2}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(focal_sigmoid(x, y, {.gamma = -1}), doctest::Contains("gamma must be 0 or more"), Error);
    CHECK_THROWS_WITH_AS(focal_sigmoid(x, y, {.gamma = NaN}), doctest::Contains("gamma must be 0 or more"), Error);
    CHECK_THROWS_WITH_AS(focal_sigmoid(x, y, {.alpha = 2}), doctest::Contains("alpha must be at most 1"), Error);
  }

  TEST_CASE("focal_sigmoid: rows of hard targets and rows with a soft one add up") {
    Rng rng(5);
    const Tensor x = 2 * randn({10000}, rng, DType::f64);
    Tensor y = randint(2, {10000}, rng).to(DType::f64);
    set_value(y, 5000, 0.25);  // in the second of three rows
    const auto value = [&](const Tensor& z, Form form) {
      return focal_sigmoid(z, y, {.reduction = Reduction::sum, .form = form});
    };
    CHECK(value(x, Form::closed).item() == doctest::Approx(value(x, Form::definition).item()).epsilon(1e-12));
    check_near(slopes(x, [&](const Tensor& z) { return value(z, Form::closed); }),
               slopes(x, [&](const Tensor& z) { return value(z, Form::definition); }), 1e-12);
  }
}
