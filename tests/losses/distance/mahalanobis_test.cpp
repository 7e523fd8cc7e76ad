// Triplet loss with a learnt Mahalanobis distance: the proof, special cases of L, what training L does, errors.
#include "losses/distance/mahalanobis.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("triplet_mahalanobis") {
  TEST_CASE("triplet_mahalanobis: definition, closed form and central differences agree") {
    check_losses(mahalanobis_losses());
  }

  TEST_CASE("A055 by hand: M = diag(1, 4) stretches the second axis twofold") {
    const Tensor a = matrix({0, 0}, 1), p = matrix({0, 3}, 1), n = matrix({4, 0}, 1), L = matrix({1, 0, 0, 2}, 2);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(triplet_mahalanobis(a, p, n, L, {.form = form}).item() == doctest::Approx(6 - 4 + 1));
      const auto of_L = [&](const Tensor& l) { return triplet_mahalanobis(a, p, n, l, {.form = form}); };
      check_near(slopes(L, of_L), {-4, 0, 0, 3}, 1e-14);
      const auto of_p = [&](const Tensor& x) { return triplet_mahalanobis(a, x, n, L, {.form = form}); };
      check_near(slopes(p, of_p), {0, 2}, 1e-14);
    }
  }

  TEST_CASE("L = 1 is the Euclidean triplet loss, and L Q with Q orthogonal is L") {
    const Tensor a = between(-1, 1, {4, 2}, 1), p = between(-1, 1, {4, 2}, 2), n = between(-1, 1, {4, 2}, 3);
    const Tensor one = matrix({1, 0, 0, 1}, 2), L = matrix({1, 0.5, -0.3, 2}, 2), Q = matrix({0.6, 0.8, -0.8, 0.6}, 2);
    CHECK(triplet_mahalanobis(a, p, n, one).item() == doctest::Approx(triplet(a, p, n).item()));
    CHECK(triplet_mahalanobis(a, p, n, matmul(L, Q)).item() == doctest::Approx(triplet_mahalanobis(a, p, n, L).item()));
  }

  TEST_CASE("a direction that L does not see has distance 0 and gives no gradient, never NaN") {
    const Tensor a = matrix({0, 0}, 1), p = matrix({0, 3}, 1), n = matrix({4, 0}, 1), L = matrix({1, 0}, 2);
    for (const Form form : {Form::closed, Form::definition}) {
      const TripletOptions o{.margin = 9, .form = form};
      CHECK(triplet_mahalanobis(a, p, n, L, o).item() == 5);
      CHECK(slopes(p, [&](const Tensor& x) { return triplet_mahalanobis(a, x, n, L, o); }) == Values{0, 0});
      CHECK(slopes(L, [&](const Tensor& l) { return triplet_mahalanobis(a, p, n, l, o); }) == Values{-4, 0});
    }
  }

  TEST_CASE("training L alone shrinks the axis that is noise and keeps the one that tells the classes apart") {
    // Axis 0 separates by 1; axis 1 is noise of 3 between points of one class.
    const Tensor a = matrix({0, 0, 1, 1}, 2), p = matrix({0, 3, 1, -2}, 2), n = matrix({1, 0.5, 0, 0.5}, 2);
    const Tensor start = matrix({1, 0, 0, 1}, 2);
    const auto f = [&](const Tensor& L) { return triplet_mahalanobis(a, p, n, L); };
    CHECK(f(start).item() > 2);
    const Values L = minimise(f, start, 200, 0.1);
    CHECK(f(matrix(L, 2)).item() < 0.01);
    CHECK(L[2] * L[2] + L[3] * L[3] < 0.1 * (L[0] * L[0] + L[1] * L[1]));
  }

  TEST_CASE("triplet_mahalanobis: what does not fit is an error that names it") {
    const Tensor a = zeros({2, 3});
    CHECK_THROWS_WITH_AS(triplet_mahalanobis(a, a, a, Tensor()), doctest::Contains("L is undefined"), Error);
    CHECK_THROWS_WITH_AS(triplet_mahalanobis(a, a, a, zeros({2, 2})), doctest::Contains("needs L [D,K]"), Error);
    CHECK_THROWS_WITH_AS(triplet_mahalanobis(a, zeros({1, 3}), a, zeros({3, 3})), doctest::Contains("one shape"),
                         Error);
    CHECK_THROWS_WITH_AS(triplet_mahalanobis(a, a, a, zeros({3, 3}), {.margin = -1}),
                         doctest::Contains("margin must be at least 0"), Error);
  }
}
