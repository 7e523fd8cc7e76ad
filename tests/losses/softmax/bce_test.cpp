// Binary cross entropy: its two entries against their definitions, a worked example put right, extremes.
#include "losses/softmax/bce.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

Values slope(double x, double y, const BceOptions& o = {}) {
  return slopes(vec({x}), [&](const Tensor& z) { return bce_with_logits(z, vec({y}), o); });
}

// ---- the program of B017: p = s(w x + b), plain gradient descent with step 0.01 on four points, b from 0

const Values train_x = {.1, .4, .7, .8}, train_y = {0, 1, 1, 0}, test_x = {.2, .5, .9}, test_y = {0, 1, 1};

double loss_of(const Values& x, const Values& y, double w, double b) {
  return bce_with_logits(vec(x) * w + b, vec(y)).item();
}

void descend(double& w, double& b, int steps) {
  for (int k = 0; k < steps; ++k) {
    double dw = 0, db = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const double dx = logistic(w * train_x[i] + b) - train_y[i];
      dw += dx * train_x[i] / 4;
      db += dx / 4;
    }
    w -= 0.01 * dw;
    b -= 0.01 * db;
  }
}

}  // namespace

TEST_SUITE("bce") {
  TEST_CASE("bce: definition, closed form and central differences agree") { check_losses(bce_losses()); }

  TEST_CASE("by hand: logit log 3 has p = 3/4") {
    const Tensor x = vec({std::log(3.0)});
    CHECK(bce_with_logits(x, vec({1})).item() == doctest::Approx(std::log(4.0 / 3)));
    CHECK(bce_with_logits(x, vec({0})).item() == doctest::Approx(std::log(4.0)));
    CHECK(bce_probs(vec({0.75}), vec({0})).item() == doctest::Approx(std::log(4.0)));
    CHECK(slope(std::log(3.0), 0)[0] == doctest::Approx(0.75));
    CHECK(slope(std::log(3.0), 1)[0] == doctest::Approx(-0.25));
    CHECK(slope(std::log(3.0), 1, {.pos_weight = vec({2})})[0] == doctest::Approx(-0.5));
  }

  TEST_CASE("B014 binary cross entropy is the softmax cross entropy of the logits x and 0") {
    const Tensor x = between(-4, 4, {9, 1}), y = labels({1, 0, 1, 1, 0, 0, 1, 0, 1});
    const Tensor two = cat({zeros({9, 1}, DType::f64), x}, 1);
    const Tensor t = y.to(DType::f64).reshape({9, 1});
    check_near(bce_with_logits(x, t).item(), cross_entropy(two, y).item(), 1e-14);
    check_near(slopes(x, [&](const Tensor& z) { return bce_with_logits(z, t); }),
               slopes(x,
                      [&](const Tensor& z) {
                        return cross_entropy(cat({zeros({9, 1}, DType::f64), z}, 1), y);
                      }),
               1e-14);
    check_near(bce_probs(sigmoid(x), t).item(), bce_with_logits(x, t).item(), 1e-13);
  }

  TEST_CASE("B015 C47 the source loses a minus sign, the loss is never negative") {
    const Tensor p = vec({.2, .8}), y = vec({1, 0});
    const double printed = .5 * (std::log(.2) + std::log(1 - .8));  // +1/N sum (y log p + (1-y) log(1-p))
    CHECK(printed == doctest::Approx(-1.60944).epsilon(1e-5));
    CHECK(bce_probs(p, y).item() == doctest::Approx(-printed).epsilon(1e-14));
    const BceProbsOptions each{.reduction = Reduction::none};
    for (const double l : bce_probs(between(0.01, 0.99, {200}), between(0, 1, {200}, 2), each).to_vector()) {
      CHECK(l >= 0);
    }
  }

  TEST_CASE("B016 C48 the worked example is 1.6094379, not 0.61 and not any of its halves") {
    const double right = bce_probs(vec({.2, .8}), vec({1, 0})).item();
    CHECK(right == doctest::Approx(std::log(5.0)).epsilon(1e-14));
    check_near(right, 1.6094379, 1e-7);
    check_near(right / std::log(10.0), 0.69897, 1e-5);  // not even in another base
    for (const double wrong : {0.61, 0.804719, -0.804719, 0.349, 1.161}) CHECK(std::abs(right - wrong) > 0.4);
  }

  TEST_CASE("B017 C49 no start reaches the test loss 0.25 of the source: all 101 stay above 0.54") {
    double lowest = inf, worst_train = 0;
    for (int k = 0; k <= 100; ++k) {
      double w = std::sqrt(3.0) * (k / 50.0 - 1), b = 0;  // Glorot uniform, one weight in, one out
      descend(w, b, 1000);
      lowest = std::min(lowest, loss_of(test_x, test_y, w, b));
      worst_train = std::max(worst_train, loss_of(train_x, train_y, w, b));
    }
    CHECK(lowest > 0.54);
    CHECK(lowest < 0.55);
    CHECK(worst_train < 0.7272);
    const auto train = [](const Tensor& wb) {
      const Tensor x = matrix({.1, 1, .4, 1, .7, 1, .8, 1}, 4);
      return bce_with_logits(matmul(x, wb), vec(train_y));
    };
    const Values best = minimise(train, vec({0, 0}), 400);
    check_near(best, {1.3574, -0.6802}, 1e-3);
    check_near(train(vec(best)).item(), .676332, 1e-6);
    check_near(loss_of(test_x, test_y, best[0], best[1]), .554024, 1e-4);
  }

  TEST_CASE("C49 whatever has test loss 0.25 is worse than a coin on the four points, log 2") {
    for (double w = -40; w <= 40; w += 1) {
      for (double b = -30; b <= 30; b += 1) {
        if (loss_of(test_x, test_y, w, b) <= 0.25) CHECK(loss_of(train_x, train_y, w, b) > 0.87);
      }
    }
  }

  TEST_CASE("C45 the logit gradient of a sure mistake is -1, where the squared error of a sigmoid has -2e-6") {
    const double x = std::log(1e-6 / (1 - 1e-6));  // p = 1e-6, y = 1
    CHECK(slope(x, 1)[0] == doctest::Approx(-0.999999).epsilon(1e-9));
    const Values flat = slopes(vec({x}), [](const Tensor& z) { return sum(square(sigmoid(z) - vec({1}))); });
    CHECK(flat[0] == doctest::Approx(-2.0e-6).epsilon(1e-4));
    for (double z = -30; z < 31; z += 1.5) {
      for (const double t : {0.0, 0.3, 1.0}) CHECK(std::abs(slope(z, t)[0]) <= 1);
    }
  }

  TEST_CASE("B142 log(1 - s(20)) is -inf when f32 computes it so, the logits give -20, and -104 likewise") {
    const float s = 1 / (1 + std::exp(-20.f)), t = 1 / (1 + std::exp(104.f));
    CHECK(std::log(1 - s) == -std::numeric_limits<float>::infinity());
    CHECK(std::log(t) == -std::numeric_limits<float>::infinity());
    const BceOptions each{.reduction = Reduction::none};
    const Values l = bce_with_logits(tensor({20, -104}, {2}), tensor({0, 1}, {2}), each).to_vector();
    check_near(l, {20, 104}, 1e-6);
    CHECK(bce_probs(tensor({1, 0}, {2}), tensor({1, 0}, {2})).item() == 0);  // 0 log 0 = 0 at both ends
    CHECK(bce_probs(tensor({0}, {1}), tensor({1}, {1})).item() == inf);      // PyTorch: 100
  }

  TEST_CASE("A016 A017 mean is the sum over all elements divided by their number") {
    const Tensor x = distinct({3, 4}), y = between(0, 1, {3, 4});
    const Values each = bce_with_logits(x, y, {.reduction = Reduction::none}).to_vector();
    double total = 0;
    for (const double l : each) total += l;
    CHECK(bce_with_logits(x, y, {.reduction = Reduction::sum}).item() == doctest::Approx(total).epsilon(1e-14));
    CHECK(bce_with_logits(x, y).item() == doctest::Approx(total / 12).epsilon(1e-14));
  }

  TEST_CASE("the target's gradient is -x without weights, and a soft target is met where s(x) = y") {
    const Tensor x = distinct({2, 3}), y = between(0.1, 0.9, {2, 3});
    const BceOptions all{.reduction = Reduction::sum};
    check_near(slopes(y, [&](const Tensor& t) { return bce_with_logits(x, t, all); }), (-x).to_vector(), 1e-15);
    check_near(slope(std::log(0.3 / 0.7), 0.3), {0}, 1e-15);
    CHECK(slope(1, 0.5)[0] == doctest::Approx(logistic(1) - 0.5));
  }

  TEST_CASE("pos_weight goes with the last axis and takes no gradient") {
    const Tensor x = distinct({2, 3}), w = vec({0.5, 2, 4});
    const BceOptions o{.pos_weight = w, .reduction = Reduction::none};
    const Values plain = bce_with_logits(x, ones({2, 3}, DType::f64), {.reduction = Reduction::none}).to_vector();
    const Values weighted = bce_with_logits(x, ones({2, 3}, DType::f64), o).to_vector();
    for (std::size_t i = 0; i < 6; ++i) CHECK(weighted[i] == doctest::Approx(plain[i] * value_at(w, Index(i) % 3)));
    CHECK(bce_with_logits(x, zeros({2, 3}, DType::f64), o).to_vector() ==
          bce_with_logits(x, zeros({2, 3}, DType::f64), {.reduction = Reduction::none}).to_vector());
    Tape tape;
    Tensor leaf = w.clone().requires_grad_(), z = x.clone().requires_grad_();
    backward(bce_with_logits(z, ones({2, 3}, DType::f64), {.pos_weight = leaf}));
    CHECK(!leaf.grad());
    CHECK(z.grad());
  }

  TEST_CASE("infinite logits: the right answer costs 0, the wrong one infinity, NaN stays NaN") {
    const BceOptions each{.reduction = Reduction::none};
    const Values l = bce_with_logits(vec({inf, -inf, inf, NaN}), vec({1, 0, 0, 1}), each).to_vector();
    CHECK(l[0] == 0);
    CHECK(l[1] == 0);
    CHECK(l[2] == inf);
    CHECK(std::isnan(l[3]));
    CHECK(slope(inf, 1)[0] == 0);
    CHECK(slope(inf, 0)[0] == 1);
    CHECK(slopes(vec({0, 1}), [](const Tensor& p) { return bce_probs(p, vec({0, 1})); }) == Values{0.5, -0.5});
  }

  TEST_CASE("bce: what does not fit is an error that names it") {
    const Tensor x = zeros({2, 3}), y = zeros({2, 3});
    CHECK_THROWS_WITH_AS(bce_with_logits(Tensor(), y), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(bce_with_logits(x, zeros({3, 2})), doctest::Contains("a target for each element"), Error);
    CHECK_THROWS_WITH_AS(bce_with_logits(x, zeros({2, 3}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(bce_with_logits(x, y, {.pos_weight = ones({2})}), doctest::Contains("size of the last axis"),
                         Error);
    CHECK_THROWS_WITH_AS(bce_with_logits(scalar(1), scalar(1), {.pos_weight = ones({1})}),
                         doctest::Contains("size of the last axis"), Error);
    CHECK_THROWS_WITH_AS(bce_probs(x, zeros({6})), doctest::Contains("a target for each element: probabilities"),
                         Error);
  }

  TEST_CASE("bce_with_logits: more elements than one row sum of the closed form") {
    Rng rng(6);
    const Tensor x = 2 * randn({3, 3000}, rng, DType::f64), y = rand({3, 3000}, rng, DType::f64);
    const auto value = [&](const Tensor& z, Form form) { return bce_with_logits(z, y, {.form = form}); };
    CHECK(value(x, Form::closed).item() == doctest::Approx(value(x, Form::definition).item()).epsilon(1e-12));
    check_near(slopes(x, [&](const Tensor& z) { return value(z, Form::closed); }),
               slopes(x, [&](const Tensor& z) { return value(z, Form::definition); }), 1e-12);
  }
}
