// Contrastive loss: the proof, numbers by hand, the corner at the margin, equal points, errors.
#include "losses/distance/contrastive.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("contrastive") {
  TEST_CASE("contrastive: definition, closed form and central differences agree") {
    check_losses(contrastive_losses());
  }

  TEST_CASE("by hand: distance 5 costs 25 when similar, distance 0.6 costs 0.16 when not, and half of that with half") {
    const Tensor a = matrix({0, 0, 0, 0, 0, 0}, 3), b = matrix({3, 4, 0.6, 0, 3, 4}, 3), y = vec({1, 0, 0});
    for (const Form form : {Form::closed, Form::definition}) {
      const ContrastiveOptions o{.reduction = Reduction::none, .form = form};
      check_near(contrastive(a, b, y, o).to_vector(), {25, 0.16, 0}, 1e-15);
      CHECK(contrastive(a, b, y, {.half = true, .form = form}).item() == doctest::Approx(25.16 / 6));
      const auto f = [&](const Tensor& x) { return contrastive(x, b, y, o); };
      check_near(slopes(a, f), {-6, -8, 0.8, 0, 0, 0}, 1e-14);
      const auto other = [&](const Tensor& x) { return contrastive(a, x, y, o); };
      check_near(slopes(b, other), {6, 8, -0.8, 0, 0, 0}, 1e-14);
    }
  }

  TEST_CASE("different things at one point: loss margin^2, and no NaN in a gradient that has no direction") {
    const Tensor x = matrix({1, 2, 3, 4}, 2), y = vec({0, 1});
    for (const Form form : {Form::closed, Form::definition}) {
      const ContrastiveOptions o{.margin = 3, .reduction = Reduction::none, .form = form};
      CHECK(contrastive(x, x, y, o).to_vector() == Values{9, 0});
      CHECK(slopes(x, [&](const Tensor& z) { return contrastive(z, x, y, o); }) == Values(4, 0));
    }
  }

  TEST_CASE("the slope is continuous at the margin, and beyond it the loss of a dissimilar pair is 0") {
    const auto slope = [](double d) {
      return slopes(matrix({d, 0}, 1), [](const Tensor& x) {
        return contrastive(x, zeros({1, 2}, DType::f64), vec({0}), {.margin = 2});
      })[0];
    };
    CHECK(std::abs(slope(2 - 1e-9)) < 3e-9);
    CHECK(slope(2) == 0);
    CHECK(slope(7) == 0);
    CHECK(slope(1.5) == doctest::Approx(-1));
  }

  TEST_CASE("labels may be integers, and y between 0 and 1 mixes the two terms") {
    const Tensor a = between(-1, 1, {3, 2}, 1), b = between(-1, 1, {3, 2}, 2);
    CHECK(contrastive(a, b, labels({1, 0, 1})).item() == contrastive(a, b, vec({1, 0, 1})).item());
    const double alike = contrastive(a, b, vec({1, 1, 1})).item(), apart = contrastive(a, b, vec({0, 0, 0})).item();
    CHECK(contrastive(a, b, vec({0.3, 0.3, 0.3})).item() == doctest::Approx(0.3 * alike + 0.7 * apart));
  }

  TEST_CASE("contrastive: what does not fit is an error that names it") {
    const Tensor x = zeros({2, 3});
    CHECK_THROWS_WITH_AS(contrastive(x, zeros({2, 4}), labels({0, 1})), doctest::Contains("tensors of one shape"),
                         Error);
    CHECK_THROWS_WITH_AS(contrastive(x, x, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(contrastive(x, x, labels({1, -1})), doctest::Contains("y must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(contrastive(x, x, labels({1, 0}), {.margin = -1}), doctest::Contains("margin must be"), Error);
    CHECK_THROWS_WITH_AS(contrastive(x, x, Tensor()), doctest::Contains("labels are undefined"), Error);
  }
}
