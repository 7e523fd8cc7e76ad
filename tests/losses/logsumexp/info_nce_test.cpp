// InfoNCE: two forms and central differences agree, its identities with cross entropy and CoSENT, and what its head promises.
#include "losses/logsumexp/info_nce.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "losses/logsumexp/cosent.h"
#include "losses/logsumexp/info_nce_rows.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

const InfoNceOptions rows{.reduction = Reduction::none};

}  // namespace

TEST_SUITE("info_nce") {
  TEST_CASE("info_nce: definition, closed form and central differences agree") { check_losses(info_nce_losses()); }

  TEST_CASE("by hand: two orthogonal pairs that match") {
    const Tensor q = matrix({1, 0, 0, 2}, 2), k = matrix({3, 0, 0, 1}, 2);
    CHECK(info_nce(q, k, {.temperature = 0.5}).item() == doctest::Approx(std::log1p(std::exp(-2.0))).epsilon(1e-14));
    // Crossed: both rows point at the wrong key.
    const Tensor crossed = matrix({0, 1, 3, 0}, 2);
    CHECK(info_nce(q, crossed, {.temperature = 0.5}).item() ==
          doctest::Approx(2 + std::log1p(std::exp(-2.0))).epsilon(1e-14));
  }

  TEST_CASE(
      "it is the cross entropy of the cosines over t with labels 0, 1, 2, ... and symmetric it is the loss of CLIP") {
    const Tensor q = distinct({4, 3}), k = distinct({4, 3}, 2), own = labels({0, 1, 2, 3});
    const Tensor logits = cosine_matrix(q, k) / 0.07;
    const double forwards = cross_entropy(logits, own).item(),
                 back = cross_entropy(transpose(logits, 0, 1), own).item();
    CHECK(info_nce(q, k).item() == doctest::Approx(forwards).epsilon(1e-13));
    CHECK(info_nce(q, k, {.symmetric = true}).item() == doctest::Approx((forwards + back) / 2).epsilon(1e-13));
    CHECK(info_nce(k, q, {.symmetric = true}).item() == doctest::Approx((forwards + back) / 2).epsilon(1e-13));
  }

  TEST_CASE("C13 B077 D10 a row is CoSENT with labels 1, 0, ..., 0 and scale 1 / t") {
    const Tensor q = distinct({6, 4}), k = distinct({6, 4}, 2), cosines = cosine_matrix(q, k);
    InfoNceOptions o = rows;
    o.temperature = .05;
    const Values L = info_nce(q, k, o).to_vector();
    for (Index i = 0; i < 6; ++i) {
      Tensor y = zeros({6}, DType::f64);
      set_value(y, i, 1);
      CHECK(L[std::size_t(i)] == doctest::Approx(cosent(cosines[i], y, {.scale = 20}).item()).epsilon(1e-12));
    }
  }

  TEST_CASE("the gradient of a similarity is (softmax - onehot) / t") {
    const Tensor S = between(-1, 1, {3, 3});
    const Values g = slopes(
        S, [](const Tensor& x) { return info_nce_of_similarity(x, {.temperature = .2, .reduction = Reduction::sum}); });
    const Values p = softmax(S / .2).to_vector();
    for (Index i = 0; i < 9; ++i) {
      CHECK(g[std::size_t(i)] == doctest::Approx((p[std::size_t(i)] - (i % 4 == 0)) / .2).epsilon(1e-12));
    }
  }

  TEST_CASE("all cosines equal give log N, one row 0, no rows 0") {
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(info_nce(ones({5, 2}), ones({5, 2}), {.form = form}).item() == doctest::Approx(std::log(5.0)));
      CHECK(info_nce(distinct({1, 3}), distinct({1, 3}, 2), {.form = form}).item() == 0);
      CHECK(info_nce(zeros({0, 3}), zeros({0, 3}), {.symmetric = true, .form = form}).item() == 0);
    }
  }

  TEST_CASE("ids leave duplicates of the query out of its wrong answers") {
    const Tensor q = distinct({3, 4}), k = distinct({3, 4}, 2), ids = labels({7, 8, 7});
    const Values x = (cosine_matrix(q, k) / 0.5).to_vector();
    InfoNceOptions o{.temperature = 0.5, .ids = ids, .reduction = Reduction::none};
    const Values L = info_nce(q, k, o).to_vector();
    CHECK(L[0] == doctest::Approx(std::log1p(std::exp(x[1] - x[0]))).epsilon(1e-13));
    CHECK(L[1] == doctest::Approx(std::log1p(std::exp(x[3] - x[4]) + std::exp(x[5] - x[4]))).epsilon(1e-13));
    CHECK(L[2] == doctest::Approx(std::log1p(std::exp(x[7] - x[8]))).epsilon(1e-13));
    // A duplicate costs log 2 and more, masked it costs nothing.
    const Tensor two_q = slice(q, 0, 0, 2), two_k = slice(k, 0, 0, 2), q0 = slice(q, 0, 0, 1), k0 = slice(k, 0, 0, 1);
    const Tensor more_q = cat({two_q, q0}), more_k = cat({two_k, k0});
    o.ids = labels({0, 1, 0});
    const double alone = info_nce(two_q, two_k, {.temperature = 0.5, .reduction = Reduction::none}).to_vector()[0];
    CHECK(info_nce(more_q, more_k, o).to_vector()[0] == doctest::Approx(alone).epsilon(1e-13));
    o.ids = {};
    CHECK(info_nce(more_q, more_k, o).to_vector()[0] > std::max(alone, std::log(2.0)));
    CHECK(info_nce(q, k, {.ids = labels({4, 4, 4})}).item() == 0);  // nothing is a wrong answer
    CHECK(info_nce(q, k, {.ids = ids.to(DType::i32)}).item() == info_nce(q, k, {.ids = ids}).item());
  }

  TEST_CASE("lengths do not count, a zero vector has cosine 0 and gradient 0") {
    const Tensor q = distinct({3, 4}), k = distinct({3, 4}, 2);
    CHECK(info_nce(100 * q, 0.01 * k).item() == doctest::Approx(info_nce(q, k).item()).epsilon(1e-13));
    const Tensor with_zero = cat({zeros({1, 4}, DType::f64), slice(q, 0, 1, 3)});
    CHECK(info_nce(with_zero, k, rows).to_vector()[0] == doctest::Approx(std::log(3.0)));
    const Values g = slopes(with_zero, [&](const Tensor& x) { return info_nce(x, k); });
    CHECK(Values(g.begin(), g.begin() + 4) == Values(4, 0));
  }

  TEST_CASE("a loss of 1e-35 is not rounded to 0, neither in f32, and its gradient is there") {
    const Tensor S = tensor({1, -1, -1, 1}, {2, 2});
    const auto f = [](const Tensor& x) {
      return info_nce_of_similarity(x, {.temperature = .025, .reduction = Reduction::sum});
    };
    CHECK(f(S).item() == doctest::Approx(2 * std::exp(-80.0)).epsilon(1e-5));
    const Values g = slopes(S, f);
    CHECK(g[0] == doctest::Approx(-40 * std::exp(-80.0)).epsilon(1e-5));
    CHECK(g[1] == doctest::Approx(40 * std::exp(-80.0)).epsilon(1e-5));
    // And at the other end nothing caps it.
    CHECK(f(-S).item() == doctest::Approx(160));
  }

  TEST_CASE("a row with a NaN poisons the rows that see it") {
    CHECK(std::isnan(info_nce(matrix({NaN, 1, 2, 1}, 2), distinct({2, 2})).item()));
  }

  TEST_CASE("info_nce: what does not fit is an error that names it") {
    const Tensor q = zeros({3, 4});
    CHECK_THROWS_WITH_AS(info_nce(q, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(info_nce(q, zeros({3, 5})), doctest::Contains("[N,D] of one shape"), Error);
    CHECK_THROWS_WITH_AS(info_nce(q, zeros({3, 4}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(info_nce(q, q, {.temperature = 0}), doctest::Contains("temperature must be a finite number"),
                         Error);
    CHECK_THROWS_WITH_AS(info_nce(q, q, {.temperature = NaN}), doctest::Contains("temperature"), Error);
    CHECK_THROWS_WITH_AS(info_nce(q, q, {.ids = labels({1})}), doctest::Contains("an id for each of 3 rows"), Error);
    CHECK_THROWS_WITH_AS(info_nce(q, q, {.ids = zeros({3})}), doctest::Contains("i32 or i64"), Error);
    CHECK_THROWS_WITH_AS(info_nce_of_similarity(q), doctest::Contains("similarity matrix [N,N]"), Error);
    CHECK_THROWS_WITH_AS(info_nce_of_similarity(Tensor()), doctest::Contains("undefined"), Error);
  }
}
