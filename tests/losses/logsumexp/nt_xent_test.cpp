// NT-Xent: two forms and central differences agree, printed numbers, and what its head promises.
#include "losses/logsumexp/nt_xent.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "losses/logsumexp/cosent.h"
#include "losses/logsumexp/info_nce_rows.h"
#include "losses/logsumexp/supcon.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("nt_xent") {
  TEST_CASE("nt_xent: definition, closed form and central differences agree") { check_losses(nt_xent_losses()); }

  TEST_CASE("B079 D10 all similarities equal: log(2N - 1)") {
    for (const auto& [N, wanted] : {std::pair{2, 1.0986}, std::pair{4, 1.9459}, std::pair{128, 5.5413}}) {
      const Tensor z = ones({N, 3}, DType::f64);
      const double L = nt_xent(z, z).item();
      CHECK(L == doctest::Approx(std::log(2.0 * N - 1)).epsilon(1e-12));
      CHECK(L == doctest::Approx(wanted).epsilon(1e-4));
    }
  }

  TEST_CASE("C27 B080 the denominator holds the positive: .10426, and -2.20824 without it") {
    // One row whose positive is parallel and whose six negatives are opposite.
    const Tensor z = matrix({1, 0, -1, 0, -1, 0, -1, 0}, 4);
    const Values L = nt_xent(z, z, {.temperature = .5, .reduction = Reduction::none}).to_vector();
    CHECK(L[0] == doctest::Approx(.10426).epsilon(1e-4));
    CHECK(L[4] == doctest::Approx(L[0]).epsilon(1e-14));
    CHECK(std::log(6 * std::exp(-2.0)) - 2 == doctest::Approx(-2.20824).epsilon(1e-5));
    CHECK(cosent(vec({1, -1, -1, -1, -1, -1, -1}), vec({1, 0, 0, 0, 0, 0, 0}), {.scale = 2}).item() ==
          doctest::Approx(L[0]).epsilon(1e-13));
  }

  TEST_CASE("B080 the loss of every row is above 0") {
    for (const int seed : {1, 2, 3}) {
      const Tensor a = between(-1, 1, {5, 3}, seed), b = between(-1, 1, {5, 3}, seed + 10);
      for (const double t : {.05, .5, 5.0}) {
        for (const double L : nt_xent(a, b, {.temperature = t, .reduction = Reduction::none}).to_vector()) CHECK(L > 0);
      }
    }
  }

  TEST_CASE("B077 D10 a row is CoSENT of its 2N - 1 similarities: the row itself is out, the positive is in") {
    const Tensor z1 = distinct({3, 4}), z2 = distinct({3, 4}, 2), z = cat({z1, z2}), S = cosine_matrix(z, z);
    const Values L = nt_xent(z1, z2, {.temperature = .05, .reduction = Reduction::none}).to_vector();
    for (Index i = 0; i < 6; ++i) {
      Values s, y;
      for (Index k = 0; k < 6; ++k) {
        if (k == i) continue;
        s.push_back(S.at({i, k}));
        y.push_back(k == (i + 3) % 6);
      }
      CHECK(L[std::size_t(i)] == doctest::Approx(cosent(vec(s), vec(y), {.scale = 20}).item()).epsilon(1e-12));
    }
  }

  TEST_CASE("B078 D10 the gradient of a similarity is (softmax - onehot) / t") {
    const double t = .4;
    const Tensor S = between(-1, 1, {4, 4});
    const Tensor id = labels({0, 1, 0, 1});
    const Values g =
        slopes(S, [&](const Tensor& x) { return info_nce_rows(x, id, Positives::same_id, t, Form::closed); });
    for (Index i = 0; i < 4; ++i) {
      double all = 0;
      for (Index k = 0; k < 4; ++k) all += k == i ? 0 : std::exp(S.at({i, k}) / t);
      for (Index k = 0; k < 4; ++k) {
        const double p = k == i ? 0 : std::exp(S.at({i, k}) / t) / all, onehot = k == (i + 2) % 4;
        CHECK(g[std::size_t(4 * i + k)] == doctest::Approx((p - onehot) / t).epsilon(1e-12));
      }
    }
  }

  TEST_CASE("it is SupCon with classes of two, and the views may be swapped") {
    const Tensor a = distinct({4, 3}), b = distinct({4, 3}, 2);
    const double L = nt_xent(a, b).item();
    CHECK(supcon(cat({a, b}), labels({0, 1, 2, 3, 0, 1, 2, 3}), {.temperature = .5}).item() ==
          doctest::Approx(L).epsilon(1e-14));
    CHECK(nt_xent(b, a).item() == doctest::Approx(L).epsilon(1e-14));
    CHECK(nt_xent(a, b, {.reduction = Reduction::sum}).item() == doctest::Approx(8 * L).epsilon(1e-14));
  }

  TEST_CASE("one sample: 0, no samples: 0, a zero row: cosine 0 and gradient 0") {
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(nt_xent(distinct({1, 3}), distinct({1, 3}, 2), {.form = form}).item() == 0);
      CHECK(slopes(distinct({1, 3}), [&](const Tensor& x) {
              return nt_xent(x, distinct({1, 3}, 2), {.form = form});
            }) == Values(3, 0));
      CHECK(nt_xent(zeros({0, 3}), zeros({0, 3}), {.form = form}).item() == 0);
      const Tensor z = matrix({0, 0, 1, 2}, 2), other = distinct({2, 2});
      const Values g = slopes(z, [&](const Tensor& x) { return nt_xent(x, other, {.form = form}); });
      CHECK(Values(g.begin(), g.begin() + 2) == Values{0, 0});
      CHECK(nt_xent(z, other, {.reduction = Reduction::none, .form = form}).to_vector()[0] ==
            doctest::Approx(std::log(3.0)));
    }
  }

  TEST_CASE("nothing caps the loss: positives opposite at t = .01 cost 200") {
    const Tensor z1 = tensor({1, 0, -1, 0}, {2, 2}), z2 = tensor({-1, 0, 1, 0}, {2, 2});
    CHECK(nt_xent(z1, z2, {.temperature = .01}).item() == doctest::Approx(200).epsilon(1e-6));
  }

  TEST_CASE("nt_xent: what does not fit is an error that names it") {
    const Tensor z = zeros({3, 4});
    CHECK_THROWS_WITH_AS(nt_xent(z, zeros({2, 4})), doctest::Contains("[nt_xent] needs two tensors [N,D]"), Error);
    CHECK_THROWS_WITH_AS(nt_xent(z, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(nt_xent(z, z, {.temperature = -1}), doctest::Contains("[nt_xent] the temperature"), Error);
  }
}
