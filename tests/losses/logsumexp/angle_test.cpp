// AnglE: two forms and central differences agree, the scores are those of complex division, and what the head promises.
#include "losses/logsumexp/angle.h"

#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <limits>

#include "ops/distance.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// |sum Re + sum Im| of z / w, lengths divided out, in complex arithmetic.
double complex_score(const Values& u, const Values& v) {
  const std::size_t h = u.size() / 2;
  std::complex<double> q = 0;
  double z2 = 0, w2 = 0;
  for (std::size_t j = 0; j < h; ++j) w2 += std::norm(std::complex(v[j], v[j + h]));
  for (std::size_t j = 0; j < h; ++j) {
    const std::complex<double> z(u[j], u[j + h]), w(v[j], v[j + h]);
    q += z * std::conj(w) / w2;
    z2 += std::norm(z);
  }
  q /= std::sqrt(z2) / std::sqrt(w2);
  return std::abs(q.real() + q.imag());
}

Values scores(const Tensor& u, const Tensor& v) { return angle_scores(u, v).to_vector(); }

}  // namespace

TEST_SUITE("angle") {
  TEST_CASE("angle: definition, closed form and central differences agree") { check_losses(angle_losses()); }

  TEST_CASE("by hand: one complex number each") {
    // z = 3 + 4i, w = i: z conj(w) / 5 = (4 - 3i) / 5.
    CHECK(scores(matrix({3, 4}, 1), matrix({0, 1}, 1))[0] == doctest::Approx(.2));
    CHECK(scores(matrix({3, 4}, 1), matrix({3, 4}, 1))[0] == doctest::Approx(1));               // no turn
    CHECK(scores(matrix({1, 1}, 1), matrix({5, 0}, 1))[0] == doctest::Approx(std::sqrt(2.0)));  // the greatest
    CHECK(scores(matrix({1, -1}, 1), matrix({5, 0}, 1))[0] == doctest::Approx(0));
  }

  TEST_CASE("scores are those of complex division, and sqrt 2 times a cosine after a turn by 45 degrees") {
    const Tensor u = distinct({5, 6}), v = distinct({5, 6}, 2);
    const Tensor c = slice(v, 1, 0, 3), d = slice(v, 1, 3, 6), turned = cat({c - d, d + c}, 1);
    const Values got = scores(u, v), cosines = cosine_similarity(u, turned).to_vector();
    for (Index r = 0; r < 5; ++r) {
      CHECK(got[std::size_t(r)] == doctest::Approx(complex_score(u[r].to_vector(), v[r].to_vector())).epsilon(1e-13));
      CHECK(got[std::size_t(r)] == doctest::Approx(std::sqrt(2.0) * std::abs(cosines[std::size_t(r)])).epsilon(1e-13));
    }
  }

  TEST_CASE("the loss is CoSENT of the scores") {
    const Tensor u = distinct({4, 4}), v = distinct({4, 4}, 2), y = vec({0, 2, 1, 2});
    CHECK(angle(u, v, y, {.scale = 7}).item() == cosent(angle_scores(u, v), y, {.scale = 7}).item());
    CHECK(angle(u, v, y).item() ==
          angle(u, v, y, {.scale = 20}).item());  // as sentence-transformers; the authors use 1
    CHECK(angle(u, v, ones({4}, DType::f64)).item() == 0);
    CHECK(angle(zeros({0, 4}), zeros({0, 4}), zeros({0})).item() == 0);
  }

  TEST_CASE("lengths do not count, gradients are orthogonal to their vectors") {
    const Tensor u = distinct({3, 4}), v = distinct({3, 4}, 2), y = vec({0, 2, 1});
    CHECK(angle(3 * u, 0.25 * v, y).item() == doctest::Approx(angle(u, v, y).item()).epsilon(1e-13));
    const Values du = slopes(u, [&](const Tensor& x) { return angle(x, v, y); });
    const Values dv = slopes(v, [&](const Tensor& x) { return angle(u, x, y); });
    for (Index r = 0; r < 3; ++r) {
      double along_u = 0, along_v = 0;
      for (Index j = 0; j < 4; ++j) {
        along_u += du[std::size_t(4 * r + j)] * u.at({r, j});
        along_v += dv[std::size_t(4 * r + j)] * v.at({r, j});
      }
      CHECK(std::abs(along_u) < 1e-13);
      CHECK(std::abs(along_v) < 1e-13);
    }
  }

  TEST_CASE("a zero vector has score 0 and gradient 0, and so has the kink at 0") {
    const Tensor u = matrix({1, 2, 3, 4, 0, 0, 0, 0, 1, 1, -1, -1}, 3),
                 v = matrix({0, 0, 0, 0, 1, 2, 3, 4, 1, 1, 0, 0}, 3);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(angle_scores(u, v, form).to_vector() == Values{0, 0, 0});
      CHECK(slopes(u, [&](const Tensor& x) { return angle_scores(x, v, form); }) == Values(12, 0));
      CHECK(slopes(v, [&](const Tensor& x) { return angle_scores(u, x, form); }) == Values(12, 0));
    }
  }

  TEST_CASE("f32 takes lengths of 1e30 and 1e-30") {
    const Tensor u = distinct({3, 4}).to(DType::f32), v = distinct({3, 4}, 2).to(DType::f32);
    const Values wanted = scores(u, v);
    check_near(scores(u * 1e30, v * 1e-30), wanted, 1e-6);
  }

  TEST_CASE("a row with a NaN scores NaN") {
    CHECK(std::isnan(scores(matrix({NaN, 1}, 1), matrix({1, 2}, 1))[0]));
    CHECK(std::isnan(angle(matrix({NaN, 1, 2, 1}, 2), matrix({1, 2, 3, 1}, 2), vec({0, 1})).item()));
  }

  TEST_CASE("angle: what does not fit is an error that names it") {
    const Tensor u = zeros({3, 4}), y = zeros({3});
    CHECK_THROWS_WITH_AS(angle(u, Tensor(), y), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(angle(u, zeros({2, 4}), y), doctest::Contains("[N,D] of one shape"), Error);
    CHECK_THROWS_WITH_AS(angle(zeros({3, 5}), zeros({3, 5}), y), doctest::Contains("D must be even"), Error);
    CHECK_THROWS_WITH_AS(angle(u, zeros({3, 4}, DType::f64), y), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(angle(u, u, zeros({4})), doctest::Contains("a label for each score"), Error);
    CHECK_THROWS_WITH_AS(angle(u, u, y, {.scale = -1}), doctest::Contains("above 0"), Error);
  }
}
