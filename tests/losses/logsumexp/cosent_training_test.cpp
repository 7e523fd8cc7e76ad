// CoSENT in training: batches, chunks and accumulation, the scale and its schedule.
#include <doctest/doctest.h>

#include "engine/backward.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "tests/losses/logsumexp/cosent_tools.h"

using namespace gradus;
using namespace cosent_tools;

TEST_SUITE("cosent/training") {
  TEST_CASE("B071 C17 496, 2016 and 8128 are the pairs of 32, 64 and 128 texts, but CoSENT compares pairs of pairs") {
    const auto pairs = [](Index n) { return n * (n - 1) / 2; };
    CHECK(pairs(32) == 496);
    CHECK(pairs(64) == 2016);
    CHECK(pairs(128) == 8128);
    CHECK(pairs(pairs(128)) == 33028128);
    // Equal scores show how many comparisons there are: e^L - 1.
    const Index P = pairs(6);
    const double L = cosent(zeros({P}, DType::f64), arange(P, DType::f64)).item();
    CHECK(std::expm1(L) == doctest::Approx(double(pairs(P))).epsilon(1e-12));
  }

  TEST_CASE("B072 C16 a similarity matrix of 128 takes 64 KiB, 48 MiB is the product that broadcasting would make") {
    const Tensor embeddings = zeros({128, 768}), S = cosine_matrix(embeddings, embeddings);
    CHECK(S.numel() * Index(size_of(S.dtype())) == 65536);
    CHECK(embeddings.numel() * Index(size_of(embeddings.dtype())) == 393216);
    CHECK(S.numel() * 768 * 4 == 50331648);
  }

  TEST_CASE("C18 B073 D08 accumulated halves are not the batch: the comparisons between them are lost") {
    const Values s = random(8, 11), y = random(8, 12, 0, 1);
    const Values s1(s.begin(), s.begin() + 4), s2(s.begin() + 4, s.end()), y1(y.begin(), y.begin() + 4),
        y2(y.begin() + 4, y.end());
    CHECK(comparisons(s, y, 1).size() == 28);
    CHECK(comparisons(s1, y1, 1).size() + comparisons(s2, y2, 1).size() == 12);
    const double full = value(s, y, 5), halves = value(s1, y1, 5) + value(s2, y2, 5);
    CHECK(std::abs(full - halves) > 1);
    CHECK(std::abs(full - halves / 2) > 1);
    Values parts = gradient(s1, y1, 5);
    for (const double g : gradient(s2, y2, 5)) parts.push_back(g);
    CHECK(cosine(gradient(s, y, 5), parts) < 0.9);
  }

  TEST_CASE(
      "C19 B074 D08 streaming logaddexp over all pairs of chunks is the loss, over different chunks only is not") {
    const Values s = random(8, 11), y = grades(8, 13);
    const auto log_add_exp = [](double a, double b) { return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b))); };
    // 5 chunks of at most 2; the comparisons of chunk a with chunk b enter together.
    const auto chunk = [](std::size_t i) { return i < 6 ? i / 2 : i - 3; };
    double all = 0, between_chunks = 0;  // log 1
    for (std::size_t a = 0; a < 5; ++a) {
      for (std::size_t b = 0; b < 5; ++b) {
        for (std::size_t i = 0; i < 8; ++i) {
          for (std::size_t j = 0; j < 8; ++j) {
            if (chunk(i) != a || chunk(j) != b || !(y[i] > y[j])) continue;
            all = log_add_exp(all, 5 * (s[j] - s[i]));
            if (a != b) between_chunks = log_add_exp(between_chunks, 5 * (s[j] - s[i]));
          }
        }
      }
    }
    CHECK(all == doctest::Approx(value(s, y, 5)).epsilon(1e-12));
    CHECK(between_chunks < all - 1e-4);
    // The gradient from the streamed total: one denominator e^L.
    Values g(8, 0);
    for (std::size_t i = 0; i < 8; ++i) {
      for (std::size_t j = 0; j < 8; ++j) {
        if (!(y[i] > y[j])) continue;
        const double w = 5 * std::exp(5 * (s[j] - s[i]) - all);
        g[i] -= w, g[j] += w;
      }
    }
    check_near(gradient(s, y, 5), g, 1e-12);
  }

  TEST_CASE("C21 B075 the cosine schedule goes from high to low and knows no initial scale") {
    const Values at{0, .25, .5, .75, 1};
    Values scales;
    for (const double t : at) scales.push_back(cosent_scale_schedule(t, 1));
    check_near(scales, {50, 44.142, 30, 15.858, 10}, 1e-4);
    CHECK(scales[0] == 50);  // the sharpest comes first, whatever `init` said
    CHECK(cosent_scale_schedule(3, 12, 5, 9) == doctest::Approx(7 + std::sqrt(2.0)));
    CHECK_THROWS_WITH_AS(cosent_scale_schedule(2, 1), doctest::Contains("0 <= epoch <= epochs"), Error);
    CHECK_THROWS_WITH_AS(cosent_scale_schedule(0, 1, 5, 4), doctest::Contains("0 < low <= high"), Error);
  }

  TEST_CASE("C22 B076 softplus(3) + 10 is a scale of 13.0486, not e^3 nor 20, and always above 10") {
    const Tensor s = vec(printed_scores), y = vec(printed_labels);
    const auto learned = [&](double raw) { return cosent_learnable_scale(s, y, scalar(raw, DType::f64)).item(); };
    CHECK(learned(3) == doctest::Approx(value(printed_scores, printed_labels, 13.048587)).epsilon(1e-7));
    CHECK(learned(9.99995) == doctest::Approx(value(printed_scores, printed_labels, 20)).epsilon(1e-5));
    CHECK(learned(-50) == doctest::Approx(value(printed_scores, printed_labels, 10)).epsilon(1e-12));
  }

  TEST_CASE("C23 on scores that are ordered well the scale grows without limit, on reversed ones it shrinks") {
    const auto slope = [](const Values& s, double k) {
      return slopes(scalar(k, DType::f64), [&](const Tensor& x) {
        return cosent_scaled(vec(s), vec({1, .5, 0}), x);
      })[0];
    };
    CHECK(slope({.9, .5, .1}, 20) == doctest::Approx(-2.7e-4).epsilon(0.01));
    CHECK(slope({.1, .5, .9}, 20) == doctest::Approx(.79973).epsilon(1e-4));
    for (const double k : {1.0, 50.0, 400.0}) CHECK(slope({.9, .5, .1}, k) < 0);
  }

  TEST_CASE("the initial scale is alpha over the standard deviation of the scores") {
    CHECK(cosent_initial_scale(vec({.1, .3, .5}), 3) == doctest::Approx(15));
    CHECK_THROWS_WITH_AS(cosent_initial_scale(vec({.1, .1})), doctest::Contains("all scores are equal"), Error);
    CHECK_THROWS_WITH_AS(cosent_initial_scale(vec({.1})), doctest::Contains("N >= 2"), Error);
    CHECK_THROWS_WITH_AS(cosent_initial_scale(vec({.1, .2}), 0), doctest::Contains("alpha"), Error);
  }
}
