// Wasserstein distances of points: linear program, sorted walk and central differences agree, and what the head promises.
#include "losses/transport/wasserstein.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

double w(const Tensor& x, const Tensor& y, Wasserstein1dOptions o = {}) { return wasserstein_1d(x, y, o).item(); }

}  // namespace

TEST_SUITE("wasserstein") {
  TEST_CASE("wasserstein: definition, closed form and central differences agree") {
    check_losses(wasserstein_losses());
  }

  TEST_CASE("by hand: 0, 1, 3 against 5, 6, 8 is a shift by 5, in whatever order") {
    const Tensor x = vec({3, 0, 1}), y = vec({5, 6, 8});
    CHECK(w(x, y) == doctest::Approx(5.0));
    CHECK(w(x, y, {.p = 2}) == doctest::Approx(5.0));
    CHECK(w(x, y, {.p = 2, .power = true}) == doctest::Approx(25.0));
    check_near(slopes(x, [&](const Tensor& t) { return wasserstein_1d(t, y); }), Values(3, -1.0 / 3), 1e-15);
    check_near(slopes(y, [&](const Tensor& t) { return wasserstein_1d(x, t, {.p = 2, .power = true}); }),
               Values(3, 10.0 / 3), 1e-14);
    // Unequal sizes: half of the mass at 0 stays, half goes to 2.
    CHECK(w(vec({0}), vec({0, 2})) == doctest::Approx(1.0));
    CHECK(w(vec({0}), vec({0, 2}), {.p = 2}) == doctest::Approx(std::sqrt(2.0)));
  }

  TEST_CASE("weights count as repetitions, and only their ratios count") {
    const Tensor x = vec({0, 1.5, 4}), y = vec({2, 3});
    const double repeated = w(vec({0, 1.5, 1.5, 4}), vec({2, 3, 3, 3}), {.p = 2});
    CHECK(w(x, y, {.p = 2, .wx = vec({1, 2, 1}), .wy = vec({1, 3})}) == doctest::Approx(repeated).epsilon(1e-14));
    CHECK(w(x, y, {.p = 2, .wx = vec({5, 10, 5}), .wy = vec({.25, .75})}) == doctest::Approx(repeated).epsilon(1e-14));
  }

  TEST_CASE("A042 B045 W1 and W2 are metrics: zero on equal clouds, symmetric, triangle, W1 <= W2") {
    for (int seed = 1; seed < 12; ++seed) {
      const Tensor x = between(-2, 2, {6}, seed), y = between(-1, 3, {4}, seed + 20),
                   z = between(-3, 1, {5}, seed + 40);
      for (const Index p : {1, 2}) {
        const Wasserstein1dOptions o{.p = p};
        CHECK(w(x, x, o) == 0);
        CHECK(w(x, y, o) == doctest::Approx(w(y, x, o)).epsilon(1e-14));
        CHECK(w(x, z, o) <= w(x, y, o) + w(y, z, o) + 1e-14);
        CHECK(w(x, y, o) >= std::abs(mean(x).item() - mean(y).item()) - 1e-14);
        CHECK(w(x + 10.0, y + 10.0, o) == doctest::Approx(w(x, y, o)).epsilon(1e-13));
      }
      CHECK(w(x, y) <= w(x, y, {.p = 2}) + 1e-14);
    }
    // The square of W2 is none.
    const Wasserstein1dOptions squared{.p = 2, .power = true};
    CHECK(w(vec({0}), vec({2}), squared) > w(vec({0}), vec({1}), squared) + w(vec({1}), vec({2}), squared));
  }

  TEST_CASE("B045 a point at 1/n goes to 0 in W1, while the KL divergence of the two stays infinite") {
    for (const double n : {1.0, 100.0, 1e6}) CHECK(w(vec({1 / n}), vec({0})) == doctest::Approx(1 / n));
    CHECK(cross_entropy(matrix({0, -inf}, 1), labels({1})).item() == inf);
  }

  TEST_CASE("ties have subgradient 0, and equal clouds gradient 0 for every p") {
    const Tensor x = vec({1, 2, 2}), y = vec({2, 1, 2});
    for (const Form form : {Form::closed, Form::definition}) {
      for (const Index p : {1, 2}) {
        const auto f = [&](const Tensor& t) { return wasserstein_1d(t, y, {.p = p, .form = form}); };
        CHECK(f(x).item() == 0);
        CHECK(slopes(x, f) == Values(3, 0));
      }
    }
  }

  TEST_CASE("wasserstein: what does not fit is an error that names it") {
    const Tensor x = vec({0, 1}), y = vec({1, 2, 3});
    const auto f = [](const Tensor& a, const Tensor& b, const Wasserstein1dOptions& o = {}) {
      return wasserstein_1d(a, b, o);
    };
    CHECK_THROWS_WITH_AS(f(Tensor(), y), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(f(vec({}), y), doctest::Contains("n, m >= 1"), Error);
    CHECK_THROWS_WITH_AS(f(x, y.to(DType::f32)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(f(x, y, {.p = 3}), doctest::Contains("p must be 1 or 2, got 3"), Error);
    CHECK_THROWS_WITH_AS(f(x, y, {.wx = y}), doctest::Contains("wx must hold a weight for each point, [2]"), Error);
    CHECK_THROWS_WITH_AS(f(x, y, {.wy = vec({1, -1, 1})}), doctest::Contains("wy must be finite and >= 0"), Error);
    CHECK_THROWS_WITH_AS(f(x, y, {.wx = vec({0, 0})}), doctest::Contains("is 0 everywhere"), Error);
  }
}
