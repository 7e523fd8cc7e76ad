// Cosine: the proof, the geometry of its gradient, zero vectors, the neighbour's epsilon, errors.
#include "losses/distance/cosine.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/normalize.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

double inner(const Values& a, const Values& b) {
  double s = 0;
  for (std::size_t k = 0; k < a.size(); ++k) s += a[k] * b[k];
  return s;
}

Values gradient(const Tensor& u, const Tensor& v) {
  return slopes(u, [&](const Tensor& x) { return cosine_similarity(x, v, {}); });
}

// max_k |(v_k - cos(u,v) u_k) - (dcos/du)_k|: the short form against the gradient
double error_of_short_form(const Tensor& u, const Tensor& v) {
  const Values a = u.to_vector(), b = v.to_vector(), g = gradient(u, v);
  const double c = cosine_similarity(u, v, {}).item();
  double worst = 0;
  for (std::size_t k = 0; k < g.size(); ++k) worst = std::max(worst, std::abs(b[k] - c * a[k] - g[k]));
  return worst;
}

}  // namespace

TEST_SUITE("cosine") {
  TEST_CASE("cosine: definition, closed form and central differences agree") { check_losses(cosine_losses()); }

  TEST_CASE("A060 by hand: (1,0) and (3,4) have cosine 0.6, orthogonal vectors 0, opposite ones -1") {
    for (const Form form : {Form::closed, Form::definition}) {
      const CosineOptions o{.form = form};
      CHECK(cosine_similarity(vec({1, 0}), vec({3, 4}), o).item() == doctest::Approx(0.6));
      CHECK(cosine_similarity(vec({1, 0}), vec({0, 4}), o).item() == 0);
      CHECK(cosine_similarity(vec({3, 4}), vec({-6, -8}), o).item() == doctest::Approx(-1));
      CHECK(cosine_similarity(matrix({1, 0, 0, 2}, 2), matrix({2, 0, 1, 1}, 2), o).shape() == Shape{2});
    }
  }

  TEST_CASE("A063 B062 the cosine gradient is orthogonal to u and has length sin / |u|") {
    const Tensor u = between(-1, 1, {6}, 1), v = between(-1, 1, {6}, 2);
    for (const double scale : {1.0, 0.01, 300.0}) {
      const Tensor w = scale * u;
      const Values x = w.to_vector(), g = gradient(w, v);
      const double c = cosine_similarity(w, v, {}).item(), length = std::sqrt(inner(x, x));
      CHECK(std::abs(inner(x, g)) < 1e-14);
      CHECK(std::sqrt(inner(g, g)) == doctest::Approx(std::sqrt(1 - c * c) / length).epsilon(1e-12));
      // Printed in full: v / (|u| |v|) - <u, v> u / (|u|^3 |v|).
      const Values y = v.to_vector();
      const double other = std::sqrt(inner(y, y));
      Values printed(6);
      for (std::size_t k = 0; k < 6; ++k) {
        printed[k] = y[k] / (length * other) - inner(x, y) * x[k] / (length * length * length * other);
      }
      check_near(g, printed, 1e-12);
    }
  }

  TEST_CASE("C11 the short form v - cos u needs both vectors normalised, not u alone") {
    const Tensor u = between(-1, 1, {5}, 3), v = 1.3 * between(-1, 1, {5}, 4);
    const Tensor a = l2_normalize(u), b = l2_normalize(v);
    CHECK(error_of_short_form(a, v) > 0.05);
    CHECK(error_of_short_form(u, b) > 0.05);
    CHECK(error_of_short_form(a, b) < 1e-14);
  }

  TEST_CASE("a zero vector has cosine 0, and neither it nor the other receives a gradient") {
    const Tensor zero = vec({0, 0, 0}), v = vec({1, 2, 3});
    for (const Form form : {Form::closed, Form::definition}) {
      const CosineOptions o{.form = form};
      CHECK(cosine_similarity(zero, v, o).item() == 0);
      CHECK(cosine_similarity(zero, zero, o).item() == 0);
      CHECK(slopes(zero, [&](const Tensor& u) { return cosine_similarity(u, v, o); }) == Values(3, 0));
      CHECK(slopes(v, [&](const Tensor& w) { return cosine_similarity(zero, w, o); }) == Values(3, 0));
    }
  }

  TEST_CASE("the cosine of short vectors is exact, where a floor of 1e-8 under each length shrinks it") {
    const Tensor u = vec({1e-10, 0}), v = vec({1e-10, 0});
    CHECK(cosine_similarity(u, v, {}).item() == doctest::Approx(1));
    const double length = std::max(1e-10, 1e-8);
    CHECK(dot(u, v).item() / (length * length) == doctest::Approx(1e-4));
  }

  TEST_CASE("scaling either vector changes nothing, swapping them neither") {
    const Tensor u = between(-1, 1, {4}, 1), v = between(-1, 1, {4}, 2);
    const double c = cosine_similarity(u, v, {}).item();
    CHECK(cosine_similarity(1e20 * u, 1e-20 * v, {}).item() == doctest::Approx(c).epsilon(1e-14));
    CHECK(cosine_similarity(v, u, {}).item() == doctest::Approx(c).epsilon(1e-14));
    CHECK(cosine_similarity(-1.0 * u, v, {}).item() == doctest::Approx(-c).epsilon(1e-14));
  }

  TEST_CASE("cosine_embedding by hand: cosine 0.6 costs 0.4 when alike, 0.6 less the margin when not") {
    const Tensor a = matrix({1, 0, 1, 0, 1, 0}, 3), b = matrix({3, 4, 3, 4, -3, 4}, 3), y = labels({1, -1, -1});
    for (const Form form : {Form::closed, Form::definition}) {
      check_near(cosine_embedding(a, b, y, {.margin = 0.25, .reduction = Reduction::none, .form = form}).to_vector(),
                 {0.4, 0.35, 0}, 1e-15);
      CHECK(cosine_embedding(a, b, y, {.form = form}).item() == doctest::Approx(1.0 / 3));
    }
    CHECK(cosine_embedding(a, b, y.to(DType::f64)).item() == doctest::Approx(1.0 / 3));
  }

  TEST_CASE("cosine: what does not fit is an error that names it") {
    const Tensor u = vec({1, 2}), x = matrix({1, 2, 3, 4}, 2);
    CHECK_THROWS_WITH_AS(cosine_similarity(u, vec({1, 2, 3}), {}), doctest::Contains("needs two tensors of one shape"),
                         Error);
    CHECK_THROWS_WITH_AS(cosine_similarity(scalar(1), scalar(1), {}), doctest::Contains("needs vectors [..,D]"), Error);
    CHECK_THROWS_WITH_AS(cosine_embedding(u, u, labels({1})), doctest::Contains("needs rows of vectors, [N,D]"), Error);
    CHECK_THROWS_WITH_AS(cosine_embedding(x, x, labels({1})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(cosine_embedding(x, x, Tensor()), doctest::Contains("labels are undefined"), Error);
    CHECK_THROWS_WITH_AS(cosine_embedding(x, x, labels({1, 0})), doctest::Contains("y must be 1 (alike) or -1"), Error);
    CHECK_THROWS_WITH_AS(cosine_embedding(x, x, labels({1, 1}), {.margin = 2}),
                         doctest::Contains("margin must lie in [-1,1]"), Error);
  }
}
