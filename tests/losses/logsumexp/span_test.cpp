// Span losses in the circle form: which cells count, how positives and negatives are balanced, the hardest negatives.
#include "losses/logsumexp/span.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/logsumexp/multilabel.h"
#include "losses/logsumexp/span_bce.h"
#include "ops/math.h"
#include "ops/select.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor map_of(Index n, double value = 0) { return full({1, 1, n, n}, value, DType::f64); }
Tensor map_with(Index n, const std::vector<std::pair<Index, Index>>& spans) {
  Tensor t = map_of(n);
  for (const auto& [i, j] : spans) set_value(t, i * n + j, 1);
  return t;
}
Index count(const Tensor& cells, Cell state) {
  Index found = 0;
  const Tensor host = cells.cpu();
  for (const std::uint8_t c : host.span<std::uint8_t>()) found += c == state;
  return found;
}
struct Pull {
  double up = 0, down = 0;
};
Pull pull(const Values& gradient) {
  Pull p;
  for (const double g : gradient) (g < 0 ? p.up : p.down) += std::abs(g);
  return p;
}

}  // namespace

TEST_SUITE("span") {
  TEST_CASE("span: definition, closed form and central differences agree") { check_losses(span_losses()); }

  TEST_CASE("B089 200 tokens have 20100 spans: 4019 negatives for each of 5 positives, 7999 in the full square") {
    const Tensor labels = map_with(200, {{0, 0}, {3, 9}, {20, 21}, {50, 60}, {199, 199}});
    const Tensor triangle = span_cells("span", labels, {}), square = span_cells("span", labels, {.triangle = false});
    CHECK(count(triangle, positive_cell) + count(triangle, negative_cell) == 20100);
    CHECK(count(triangle, negative_cell) == 4019 * 5);
    CHECK(count(square, negative_cell) == 7999 * 5);
    CHECK(std::abs(200.0 * 200 / (2 * 5) / 4019 - 1) < 0.005);  // the estimate n^2 / 2k
  }

  TEST_CASE("B090 inside the logarithm negatives and positives each pull with less than 1, outside 4019 to 1") {
    const Tensor s = map_of(200), labels = map_with(200, {{0, 0}, {3, 9}, {20, 21}, {50, 60}, {199, 199}});
    CHECK(span_multilabel_ce(s, labels).item() == doctest::Approx(9.90832 + 1.79176).epsilon(1e-5));
    const Pull inside = pull(slopes(s, [&](const Tensor& x) { return span_multilabel_ce(x, labels); }));
    CHECK(inside.down == doctest::Approx(20095.0 / 20096));
    CHECK(inside.up == doctest::Approx(5.0 / 6));
    const Pull outside = pull(
        slopes(s, [&](const Tensor& x) { return bce_global_pointer(x, labels, {.triangle = true}) * (200.0 * 200); }));
    CHECK(outside.down == doctest::Approx(10047.5));
    CHECK(outside.up == doctest::Approx(2.5));
  }

  TEST_CASE("C52 D20 masked cells below the diagonal: 2.8e-7 with the triangle, log 121 = 4.7958 without") {
    const Index n = 16;
    const Tensor labels = map_with(n, {{0, 2}, {5, 5}, {7, 11}});
    Tensor s = map_of(n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = i; j < n; ++j) set_value(s, i * n + j, value_at(labels, i * n + j) == 1 ? 20 : -20);
    }
    CHECK(span_multilabel_ce(s, labels).item() == doctest::Approx(136 * std::exp(-20.0)).epsilon(1e-6));
    CHECK(span_multilabel_ce(s, labels).item() == doctest::Approx(2.8e-7).epsilon(0.01));
    CHECK(span_multilabel_ce(s, labels, {.triangle = false}).item() == doctest::Approx(4.79579).epsilon(1e-5));
    const double below = 127.0 * 128 / 2 / (128 * 128);
    CHECK(below == doctest::Approx(0.496).epsilon(1e-3));
  }

  TEST_CASE(
      "D20 masked cells, padding and cells out of the window add exactly 0, gradient exactly 0, whatever their score") {
    const Index n = 6;
    const Tensor labels = map_with(n, {{1, 2}, {3, 3}}), mask = tensor({1, 1, 1, 1, 1, 0}, {1, n}, DType::f64);
    const SpanOptions o{.mask = mask, .window = 2};
    const Tensor s = distinct({1, 1, n, n});
    const Tensor cells = span_cells("span", labels, o).cpu();
    Tensor spoilt = s.clone();
    for (Index k = 0; k < n * n; ++k) {
      if (cells.data<std::uint8_t>()[k] == left_out_cell) set_value(spoilt, k, k % 3 ? (k % 2 ? inf : -inf) : NaN);
    }
    for (const Form form : {Form::closed, Form::definition}) {
      SpanOptions with = o;
      with.form = form;
      const auto f = [&](const Tensor& x) { return span_multilabel_ce(x, labels, with); };
      CHECK(f(spoilt).item() == f(s).item());
      const Values g = slopes(spoilt, f);
      CHECK(g == slopes(s, f));
      for (Index k = 0; k < n * n; ++k) {
        const bool out = cells.data<std::uint8_t>()[k] == left_out_cell;
        CHECK((g[std::size_t(k)] == 0) == out);
      }
    }
  }

  TEST_CASE("C55 a window by scores of -inf makes a wide span cost infinity, by multiplying NaN, here it is an error") {
    const Tensor labels = map_with(5, {{0, 4}}), s = map_of(5);
    Tensor cut = s.clone();
    set_value(cut, 4, -inf);
    CHECK(span_multilabel_ce(cut, labels).item() == inf);
    CHECK(std::isnan(0 * -inf));
    CHECK_THROWS_WITH_AS(span_multilabel_ce(s, labels, {.window = 3}),
                         doctest::Contains("the label at [0,0,0,4] is wider than the window of 3"), Error);
    CHECK(std::isfinite(span_multilabel_ce(s, labels, {.window = 4}).item()));
  }

  TEST_CASE("B093 C55 a window of 128 leaves 246656 of 1048576 cells, 123840 of them on or above the diagonal") {
    const Tensor labels = zeros({1, 1, 1024, 1024}, DType::u8);
    CHECK(count(span_cells("span", labels, {.triangle = false, .window = 128}), negative_cell) == 246656);
    CHECK(count(span_cells("span", labels, {.window = 128}), negative_cell) == 123840);
  }

  TEST_CASE("B092 C53 a score map takes n^2 4 bytes a type, not n^2 d 4: 1/16 MiB to 4 MiB for 128 to 1024 tokens") {
    double mebibytes = 0.0625;
    for (const Index n : {128, 256, 512, 1024}) {
      const double bytes = double(map_of(n).numel()) * double(size_of(DType::f32));
      CHECK(bytes / 1048576 == mebibytes);
      CHECK(bytes * 64 / 1048576 == 4 * double(n * n) / (128 * 128));  // what the source's table says
      mebibytes *= 4;
    }
  }

  TEST_CASE("types are summed, texts averaged: each map is one multi-label row") {
    Rng rng(3);
    const Tensor s = randn({2, 3, 4, 4}, rng, DType::f64);
    const Tensor labels = equal(randint(4, {2, 3, 4, 4}, rng), zeros({}, DType::i64));
    const double rows =
        multilabel_ce(s.reshape({6, 16}), labels.reshape({6, 16}), {.reduction = Reduction::sum}).item();
    const SpanOptions all{.triangle = false};
    CHECK(span_multilabel_ce(s, labels, all).item() == doctest::Approx(rows / 2).epsilon(1e-14));
  }

  TEST_CASE("labels below the diagonal and on padding count nothing") {
    const Tensor s = map_of(3);
    const double nothing = span_multilabel_ce(s, map_of(3)).item();
    CHECK(span_multilabel_ce(s, map_with(3, {{2, 1}})).item() == nothing);
    const SpanOptions padded{.mask = tensor({1, 1, 0}, {1, 3})};
    CHECK(span_multilabel_ce(s, map_with(3, {{1, 2}}), padded).item() ==
          span_multilabel_ce(s, map_of(3), padded).item());
  }

  TEST_CASE("padding alone and a text of no tokens cost 0") {
    const Tensor padding = zeros({1, 3}, DType::f64);
    CHECK(span_multilabel_ce(map_of(3, 5), map_of(3), {.mask = padding}).item() == 0);
    CHECK(span_multilabel_ce(zeros({2, 2, 0, 0}), zeros({2, 2, 0, 0})).item() == 0);
    CHECK(span_multilabel_ce(zeros({0, 2, 3, 3}), zeros({0, 2, 3, 3})).item() == 0);
  }

  TEST_CASE("hard negatives: the top half by score, and the others have gradient exactly 0") {
    const Tensor s = tensor({9, 1, 4, 0, 3, 2, 0, 0, -1}, {1, 1, 3, 3}, DType::f64), labels = map_with(3, {{0, 0}});
    // Negatives 1, 4, 3, 2, -1: half of five is three of them.
    const auto f = [&](const Tensor& x) { return span_hard_negatives(x, labels, {.percent = 50}); };
    CHECK(f(s).item() ==
          doctest::Approx(std::log1p(std::exp(-9.0)) + std::log1p(std::exp(4.0) + std::exp(3.0) + std::exp(2.0))));
    const Values g = slopes(s, f);
    for (const std::size_t k : {1, 3, 6, 7, 8}) CHECK(g[k] == 0);
    for (const std::size_t k : {2, 4, 5}) CHECK(g[k] > 0);
    CHECK(g[0] < 0);
  }

  TEST_CASE("hard negatives: all of them give the whole loss, fewer never more") {
    Rng rng(5);
    const Tensor s = randn({2, 2, 5, 5}, rng, DType::f64);
    Tensor labels = zeros({2, 2, 5, 5}, DType::u8);
    set_value(labels, 7, 1);
    const double whole = span_multilabel_ce(s, labels).item();
    CHECK(span_hard_negatives(s, labels, {.percent = 100}).item() == doctest::Approx(whole).epsilon(1e-15));
    double last = 0;
    for (const double percent : {1.0, 20.0, 60.0, 100.0}) {
      const double part = span_hard_negatives(s, labels, {.percent = percent}).item();
      CHECK(part >= last);
      last = part;
    }
  }

  TEST_CASE("hard negatives: equal scores are kept in their order") {
    const auto f = [&](const Tensor& x) { return span_hard_negatives(x, map_with(2, {}), {.percent = 34}); };
    check_near(slopes(map_of(2), f), {1.0 / 3, 1.0 / 3, 0, 0}, 1e-15);  // ceil(0.34 * 3) = 2 of (0,0), (0,1), (1,1)
  }

  TEST_CASE("what does not fit a span loss is an error that names it") {
    const Tensor s = map_of(3), t = map_of(3);
    CHECK_THROWS_WITH_AS(span_multilabel_ce(s, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(span_multilabel_ce(s, map_of(2)), doctest::Contains("needs scores [B,H,n,n]"), Error);
    CHECK_THROWS_WITH_AS(span_multilabel_ce(zeros({1, 1, 2, 3}), zeros({1, 1, 2, 3})),
                         doctest::Contains("needs scores [B,H,n,n]"), Error);
    CHECK_THROWS_WITH_AS(span_multilabel_ce(s, t, {.mask = zeros({3})}), doctest::Contains("needs a mask [B,n]"),
                         Error);
    CHECK_THROWS_WITH_AS(span_multilabel_ce(s, t, {.window = -2}), doctest::Contains("got -2"), Error);
    CHECK_THROWS_WITH_AS(span_multilabel_ce(s, map_of(3, 0.5)), doctest::Contains("neither 0 nor 1"), Error);
    CHECK_THROWS_WITH_AS(span_hard_negatives(s, t, {.percent = 0}), doctest::Contains("must lie in (0,100]"), Error);
    CHECK_THROWS_WITH_AS(span_hard_negatives(s, t, {.percent = NaN}), doctest::Contains("must lie in (0,100]"), Error);
  }
}
