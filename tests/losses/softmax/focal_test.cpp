// Focal loss: both forms, the seed's numbers and what is wrong with them, saturation, and why it is not a proper score.
#include "losses/softmax/focal.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& logits, const Tensor& target, const FocalOptions& o = {}) {
  return slopes(logits, [&](const Tensor& z) { return focal(z, target, o); });
}

Tensor two_classes(double p) { return matrix({std::log(p), std::log1p(-p)}, 1); }  // softmax gives p and 1 - p
double loss_at(double p, const FocalOptions& o = {}) { return focal(two_classes(p), labels({0}), o).item(); }
double slope_at(double p, double gamma) { return gradient(two_classes(p), labels({0}), {.gamma = gamma})[0]; }

double steepest(double gamma) {
  double most = 0;
  for (double p = 0.0005; p < 1; p += 0.001) most = std::max(most, std::abs(slope_at(p, gamma)));
  return most;
}

// The p of the first class that is best when it is right with probability pi.
double best(double pi, double gamma) {
  const FocalOptions o{.gamma = gamma, .alpha = vec({pi, 1 - pi}), .reduction = Reduction::sum};
  const auto expected = [&](const Tensor& z) {
    const Tensor row = z.reshape({1, 2});
    return focal(cat({row, row}), labels({0, 1}), o);
  };
  return value_at(softmax(vec(minimise(expected, vec({0, 0}), 400))), 0);
}

}  // namespace

TEST_SUITE("focal") {
  TEST_CASE("focal: definition, closed form and central differences agree") { check_losses(focal_losses()); }

  TEST_CASE("B024 C34 at p = .99 the loss is 1.005e-6, where the source gives the weight 1e-4 for it") {
    CHECK(loss_at(.99) == doctest::Approx(1.00503e-6).epsilon(1e-5));
    CHECK(loss_at(.3) == doctest::Approx(.589947).epsilon(1e-6));
    const double source = (1 - .99) * (1 - .99);
    CHECK(source / loss_at(.99) == doctest::Approx(99.5).epsilon(1e-3));
    CHECK(loss_at(.3) / loss_at(.99) == doctest::Approx(586992).epsilon(1e-5));
    CHECK(.588 / source == doctest::Approx(5880));  // the ratio that the source's numbers give
  }

  TEST_CASE("B025 D16 gamma 0 is cross entropy in value and gradient") {
    const Tensor z = distinct({4, 5}), t = labels({2, 0, 4, 4}), alpha = vec({.5, 2, 1, 3, .7});
    check_near(focal(z, t, {.gamma = 0}).item(), cross_entropy(z, t).item(), 1e-15);
    check_near(gradient(z, t, {.gamma = 0}), slopes(z, [&](const Tensor& x) { return cross_entropy(x, t); }), 1e-15);
    check_near(
        gradient(z, t, {.gamma = 0, .alpha = alpha, .reduction = Reduction::sum}),
        slopes(z, [&](const Tensor& x) { return cross_entropy(x, t, {.weight = alpha, .reduction = Reduction::sum}); }),
        1e-15);
  }

  TEST_CASE("B026 easy rows lose their pull, rows near p = .1 gain some") {
    const auto relative = [](double p) { return slope_at(p, 2) / slope_at(p, 0); };
    CHECK(relative(.99) == doctest::Approx(2.99e-4).epsilon(1e-3));
    CHECK(relative(.1) == doctest::Approx(1.2245).epsilon(1e-4));
  }

  TEST_CASE("B023 B027 A021 ten hard positives against many easy negatives: who owns the loss") {
    CHECK(10 * .1 + 10000 * .01 == doctest::Approx(101));
    CHECK(10000 * .01 / 101 == doctest::Approx(.9901).epsilon(1e-4));
    // One positive at p = .3, 99 negatives at p = .99.
    const auto share = [](const FocalOptions& positive, const FocalOptions& negative) {
      const double own = loss_at(.3, positive);
      return own / (own + 99 * loss_at(.99, negative));
    };
    CHECK(share({.gamma = 0}, {.gamma = 0}) == doctest::Approx(.5475).epsilon(1e-4));
    CHECK(share({.alpha = vec({.25, 1})}, {.alpha = vec({.75, 1})}) == doctest::Approx(.9995).epsilon(1e-4));
  }

  TEST_CASE("C35 D16 gamma 0.5 is finite at a logit gap of 60, where the textbook derivative is infinity times 0") {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Tensor z = matrix({60, 0, 0}, 1).to(dtype);
      const FocalOptions o{.gamma = .5};
      const double q = 2 * std::exp(-60.);
      // L = q^1.5, dL/dz_0 = -1.5 q^1.5: below the normal numbers of f32
      CHECK(std::abs(focal(z, labels({0}), o).item() - std::pow(q, 1.5)) < 1e-43);
      CHECK(std::abs(gradient(z, labels({0}), o)[0] + 1.5 * std::pow(q, 1.5)) < 1e-43);
      for (const double gap : {20., 60., 200., 1e4}) {
        for (const double gamma : {.01, .5, 2.}) {
          for (const double d : gradient(matrix({gap, 0, 0}, 1).to(dtype), labels({0}), {.gamma = gamma})) {
            CHECK(std::isfinite(d));
          }
        }
      }
    }
    CHECK(gradient(matrix({20, 0}, 1).to(DType::f32), labels({0}), {.gamma = .5})[0] ==
          doctest::Approx(-1.5 * std::exp(-30.)).epsilon(1e-5));
    const double p = 1;  // .5 (1 - p)^{-.5} log p + ...
    CHECK(std::isnan(.5 * std::pow(1 - p, -.5) * std::log(p) - std::sqrt(1 - p) / p));
  }

  TEST_CASE("C35 D16 the steepest slope is above 1: 1.129 at gamma 2 and 1.315 at gamma 5") {
    CHECK(steepest(0) < 1);
    CHECK(steepest(2) == doctest::Approx(1.129).epsilon(1e-3));
    CHECK(steepest(5) == doctest::Approx(1.315).epsilon(1e-3));
    CHECK(std::abs(slope_at(.0578, 2)) == doctest::Approx(steepest(2)).epsilon(1e-4));
  }

  TEST_CASE("D16 alpha scales linearly and is that of the label") {
    const Tensor z = distinct({3, 2}), t = labels({1, 0, 1});
    const FocalOptions rows{.reduction = Reduction::none};
    const Values plain = focal(z, t, rows).to_vector();
    check_near(focal(z, t, {.alpha = vec({.25, .75}), .reduction = Reduction::none}).to_vector(),
               {.75 * plain[0], .25 * plain[1], .75 * plain[2]}, 1e-15);
  }

  TEST_CASE("D17 A030 focal is not proper: for the truth (.7,.3) its best p is flatter") {
    CHECK(best(.7, 0) == doctest::Approx(.7).epsilon(1e-4));
    CHECK(best(.7, 2) == doctest::Approx(.57848).epsilon(1e-4));
    CHECK(best(.7, 5) == doctest::Approx(.5380).epsilon(1e-4));
  }

  TEST_CASE("A029 the loss falls in gamma for every row, so gamma cannot be learnt by descent") {
    for (const double p : {.01, .3, .9}) {
      const double h = 1e-5, L = loss_at(p, {.gamma = 2});
      const double slope = (loss_at(p, {.gamma = 2 + h}) - loss_at(p, {.gamma = 2 - h})) / (2 * h);
      CHECK(slope == doctest::Approx(L * std::log1p(-p)).epsilon(1e-6));
      CHECK(slope < 0);
    }
  }

  TEST_CASE("mean divides by the rows kept, ignored rows may hold NaN, and no row left gives 0") {
    const Tensor z = matrix({NaN, 1, 0, 2, .3, -1}, 3), t = labels({-100, 1, 0});
    for (const Form form : {Form::closed, Form::definition}) {
      const FocalOptions sum{.alpha = vec({3, 2}), .reduction = Reduction::sum, .form = form};
      const FocalOptions mean{.alpha = vec({3, 2}), .form = form};
      CHECK(2 * focal(z, t, mean).item() == doctest::Approx(focal(z, t, sum).item()));
      const Values g = gradient(z, t, mean);
      CHECK(Values(g.begin(), g.begin() + 2) == Values(2, 0));
      CHECK(g[2] + g[3] == doctest::Approx(0));
      CHECK(focal(z, labels({-100, -100, -100}), {.form = form}).item() == 0);
      CHECK(focal(zeros({0, 3}), labels({}), {.form = form}).item() == 0);
    }
    CHECK(std::isnan(focal(z, labels({1, 1, 1})).item()));
  }

  TEST_CASE("a wrong row that is saturated keeps its full gradient, an impossible label costs infinity") {
    check_near(gradient(matrix({-1e4, 1e4}, 1).to(DType::f32), labels({0})), {-1, 1}, 1e-7);
    CHECK(focal(matrix({-1e4, 1e4}, 1), labels({0})).item() == 2e4);
    CHECK(focal(matrix({-inf, 0}, 1), labels({0})).item() == inf);
    CHECK(gradient(matrix({-inf, 0}, 1), labels({0})) == Values{-1, 1});
    CHECK(gradient(matrix({0, -inf}, 1), labels({0})) == Values{0, 0});
  }

  TEST_CASE("focal: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(focal(Tensor(), t), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(focal(zeros({3}), t), doctest::Contains("needs logits [N,C] with C >= 1"), Error);
    CHECK_THROWS_WITH_AS(focal(z, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(focal(z, zeros({2})), doctest::Contains("i32 or i64"), Error);
    CHECK_THROWS_WITH_AS(focal(z, labels({0, 3})), "[focal] label 3 at [1] of i64 [2] is outside 0..2", Error);
    CHECK_THROWS_WITH_AS(focal(z, t, {.gamma = -1}), doctest::Contains("gamma must be a finite number >= 0"), Error);
    CHECK_THROWS_WITH_AS(focal(z, t, {.gamma = NaN}), doctest::Contains("gamma must be"), Error);
    CHECK_THROWS_WITH_AS(focal(z, t, {.alpha = ones({2})}), doctest::Contains("alpha with a number for each"), Error);
    CHECK_THROWS_WITH_AS(focal(z, t, {.alpha = vec({1, 1, 1})}), doctest::Contains("types differ"), Error);
  }
}
