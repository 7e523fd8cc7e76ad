// Span losses summed cell by cell: the normaliser of the seed form, and the focal form.
#include "losses/logsumexp/span_bce.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor upper_labels(Shape shape, Rng& rng) {  // about a fifth of the cells on or above the diagonal
  Tensor t = zeros(shape, DType::f64);
  const Index n = shape[3];
  for (Index k = 0; k < t.numel(); ++k) {
    if (k % n >= k / n % n && rng.uniform() < 0.2) set_value(t, k, 1);
  }
  return t;
}

}  // namespace

TEST_SUITE("span_bce") {
  TEST_CASE("span_bce: definition, closed form and central differences agree") { check_losses(span_bce_losses()); }

  TEST_CASE("by hand: one token, p = 3/4 for a span and for none") {
    const Tensor s = tensor({std::log(3.0)}, {1, 1, 1, 1}, DType::f64);
    const Tensor yes = ones({1, 1, 1, 1}, DType::u8), no = zeros({1, 1, 1, 1}, DType::u8);
    CHECK(bce_global_pointer(s, yes).item() == doctest::Approx(-std::log(0.75)));
    CHECK(bce_global_pointer(s, no).item() == doctest::Approx(-std::log(0.25)));
    CHECK(gp_focal(s, yes).item() == doctest::Approx(-0.0625 * std::log(0.75)));
    CHECK(gp_focal(s, no).item() == doctest::Approx(-0.5625 * std::log(0.25)));
  }

  TEST_CASE("B091 C51 at s = 0 the factor 1/n^2 gives H log 2, valid cells and types give log 2 for any n and H") {
    for (const Index H : {1, 10}) {
      for (const Index n : {5, 128}) {
        const Tensor s = zeros({1, H, n, n}), none = zeros({1, H, n, n}, DType::u8);
        CHECK(bce_global_pointer(s, none).item() == doctest::Approx(double(H) * std::log(2.0)).epsilon(1e-5));
        const BceGlobalPointerOptions right{
            .triangle = true, .normaliser = SpanNormaliser::valid, .per_head = true, .form = Form::closed};
        CHECK(bce_global_pointer(s, none, right).item() == doctest::Approx(std::log(2.0)).epsilon(1e-5));
      }
    }
  }

  TEST_CASE("C52 with 1/n^2 the cells below the diagonal are half of the loss at s = 0") {
    const Tensor s = zeros({1, 1, 128, 128}, DType::f64), none = zeros({1, 1, 128, 128}, DType::u8);
    const double all = bce_global_pointer(s, none).item(),
                 upper = bce_global_pointer(s, none, {.triangle = true}).item();
    CHECK((all - upper) / all == doctest::Approx(0.49609375).epsilon(1e-12));
  }

  TEST_CASE("mask and triangle: only valid cells are summed, each text divided by its own number of them") {
    Rng rng(2);
    const Tensor s = randn({2, 3, 4, 4}, rng, DType::f64), mask = tensor({1, 1, 0, 0, 1, 1, 1, 1}, {2, 4}, DType::f64);
    const Tensor none = zeros({2, 3, 4, 4}, DType::u8);
    double total = 0;
    for (Index b = 0; b < 2; ++b) {
      const Index tokens = b == 0 ? 2 : 4;
      double text = 0;
      for (Index h = 0; h < 3; ++h) {
        for (Index i = 0; i < tokens; ++i) {
          for (Index j = i; j < tokens; ++j) text += std::log1p(std::exp(s.at({b, h, i, j})));
        }
      }
      total += text / (double(tokens * (tokens + 1)) / 2) / 2;
    }
    CHECK(bce_global_pointer(
              s, none, {.mask = mask, .triangle = true, .normaliser = SpanNormaliser::valid, .form = Form::closed})
              .item() == doctest::Approx(total).epsilon(1e-13));
    const Values g =
        slopes(s, [&](const Tensor& x) { return bce_global_pointer(x, none, {.mask = mask, .triangle = true}); });
    for (Index k = 0; k < 96; ++k) {
      const Index i = k / 4 % 4, j = k % 4, tokens = k < 48 ? 2 : 4;
      CHECK((g[std::size_t(k)] == 0) == (i > j || j >= tokens));
    }
  }

  TEST_CASE("B094 with gamma = 0 the focal form is the sum of the binary cross entropies") {
    Rng rng(4);
    const Tensor s = 2 * randn({2, 2, 3, 3}, rng, DType::f64), labels = upper_labels({2, 2, 3, 3}, rng);
    const double bce = bce_global_pointer(s, labels, {.reduction = Reduction::sum}).item() * 9;
    CHECK(gp_focal(s, labels, {.gamma = 0}).item() == doctest::Approx(bce).epsilon(1e-14));
    CHECK(bce == doctest::Approx(sum(softplus((1 - 2 * labels) * s)).item()).epsilon(1e-14));
  }

  TEST_CASE("the focal form never costs more than the binary cross entropy, and a greater gamma costs less") {
    Rng rng(6);
    const Tensor s = 2 * randn({40}, rng, DType::f64), labels = randint(2, {40}, rng);
    double last = inf;
    for (const double gamma : {0.0, 0.5, 1.0, 2.0, 5.0}) {
      const double loss = gp_focal(s, labels, {.gamma = gamma}).item();
      CHECK(loss < last);
      last = loss;
    }
  }

  TEST_CASE("scores of infinity on the right side cost 0 with gradient 0, and f32 keeps a loss of 1e-40") {
    const Tensor labels = tensor({1, 0}, DType::u8);
    for (const double gamma : {0.0, 2.0}) {
      const auto f = [&](const Tensor& x) { return gp_focal(x, labels, {.gamma = gamma}); };
      CHECK(f(vec({inf, -inf})).item() == 0);
      CHECK(slopes(vec({inf, -inf}), f) == Values{0, 0});
      CHECK(f(vec({-1e4, 1e4})).item() == doctest::Approx(2e4));
    }
    const Tensor s = tensor({30.5}), one = tensor({1}, DType::u8);  // 1 - p = e^-30.5, cubed
    CHECK(gp_focal(s, one).item() == doctest::Approx(std::exp(-91.5)).epsilon(1e-3));
  }

  TEST_CASE("what does not fit a cell-wise span loss is an error that names it") {
    const Tensor s = zeros({1, 1, 3, 3}), t = zeros({1, 1, 3, 3});
    CHECK_THROWS_WITH_AS(bce_global_pointer(s, zeros({3, 3})), doctest::Contains("needs scores [B,H,n,n]"), Error);
    CHECK_THROWS_WITH_AS(bce_global_pointer(s, full({1, 1, 3, 3}, 0.5)), doctest::Contains("neither 0 nor 1"), Error);
    CHECK_THROWS_WITH_AS(gp_focal(s, zeros({3, 3})), doctest::Contains("labels of the shape of the scores"), Error);
    CHECK_THROWS_WITH_AS(gp_focal(s, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(gp_focal(s, t, {.gamma = -1}), doctest::Contains("gamma must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(gp_focal(s, t, {.gamma = NaN}), doctest::Contains("gamma must be >= 0"), Error);
  }
}
