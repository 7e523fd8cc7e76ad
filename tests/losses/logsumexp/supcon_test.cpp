// SupCon: two forms and central differences agree, values by hand, and what its head promises.
#include "losses/logsumexp/supcon.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/logsumexp/info_nce_rows.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values rows(const Tensor& x, const Tensor& y, double t) {
  return supcon(x, y, {.temperature = t, .reduction = Reduction::none}).to_vector();
}

}  // namespace

TEST_SUITE("supcon") {
  TEST_CASE("supcon: definition, closed form and central differences agree") { check_losses(supcon_losses()); }

  TEST_CASE("by plain loops: the mean over the positives stands outside the logarithm") {
    const Tensor x = distinct({6, 3}), y = labels({2, 0, 2, 2, 0, 1}), S = cosine_matrix(x, x);
    const double t = .3;
    const Values L = rows(x, y, t);
    double total = 0;
    for (Index i = 0; i < 6; ++i) {
      double all = 0, positives = 0, sum = 0;
      for (Index k = 0; k < 6; ++k) all += k == i ? 0 : std::exp(S.at({i, k}) / t);
      for (Index k = 0; k < 6; ++k) {
        if (k == i || value_at(y, k) != value_at(y, i)) continue;
        ++positives;
        sum -= std::log(std::exp(S.at({i, k}) / t) / all);
      }
      CHECK(L[std::size_t(i)] == doctest::Approx(positives > 0 ? sum / positives : 0).epsilon(1e-12));
      total += L[std::size_t(i)];
    }
    CHECK(L[5] == 0);  // the only one of its class
    CHECK(supcon(x, y, {.temperature = t}).item() == doctest::Approx(total / 5).epsilon(1e-13));
    CHECK(supcon(x, y, {.temperature = t, .reduction = Reduction::sum}).item() ==
          doctest::Approx(total).epsilon(1e-13));
  }

  TEST_CASE("a row without positives is a candidate all the same, and gets a gradient as one") {
    const Tensor x = distinct({3, 2}), y = labels({4, 4, 9});
    const Values g = slopes(x, [&](const Tensor& e) { return supcon(e, y); });
    CHECK(std::abs(g[4]) + std::abs(g[5]) > 1e-3);
    CHECK(supcon(x, y).item() > supcon(slice(x, 0, 0, 2), labels({4, 4})).item());
  }

  TEST_CASE("no positives anywhere: 0 with gradient 0, in both forms, not NaN") {
    const Tensor x = distinct({3, 2});
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(supcon(x, labels({0, 1, 2}), {.form = form}).item() == 0);
      CHECK(slopes(x, [&](const Tensor& e) { return supcon(e, labels({0, 1, 2}), {.form = form}); }) == Values(6, 0));
      CHECK(supcon(zeros({0, 2}), labels({}), {.form = form}).item() == 0);
      CHECK(supcon(distinct({1, 2}), labels({0}), {.form = form}).item() == 0);
    }
  }

  TEST_CASE("L is at least log of the number of positives, reached where they share the probability") {
    const Tensor x = matrix({1, 0, 1, 0, 1, 0, -1, 0, -1, 0}, 5), y = labels({0, 0, 0, 1, 1});
    const Values L = rows(x, y, .05);
    CHECK(L[0] == doctest::Approx(std::log(2.0)).epsilon(1e-14));
    CHECK(L[3] == doctest::Approx(3 * std::exp(-40.0)).epsilon(1e-10));
    for (const int seed : {1, 2, 3}) CHECK(rows(distinct({5, 3}, seed), y, .2)[1] >= std::log(2.0));
    // With two positives the gradient of their similarities is p - 1/2.
    const Values g = slopes(zeros({3, 3}, DType::f64), [](const Tensor& s) {
      return info_nce_rows(s, labels({0, 0, 0}), Positives::same_id, 1, Form::closed);
    });
    CHECK(g == Values(9, 0));
  }

  TEST_CASE("only which labels are equal counts, and the order of rows does not") {
    const Tensor x = distinct({4, 3});
    const double L = supcon(x, labels({0, 1, 0, 1})).item();
    CHECK(supcon(x, labels({-7, 99, -7, 99})).item() == L);
    CHECK(supcon(x, labels({0, 1, 0, 1}).to(DType::i32)).item() == L);
    const Tensor turned = cat({slice(x, 0, 2, 4), slice(x, 0, 0, 2)});
    CHECK(supcon(turned, labels({0, 1, 0, 1})).item() == doctest::Approx(L).epsilon(1e-14));
    CHECK(supcon(50 * x, labels({0, 1, 0, 1})).item() == doctest::Approx(L).epsilon(1e-13));
  }

  TEST_CASE("supcon: what does not fit is an error that names it") {
    const Tensor x = zeros({3, 4});
    CHECK_THROWS_WITH_AS(supcon(x, labels({0, 1})), doctest::Contains("a label for each row: embeddings f32 [3,4]"),
                         Error);
    CHECK_THROWS_WITH_AS(supcon(x, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(supcon(x, zeros({3})), doctest::Contains("i32 or i64"), Error);
    CHECK_THROWS_WITH_AS(supcon(x, labels({0, 1, 0}), {.temperature = 0}), doctest::Contains("temperature"), Error);
  }
}
