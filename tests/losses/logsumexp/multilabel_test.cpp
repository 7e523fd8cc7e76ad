// Multi-label cross entropy with hard labels: its three faces, its bounds, its threshold, its degenerate rows.
#include "losses/logsumexp/multilabel.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& s, const Tensor& labels, const MultilabelOptions& o = {}) {
  return slopes(s, [&](const Tensor& x) { return multilabel_ce(x, labels, o); });
}

}  // namespace

TEST_SUITE("multilabel") {
  TEST_CASE("multilabel: definition, closed form and central differences agree") { check_losses(multilabel_losses()); }

  TEST_CASE("by hand: a positive at 0 and a negative at log 2 cost log 2 + log 3") {
    const Tensor s = matrix({0, std::log(2.0)}, 1), t = matrix({1, 0}, 1);
    CHECK(multilabel_ce(s, t).item() == doctest::Approx(std::log(6.0)));
    check_near(gradient(s, t), {-1.0 / 2, 2.0 / 3}, 1e-15);
  }

  TEST_CASE("B095 B114 D11 two logarithms are one log-sum-exp over 0, s_n, -s_p and all s_n - s_p") {
    Rng rng(1);
    for (int draw = 0; draw < 20; ++draw) {
      const Values n = (2 * randn({4}, rng, DType::f64)).to_vector(), p = (2 * randn({3}, rng, DType::f64)).to_vector();
      double S = 0, N = 0, P = 0;
      for (const double a : n) N += std::exp(a);
      for (const double b : p) P += std::exp(-b);
      for (const double a : n) {
        for (const double b : p) S += std::exp(a - b);
      }
      const Tensor s = matrix({n[0], p[0], n[1], n[2], p[1], n[3], p[2]}, 1), t = matrix({0, 1, 0, 0, 1, 0, 1}, 1);
      check_near(multilabel_ce(s, t).item(), std::log1p(N + P + S), 1e-12);
      check_near(multilabel_ce(s, t).item(), std::log((1 + N) * (1 + P)), 1e-12);
    }
  }

  TEST_CASE("B096 D11 it is never above the sum of the binary cross entropies") {
    Rng rng(2);
    const Tensor s = 3 * randn({300, 6}, rng, DType::f64);
    const Tensor t = randint(2, {300, 6}, rng).to(DType::f64);
    const Values loss = multilabel_ce(s, t, {.reduction = Reduction::none}).to_vector(),
                 bce = sum(softplus((1 - 2 * t) * s), {1}).to_vector();
    for (std::size_t r = 0; r < loss.size(); ++r) CHECK(loss[r] <= bce[r] + 1e-12);
  }

  TEST_CASE("B097 it is at least log(1 + FP) + log(1 + FN) of the threshold 0") {
    Rng rng(3);
    const Tensor s = 3 * randn({400, 7}, rng, DType::f64);
    const Tensor t = randint(2, {400, 7}, rng).to(DType::f64);
    const Values loss = multilabel_ce(s, t, {.reduction = Reduction::none}).to_vector();
    const Tensor above = greater(s, zeros({}, DType::f64)).to(DType::f64);
    const Values fp = sum(above * (1 - t), {1}).to_vector(), fn = sum((1 - above) * t, {1}).to_vector();
    for (std::size_t r = 0; r < loss.size(); ++r) CHECK(loss[r] >= std::log1p(fp[r]) + std::log1p(fn[r]));
  }

  TEST_CASE(
      "B118 with bias b and margin m a negative is at its threshold at b - m, a positive at b + m: the gap is 2 m") {
    const double b = 0.75, m = 1.5;
    const MultilabelOptions o{.bias = b, .margin = m};
    CHECK(multilabel_ce(matrix({b - m}, 1), matrix({0}, 1), o).item() == doctest::Approx(std::log(2.0)));
    CHECK(multilabel_ce(matrix({b + m}, 1), matrix({1}, 1), o).item() == doctest::Approx(std::log(2.0)));
    const Tensor s = distinct({3, 4}), t = matrix({1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1}, 3);
    CHECK(multilabel_ce(s + b, t, {.bias = b}).item() == doctest::Approx(multilabel_ce(s, t).item()).epsilon(1e-13));
  }

  TEST_CASE("each side's gradient stays below 1, however many classes there are") {
    const Tensor s = zeros({1, 5000}, DType::f64);
    Tensor t = zeros({1, 5000}, DType::f64);
    for (const Index c : {3, 700, 4999}) set_value(t, c, 1);
    const Values g = gradient(s, t);
    double up = 0, down = 0;
    for (const double v : g) (v < 0 ? up : down) += v;
    CHECK(up == doctest::Approx(-3.0 / 4));
    CHECK(down == doctest::Approx(4997.0 / 4998));
  }

  TEST_CASE("f32 adds 65536 equal terms without losing digits") {
    const Tensor s = full({1, 65536}, 0.3), t = zeros({1, 65536}, DType::u8);
    const double exact = std::log1p(65536 * std::exp(0.3)), share = std::exp(0.3 - exact);
    CHECK(multilabel_ce(s, t).item() == doctest::Approx(exact).epsilon(1e-6));
    CHECK(gradient(s, t)[77] == doctest::Approx(share).epsilon(2e-6));
  }

  TEST_CASE("only right, only wrong, no class at all: the empty side costs nothing") {
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(multilabel_ce(matrix({1, 2}, 1), matrix({1, 1}, 1), {.form = form}).item() ==
            doctest::Approx(std::log1p(std::exp(-1.0) + std::exp(-2.0))));
      CHECK(multilabel_ce(matrix({1, 2}, 1), matrix({0, 0}, 1), {.form = form}).item() ==
            doctest::Approx(std::log1p(std::exp(1.0) + std::exp(2.0))));
      CHECK(multilabel_ce(zeros({3, 0}), zeros({3, 0}), {.form = form}).item() == 0);
      CHECK(multilabel_ce(zeros({0, 3}), zeros({0, 3}), {.form = form}).item() == 0);
    }
  }

  TEST_CASE("a masked class counts nowhere, whatever its score and label, and its gradient is exactly 0") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor s = matrix({1, NaN, -2, inf}, 1), t = matrix({1, 7, 0, NaN}, 1), mask = matrix({1, 0, 1, 0}, 1);
      const MultilabelOptions o{.mask = mask, .form = form};
      CHECK(multilabel_ce(s, t, o).item() == doctest::Approx(std::log1p(std::exp(-1.0)) + std::log1p(std::exp(-2.0))));
      const Values g = gradient(s, t, o);
      CHECK(g[1] == 0);
      CHECK(g[3] == 0);
      CHECK(g[0] < 0);
    }
  }

  TEST_CASE("labels of any type mean the same, and a negative at -inf costs nothing") {
    const Tensor s = matrix({0.5, -inf, -1}, 1), t = matrix({1, 0, 0}, 1);
    for (const DType type : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8}) {
      CHECK(multilabel_ce(s, t.to(type)).item() ==
            doctest::Approx(std::log1p(std::exp(-0.5)) + std::log1p(std::exp(-1.0))));
      CHECK(gradient(s, t.to(type))[1] == 0);
    }
  }

  TEST_CASE("f32 at scores of 1e4 and at a loss of 1e-30") {
    const Tensor s = matrix({1e4, 9999.5, -1e4, 70, -69, -71}, 2), t = matrix({0, 0, 1, 1, 0, 0}, 2);
    const MultilabelOptions rows{.reduction = Reduction::none};
    const Values wide = multilabel_ce(s, t, rows).to_vector(),
                 narrow = multilabel_ce(s.to(DType::f32), t, rows).to_vector();
    CHECK(wide[0] == doctest::Approx(20000 + std::log1p(std::exp(-0.5))).epsilon(1e-12));
    CHECK(wide[1] == doctest::Approx(std::exp(-70.0) + std::exp(-69.0) + std::exp(-71.0)).epsilon(1e-10));
    for (const std::size_t r : {0, 1}) CHECK(narrow[r] == doctest::Approx(wide[r]).epsilon(2e-5));
    const Values g = gradient(s, t, rows), g32 = gradient(s.to(DType::f32), t, rows);
    for (std::size_t i = 0; i < g.size(); ++i) CHECK(std::abs(g32[i] - g[i]) <= 2e-5 * std::abs(g[i]));
  }

  TEST_CASE("a permutation of the classes permutes the gradient and nothing else") {
    const Values g = gradient(matrix({.1, -2, 3, .7}, 1), matrix({0, 1, 0, 1}, 1)),
                 h = gradient(matrix({3, .7, .1, -2}, 1), matrix({0, 1, 0, 1}, 1));
    check_near(h, {g[2], g[3], g[0], g[1]}, 1e-14);
  }

  TEST_CASE("what does not fit multilabel_ce is an error that names it") {
    const Tensor s = zeros({2, 3}), t = zeros({2, 3});
    CHECK_THROWS_WITH_AS(multilabel_ce(s, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce(s, zeros({3, 2})), doctest::Contains("needs scores [N,C] and labels"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce(zeros({3}), zeros({3})), doctest::Contains("needs scores [N,C]"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce(s, full({2, 3}, 0.5)), doctest::Contains("soft labels are for"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce(s, full({2, 3}, NaN)), doctest::Contains("neither 0 nor 1"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce(s, t, {.mask = zeros({3})}), doctest::Contains("needs a mask"), Error);
    CHECK_THROWS_WITH_AS(multilabel_ce(s, t, {.margin = NaN}), doctest::Contains("must be finite"), Error);
  }

  TEST_CASE("multilabel: blocks without a positive, with one, and with a class left out") {
    Rng rng(7);
    const Tensor x = randn({2, 3500}, rng, DType::f64);
    Tensor labels = zeros({2, 3500}, DType::f64), mask = ones({2, 3500});
    set_value(labels, 1500, 1);         // row 0, second block
    set_value(labels, 3500 + 3499, 1);  // row 1, last block
    set_value(mask, 2100, 0);           // row 0, third block
    const auto value = [&](const Tensor& z, Form form) {
      return multilabel_ce(z, labels, {.mask = mask, .form = form});
    };
    CHECK(value(x, Form::closed).item() == doctest::Approx(value(x, Form::definition).item()).epsilon(1e-12));
    check_near(slopes(x, [&](const Tensor& z) { return value(z, Form::closed); }),
               slopes(x, [&](const Tensor& z) { return value(z, Form::definition); }), 1e-12);
  }
}
