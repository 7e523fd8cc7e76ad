// Triplet loss: the proof, numbers by hand, equal points and zero vectors, what changes nothing, errors.
#include "losses/distance/triplet.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("triplet") {
  TEST_CASE("triplet: definition, closed form and central differences agree") { check_losses(triplet_losses()); }

  TEST_CASE("A053 by hand: distances 5 and 3 give 3, distances 3 and 5 give 0") {
    const Tensor a = matrix({0, 0}, 1), five = matrix({3, 4}, 1), three = matrix({3, 0}, 1);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(triplet(a, five, three, {.form = form}).item() == doctest::Approx(3));
      CHECK(triplet(a, three, five, {.form = form}).item() == 0);
      const auto f = [&](const Tensor& x) { return triplet(x, five, three, {.form = form}); };
      check_near(slopes(a, f), {-0.6 + 1, -0.8}, 1e-15);
      // cos 0.6 with (3,4), cos 1 with (3,0), seen from (1,0): 1 - 0.6 - (1 - 1) + 1
      CHECK(triplet_cosine(matrix({1, 0}, 1), five, three, {.form = form}).item() == doctest::Approx(1.4));
    }
  }

  TEST_CASE("mean divides by all N rows, those with loss 0 too") {
    const Tensor a = matrix({0, 0, 0, 0}, 2), p = matrix({3, 4, 3, 0}, 2), n = matrix({3, 0, 3, 4}, 2);
    CHECK(triplet(a, p, n).item() == doctest::Approx(1.5));
    CHECK(triplet(a, p, n, {.reduction = Reduction::none}).to_vector() == Values{3, 0});
  }

  TEST_CASE("C29 equal points: the loss is finite and its gradient 0, where sqrt of a sum of squares gives NaN") {
    const Tensor a = matrix({1, 2}, 1), n = matrix({4, 6}, 1);
    const auto plain = [&](const Tensor& x) { return sqrt(sum(square(a - x))); };
    CHECK(std::isnan(slopes(a, plain)[0]));
    for (const Form form : {Form::closed, Form::definition}) {
      for (const double margin : {1.0, 9.0}) {  // the hinge closed and open
        const TripletOptions o{.margin = margin, .form = form};
        CHECK(slopes(a, [&](const Tensor& p) { return triplet(a, p, n, o); }) == Values{0, 0});
      }
      const TripletOptions o{.form = form};
      CHECK(triplet(a, a, a, o).item() == 1);
      CHECK(slopes(a, [&](const Tensor& x) { return triplet(x, a, a, o); }) == Values{0, 0});
    }
  }

  TEST_CASE("C29 a zero vector has cosine 0 and takes no gradient") {
    const Tensor zero = matrix({0, 0}, 1), p = matrix({1, 1}, 1), n = matrix({2, 0}, 1);
    for (const Form form : {Form::closed, Form::definition}) {
      const TripletOptions o{.form = form};
      CHECK(triplet_cosine(zero, p, n, o).item() == 1);
      CHECK(slopes(zero, [&](const Tensor& a) { return triplet_cosine(a, p, n, o); }) == Values{0, 0});
      CHECK(slopes(p, [&](const Tensor& x) { return triplet_cosine(zero, x, n, o); }) == Values{0, 0});
    }
  }

  TEST_CASE("the force on a positive is 1 however far it is, and the three gradients sum to 0") {
    const Tensor a = between(-1, 1, {1, 5}, 1), direction = between(-1, 1, {1, 5}, 2), n = between(-1, 1, {1, 5}, 3);
    for (const double far : {1e-6, 1.0, 1e6}) {
      const Tensor p = a + far * direction;
      const TripletOptions o{.margin = 10};
      const Values da = slopes(a, [&](const Tensor&x) { return triplet(x, p, n, o); }),
                   dp = slopes(p, [&](const Tensor&x) { return triplet(a, x, n, o); }),
                   dn = slopes(n, [&](const Tensor&x) { return triplet(a, p, x, o); });
      double force = 0;
      for (std::size_t k = 0; k < 5; ++k) {
        force += dp[k] * dp[k];
        CHECK(std::abs(da[k] + dp[k] + dn[k]) < 1e-15);
      }
      CHECK(force == doctest::Approx(1));
    }
  }

  TEST_CASE("moving and turning all points changes nothing, and cosine does not see lengths") {
    const Tensor a = between(-1, 1, {4, 2}, 1), p = between(-1, 1, {4, 2}, 2), n = between(-1, 1, {4, 2}, 3);
    const Tensor turn = matrix({0.6, 0.8, -0.8, 0.6}, 2), shift = vec({5, -7});
    const auto moved = [&](const Tensor& x) -> Tensor { return matmul(x, turn) + shift; };
    CHECK(triplet(moved(a), moved(p), moved(n)).item() == doctest::Approx(triplet(a, p, n).item()));
    CHECK(triplet_cosine(3.0 * a, 0.1 * p, 7.0 * n).item() == doctest::Approx(triplet_cosine(a, p, n).item()));
  }

  TEST_CASE("at the corner of the hinge the gradient passes, as in PyTorch") {
    const Tensor a = matrix({0, 0}, 1), p = matrix({1, 0}, 1), n = matrix({0, 2}, 1);  // 1 - 2 + 1 = 0
    for (const Form form : {Form::closed, Form::definition}) {
      const auto f = [&](const Tensor& x) { return triplet(x, p, n, {.form = form}); };
      CHECK(f(a).item() == 0);
      CHECK(slopes(a, f) == Values{-1, 1});
    }
  }

  TEST_CASE("1 - cos keeps its digits in f32 for vectors that are nearly parallel") {
    const Tensor a = matrix({1, 0}, 1), p = matrix({1, 1e-5}, 1), n = matrix({1, 2e-5}, 1);
    const auto gap = [&](DType t) {
      return triplet_cosine(a.to(t), n.to(t), p.to(t), {.margin = 0}).item();  // 2e-10 - 0.5e-10
    };
    CHECK(gap(DType::f64) == doctest::Approx(1.5e-10).epsilon(1e-5));
    CHECK(gap(DType::f32) == doctest::Approx(1.5e-10).epsilon(1e-4));
  }

  TEST_CASE("one tensor in two roles receives both gradients") {
    const Tensor a = between(-1, 1, {3, 2}, 1), n = between(-1, 1, {3, 2}, 3);
    const TripletOptions o{.margin = 9, .reduction = Reduction::sum};
    const Values both = slopes(a, [&](const Tensor& x) { return triplet(n, x, x + 1.0, o) + triplet(x, x, n, o); });
    const Values one = slopes(a, [&](const Tensor&x) { return triplet(n, x, a + 1.0, o); }),
                 two = slopes(a, [&](const Tensor&x) { return triplet(n, a, x + 1.0, o); }),
                 three = slopes(a, [&](const Tensor&x) { return triplet(x, a, n, o); });
    for (std::size_t i = 0; i < 6; ++i) CHECK(both[i] == doctest::Approx(one[i] + two[i] + three[i]));
  }

  TEST_CASE("triplet: what does not fit is an error that names it") {
    const Tensor a = zeros({2, 3});
    CHECK_THROWS_WITH_AS(triplet(a, a, zeros({3, 3})), doctest::Contains("[triplet] needs two tensors of one shape"),
                         Error);
    CHECK_THROWS_WITH_AS(triplet_cosine(a, zeros({2, 4}), a), doctest::Contains("[triplet_cosine] needs two"), Error);
    CHECK_THROWS_WITH_AS(triplet(zeros({3}), zeros({3}), zeros({3})), doctest::Contains("[N,D]"), Error);
    CHECK_THROWS_WITH_AS(triplet(a, a, a, {.margin = -1}), doctest::Contains("margin must be at least 0"), Error);
    CHECK_THROWS_WITH_AS(triplet(a, a, a, {.margin = NaN}), doctest::Contains("margin must be at least 0"), Error);
    CHECK_THROWS_WITH_AS(triplet(a, Tensor(), a), doctest::Contains("an input is undefined"), Error);
  }
}
