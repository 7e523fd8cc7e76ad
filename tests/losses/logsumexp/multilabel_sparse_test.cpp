// Multi-label cross entropy from indices: equal to the dense form at any margin, where the usual subtraction fails.
#include "losses/logsumexp/multilabel_sparse.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/logsumexp/multilabel.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor indices(const std::vector<Index>& v, Index rows) { return labels(v).reshape({rows, Index(v.size()) / rows}); }
Values gradient(const Tensor& s, const Tensor& t, const MultilabelSparseOptions& o = {}) {
  return slopes(s, [&](const Tensor& x) { return multilabel_ce_sparse(x, t, o); });
}

// One row as the ports do it: the complement as all - right.
Tensor by_subtraction(const Tensor& s, Index right) {
  const Tensor zero = zeros({1}, s.dtype()), x = slice(s, 0, right, right + 1);
  const Tensor all = logsumexp(cat({s, zero}), 0), rest = clamp(1 - exp(logsumexp(x, 0) - all), 1e-7, 1);
  return all + log(rest) + logsumexp(cat({-x, zero}), 0);
}

}  // namespace

TEST_SUITE("multilabel_sparse") {
  TEST_CASE("multilabel_sparse: definition, closed form and central differences agree") {
    check_losses(multilabel_sparse_losses());
  }

  TEST_CASE("it is multilabel_ce of the same labels: value and gradient") {
    Rng rng(1);
    const Tensor s = 3 * randn({40, 9}, rng, DType::f64), t = randint(9, {40, 4}, rng);
    Tensor dense = zeros({40, 9}, DType::u8);
    for (Index k = 0; k < 160; ++k) set_value(dense, k / 4 * 9 + Index(value_at(t, k)), 1);
    CHECK(multilabel_ce_sparse(s, t).item() == doctest::Approx(multilabel_ce(s, dense).item()).epsilon(1e-14));
    check_near(gradient(s, t), slopes(s, [&](const Tensor& x) { return multilabel_ce(x, dense); }), 1e-14);
  }

  TEST_CASE("a margin of 20 in f32: loss log 11 and gradient -2e-9, where subtraction gives 3.88 and +1") {
    Tensor s = zeros({1, 11});
    set_value(s, 0, 20);
    const Tensor t = indices({0}, 1);
    CHECK(multilabel_ce_sparse(s, t).item() == doctest::Approx(2.3978953).epsilon(1e-6));
    const Values g = gradient(s, t);
    CHECK(g[0] == doctest::Approx(-2.0611537e-9).epsilon(1e-4));
    for (std::size_t c = 1; c < 11; ++c) CHECK(g[c] == doctest::Approx(1.0 / 11).epsilon(1e-6));

    const Tensor row = s.reshape({11});
    CHECK(by_subtraction(row, 0).item() == doctest::Approx(3.88).epsilon(0.01));
    const Values wrong = slopes(row, [](const Tensor& x) { return by_subtraction(x, 0); });
    CHECK(wrong[0] == doctest::Approx(1).epsilon(1e-3));
    CHECK(wrong[1] < 1e-8);
  }

  TEST_CASE("margins of 12 to 1e4 are exact in f32") {
    for (const double margin : {12.0, 30.0, 90.0, 1000.0, 1e4}) {
      Tensor s = zeros({1, 11});
      set_value(s, 4, margin);
      CHECK(multilabel_ce_sparse(s, indices({4}, 1)).item() == doctest::Approx(std::log(11.0) + std::exp(-margin)));
    }
  }

  TEST_CASE("the order of the labels, a label listed twice and padding change nothing") {
    const Tensor s = distinct({1, 6});
    const double value = multilabel_ce_sparse(s, indices({1, 4}, 1)).item();
    for (const auto& t : {indices({4, 1}, 1), indices({4, 1, 4, 1}, 1), indices({-1, 4, -1, 1}, 1)}) {
      CHECK(multilabel_ce_sparse(s, t).item() == value);
    }
    CHECK(multilabel_ce_sparse(s, indices({4, 1}, 1).to(DType::i32)).item() == value);
  }

  TEST_CASE("no label at all, every class a label, no class") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor s = matrix({1, -2}, 1);
      const double wrong = std::log1p(std::exp(1.0) + std::exp(-2.0)),
                   right = std::log1p(std::exp(-1.0) + std::exp(2.0));
      CHECK(multilabel_ce_sparse(s, indices({-1}, 1), {.form = form}).item() == doctest::Approx(wrong));
      CHECK(multilabel_ce_sparse(s, zeros({1, 0}, DType::i64), {.form = form}).item() == doctest::Approx(wrong));
      CHECK(multilabel_ce_sparse(s, indices({1, 0}, 1), {.form = form}).item() == doctest::Approx(right));
      CHECK(multilabel_ce_sparse(zeros({2, 0}), indices({-1, -1}, 2), {.form = form}).item() == 0);
    }
  }

  TEST_CASE("what does not fit multilabel_ce_sparse is an error that names it") {
    const Tensor s = zeros({2, 3});
    CHECK_THROWS_WITH_AS(multilabel_ce_sparse(s, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce_sparse(s, indices({0, 1, 2}, 3)), doctest::Contains("labels [N,P]"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce_sparse(s, indices({0, 3}, 2)), doctest::Contains("label 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce_sparse(s, indices({0, -2}, 2)), doctest::Contains("label -2 at [1]"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce_sparse(s, zeros({2, 1})), doctest::Contains("i32 or i64"), Error);
  }
}
