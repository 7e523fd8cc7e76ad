// CoSENT: two forms and central differences agree, the printed numbers, and what the head promises.
#include <doctest/doctest.h>

#include "engine/backward.h"
#include "losses/logsumexp/ranked.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "tests/losses/logsumexp/cosent_tools.h"

using namespace gradus;
using namespace cosent_tools;

TEST_SUITE("cosent") {
  TEST_CASE("cosent: definition, closed form and central differences agree") { check_losses(cosent_losses()); }

  TEST_CASE("by hand: two scores the wrong way round") {
    CHECK(value({.1, .3}, {1, 0}, 5) == doctest::Approx(std::log(1 + std::exp(1.0))).epsilon(1e-15));
    const double sigma = 1 / (1 + std::exp(-1.0));
    check_near(gradient({.1, .3}, {1, 0}, 5), {-5 * sigma, 5 * sigma}, 1e-14);
  }

  TEST_CASE("B061 C08 D05 a score is pulled from both sides: the printed gradient of three scores") {
    check_near(gradient(printed_scores, printed_labels, 2), {-1.379949, .577324, .802625}, 1e-6);
    check_near(gradient(printed_scores, printed_labels, 20), {-19.993, 19.634, .360}, 1e-3);
    // The upper role alone turns the middle score the wrong way and lets the last one be.
    check_near(upper_role(printed_scores, printed_labels, 2, true), {-1.37995, -.24883, 0}, 1e-5);
    check_near(upper_role(printed_scores, printed_labels, 20, true), {-19.993, -.0001, 0}, 1e-3);
  }

  TEST_CASE("B061 D05 gradients sum to 0 and their sizes to at most 2 k (1 - e^-L)") {
    for (const int seed : {1, 2, 3}) {
      const Values s = random(9, seed), y = grades(9, seed + 10);
      for (const double k : {1.0, 20.0, 200.0}) {
        const Values g = gradient(s, y, k);
        CHECK(std::abs(total(g)) < 1e-12 * k);
        double sizes = 0;
        for (const double v : g) sizes += std::abs(v);
        CHECK(sizes <= 2 * k * -std::expm1(-value(s, y, k)) * (1 + 1e-12));
      }
    }
  }

  TEST_CASE("C09 the weights of the pairs sum to 1 - e^-L, not to 1: what is ordered well stops pushing") {
    const double L = value(printed_scores, printed_labels, 2);
    CHECK(L == doctest::Approx(1.68412).epsilon(1e-5));
    CHECK(-total(upper_role(printed_scores, printed_labels, 2, true)) / 2 ==
          doctest::Approx(-std::expm1(-L)).epsilon(1e-14));
    CHECK(-std::expm1(-L) == doctest::Approx(.81439).epsilon(1e-5));
    CHECK(upper_role(printed_scores, printed_labels, 2, false)[0] == doctest::Approx(-1.69445).epsilon(1e-5));
    // One comparison, ordered by .5: weight 4.5e-5. Normalised without the 1 it is 1 for ever.
    CHECK(gradient({.9, .4}, {1, 0}, 20)[0] / -20 == doctest::Approx(4.53979e-5).epsilon(1e-5));
    CHECK(upper_role({.9, .4}, {1, 0}, 20, false)[0] / -20 == 1);
    check_near(gradient({.5, .5}, {1, 0}, 20), {-10, 10}, 1e-14);
    CHECK(upper_role({.5, .5}, {1, 0}, 20, false)[0] == -20);
  }

  TEST_CASE("C10 B063 the gradient of a vector is that of its cosine, signed, over its length") {
    const Tensor u = distinct({4, 3}), v = distinct({4, 3}, 2);
    const Values y{.9, .1, .5, .3};
    const Tensor cosines = cosine_similarity(u, v);
    const Values g = gradient(cosines.to_vector(), y, 5);
    const Values got = slopes(u, [&](const Tensor& x) { return cosent_embeddings(x, v, vec(y), {.scale = 5}); });
    const Values one_sided = upper_role(cosines.to_vector(), y, 5, false);
    Values right, source;
    for (Index r = 0; r < 4; ++r) {
      double a = 0, b = 0;
      for (Index d = 0; d < 3; ++d) a += u.at({r, d}) * u.at({r, d}), b += v.at({r, d}) * v.at({r, d});
      a = std::sqrt(a), b = std::sqrt(b);
      for (Index d = 0; d < 3; ++d) {
        const double away = v.at({r, d}) / b - value_at(cosines, r) * u.at({r, d}) / a;
        right.push_back(g[std::size_t(r)] * away / a);
        source.push_back(one_sided[std::size_t(r)] * away);  // -k p (u_j - s u_i)
      }
    }
    check_near(got, right, 1e-13);
    double gap = 0;
    for (std::size_t i = 0; i < got.size(); ++i) gap = std::max(gap, std::abs(got[i] - source[i]));
    CHECK(gap > 0.5);
  }

  TEST_CASE("B062 C11 the gradient of a cosine is orthogonal to u, and v - cos u only if both have length 1") {
    Tensor u = vec({.6, .8, 0}), v = vec({1, 2, -2});
    const auto slope = [&] { return slopes(u, [&](const Tensor& x) { return cosine_similarity(x, v); }); };
    const auto short_form = [&] {
      const double c = cosine_similarity(u, v).item();
      Values out;
      for (Index d = 0; d < 3; ++d) out.push_back(value_at(v, d) - c * value_at(u, d));
      return out;
    };
    Values g = slope();
    const Values half = short_form();
    CHECK(std::abs(.6 * g[0] + .8 * g[1]) < 1e-15);
    const double c = cosine_similarity(u, v).item();
    CHECK(std::hypot(g[0], g[1], g[2]) == doctest::Approx(std::sqrt(1 - c * c)).epsilon(1e-14));  // sin / |u|
    CHECK(std::abs(half[2] - g[2]) > 0.5);
    v = v / 3;
    g = slope();
    check_near(g, short_form(), 1e-15);
  }

  TEST_CASE("B064 log sum e^x = M + log sum e^(x - M) holds at 1e4 and -1e4") {
    for (const double at : {1e4, -1e4}) {
      const Values x{at, at + 1, at - 2};
      const double wanted = at + std::log(1 + std::exp(1.0) + std::exp(-2.0));
      std::vector<double> out;
      const ranked::Order order = ranked::order_of(vec({0, 0, 0, 1}));
      ranked::exclusive_logsumexp(order, ranked::Side::lower, {x[0], x[1], x[2], 0}, out);
      CHECK(out[3] == doctest::Approx(wanted).epsilon(1e-14));
      CHECK(out[0] == -inf);
    }
  }

  TEST_CASE("B065 C12 D06 scale 50, scores -1 and 1 in f32: loss 100 and gradient 50, no overflow") {
    const Tensor s = tensor({-1, 1}), y = tensor({1, 0});
    CHECK(cosent(s, y, {.scale = 50}).item() == doctest::Approx(100).epsilon(1e-6));
    check_near(gradient({-1, 1}, {1, 0}, 50, DType::f32), {-50, 50}, 1e-6);
    CHECK(cosent(s, y, {.scale = 44}).item() == doctest::Approx(88).epsilon(1e-6));
    CHECK(cosent(s, y, {.scale = 1e30}).item() == doctest::Approx(2e30).epsilon(1e-6));
    // log(1 + e^M sum e^(x - M)), called stable in the source, overflows where e^M does: above 88.72 in f32, 709.8 in f64.
    const auto source = [](auto M) { return std::log(1 + std::exp(M)); };
    CHECK(source(88.f) == doctest::Approx(88));
    CHECK(std::isinf(source(90.f)));
    CHECK(std::isnan(std::exp(100.f) / (1 + std::exp(100.f))));  // its gradient
    CHECK(std::isinf(source(800.0)));
    CHECK(value({0, 800}, {1, 0}, 1) == doctest::Approx(800));
    // At the other end it loses all digits.
    CHECK(source(-20.f) == 0);
    CHECK(source(-40.0) == 0);
    CHECK(cosent(tensor({1, 0}), y, {.scale = 20}).item() == doctest::Approx(2.0611536e-9).epsilon(1e-6));
    CHECK(value({1, 0}, {1, 0}, 40) == doctest::Approx(4.248354e-18).epsilon(1e-6));
    CHECK(gradient({1, 0}, {1, 0}, 20, DType::f32)[1] == doctest::Approx(20 * 2.0611536e-9).epsilon(1e-6));
  }

  TEST_CASE("D06 nothing to compare: exactly 0 with gradient 0, in both forms") {
    for (const Form form : {Form::closed, Form::definition}) {
      for (const Index n : {0, 1, 4}) {
        const Tensor s = between(-1, 1, {n}), y = full({n}, .9, DType::f64);
        CHECK(cosent(s, y, {.form = form}).item() == 0);
        if (n)
          CHECK(slopes(s, [&](const Tensor& x) { return cosent(x, y, {.form = form}); }) == Values(std::size_t(n), 0));
      }
    }
  }

  TEST_CASE("C13 B077 D10 InfoNCE of one anchor is CoSENT with scale 1 / tau") {
    const Values sims{.71, .55, .68, -.2, .4, .1};
    const double tau = .05;
    double denominator = 0;
    for (const double s : sims) denominator += std::exp(s / tau);
    const double info_nce = -std::log(std::exp(sims[0] / tau) / denominator);
    CHECK(value(sims, {1, 0, 0, 0, 0, 0}, 1 / tau) == doctest::Approx(info_nce).epsilon(1e-13));
    CHECK(std::abs(value(sims, {1, 0, 0, 0, 0, 0}, tau) - info_nce) > 1);  // the scale is no temperature
    const Values g = gradient(sims, {1, 0, 0, 0, 0, 0}, 1 / tau);          // (softmax - onehot) / tau
    for (std::size_t i = 0; i < sims.size(); ++i) {
      CHECK(g[i] == doctest::Approx((std::exp(sims[i] / tau) / denominator - (i == 0)) / tau).epsilon(1e-12));
    }
  }

  TEST_CASE("C14 B070 a batch of high similarities has a loss unless all labels tie") {
    CHECK(value({.85, .85, .85, .85}, {.81, .85, .9, .95}, 20) == doctest::Approx(std::log(7.0)).epsilon(1e-14));
    CHECK(value({.85, .85, .85, .85}, {.9, .9, .9, .9}, 20) == 0);
  }

  TEST_CASE("B069 all scores equal: log(1 + comparisons)") {
    CHECK(value(Values(6, .3), {1, 0, 0, 0, 0, 0}, 20) == doctest::Approx(1.791759).epsilon(1e-6));
    CHECK(value(Values(9, -.3), grades(9, 3), 7) ==
          doctest::Approx(std::log1p(double(comparisons(Values(9, 0), grades(9, 3), 1).size()))).epsilon(1e-14));
  }

  TEST_CASE("B066 C15 D07 L / k approaches the worst violation from above, within log(1 + pairs) / k") {
    for (const int seed : {1, 2, 3, 4}) {
      const Values s = random(6, seed), y = grades(6, seed + 20);
      const double pairs = double(comparisons(s, y, 1).size());
      for (const double k : {1.0, 10.0, 100.0, 1000.0}) {
        const double excess = value(s, y, k) / k - worst(s, y);
        CHECK(excess >= -1e-9);
        CHECK(excess <= std::log1p(pairs) / k + 1e-9);
      }
    }
    CHECK(worst({.9, .5, .1}, {1, .5, 0}) == 0);  // nothing violated: the maximum over all ordered pairs and 0
    CHECK(value({.9, .5, .1}, {1, .5, 0}, 1000) / 1000 < 1e-12);
  }

  TEST_CASE("B067 D07 only the order of labels counts, and a shift of all scores changes nothing") {
    const Values s = random(7, 5), y = grades(7, 6);
    Values bent = y, moved = s;
    for (double& v : bent) v = std::exp(3 * v) - 100;
    for (double& v : moved) v += 0.25;
    CHECK(value(s, bent, 20) == value(s, y, 20));
    CHECK(gradient(s, bent, 20) == gradient(s, y, 20));
    CHECK(value(moved, y, 20) == doctest::Approx(value(s, y, 20)).epsilon(1e-12));
    Values reversed_s(s.rbegin(), s.rend()), reversed_y(y.rbegin(), y.rend());
    CHECK(value(reversed_s, reversed_y, 20) == doctest::Approx(value(s, y, 20)).epsilon(1e-14));
  }

  TEST_CASE("labels of any type rank alike, and -0 ties with 0") {
    const Values s = random(5, 7);
    const Tensor whole = labels({3, -1, 0, 3, -7});
    const double wanted = cosent(vec(s), whole).item();
    for (const DType t : {DType::i32, DType::f32, DType::f64}) CHECK(cosent(vec(s), whole.to(t)).item() == wanted);
    const double bytes = cosent(vec(s), tensor({7, 2, 3, 7, 0}, DType::u8)).item();
    CHECK(bytes == cosent(vec(s), vec({7, 2, 3, 7, 0})).item());
    CHECK(value({.3, .1}, {-0.0, 0.0}, 20) == 0);
    CHECK(cosent(tensor({.3, .1}), tensor({-0.0, 0.0})).item() == 0);
  }

  TEST_CASE("B068 L >= log(1 + inversions)") {
    for (int seed = 1; seed <= 100; ++seed) {
      const Values s = random(8, seed), y = grades(8, seed + 500);
      double inversions = 0;
      for (const double c : comparisons(s, y, 1)) inversions += c >= 0;
      CHECK(value(s, y, 1 + seed % 30) >= std::log1p(inversions) - 1e-12);
    }
  }

  TEST_CASE("scale 1000 in f32: value and gradient are those of f64") {
    const Tensor s = between(-1, 1, {40}, 3), y = vec(grades(40, 4));
    const auto f = [&](const Tensor& x) { return cosent(x, y.to(x.dtype()), {.scale = 1e3}); };
    const Tensor rounded = s.to(DType::f32);
    const Values wide = slopes(rounded.to(DType::f64), f), narrow = slopes(rounded, f);
    for (std::size_t i = 0; i < wide.size(); ++i)
      CHECK(std::abs(narrow[i] - wide[i]) <= 1e-6 * std::abs(wide[i]) + 1e-37);
  }

  TEST_CASE("scores that rise by hundreds from label to label lose nothing") {
    const Values s{5000, -3000, 0, 700, -1200, 1250}, y{0, 1, 2, 3, 4, 5};
    CHECK(value(s, y, 1) == cosent(vec(s), vec(y), {.scale = 1, .form = Form::definition}).item());
    check_near(
        gradient(s, y, 1),
        slopes(vec(s), [&](const Tensor& x) { return cosent(x, vec(y), {.scale = 1, .form = Form::definition}); }),
        1e-12);
    const Values up{-900, -500, -100, 300, 700};  // each lower one far below: the sums must not vanish
    CHECK(value(up, {0, 1, 2, 3, 4}, 1) < 1e-100);
    CHECK(value(up, {0, 1, 2, 3, 4}, 1) > 0);
  }

  TEST_CASE("time and memory grow with N log N: 200000 scores, forwards and backwards") {
    const Index N = 200000;
    Tensor s = between(-1, 1, {N}).to(DType::f32).requires_grad_(), y = between(0, 1, {N}, 2).to(DType::f32);
    Tape tape;
    const Tensor L = cosent(s, y);  // the pair matrix would take 160 GB
    backward(L);
    CHECK(L.item() > 40);
    CHECK(L.item() < 40 + 2 * std::log(double(N)));
    CHECK(std::abs(total(s.grad().to_vector())) < 1e-3);
  }

  TEST_CASE("NaN in, NaN out") {
    CHECK(std::isnan(value({.1, NaN, .2}, {0, 1, 2}, 20)));
    CHECK(std::isnan(value({NaN, .1, .2}, {0, 1, 2}, 20)));
  }

  TEST_CASE("cosent: what does not fit is an error that names it") {
    const Tensor s = zeros({3}), y = zeros({3});
    CHECK_THROWS_WITH_AS(cosent(s, zeros({2})), doctest::Contains("scores f32 [3] and labels f32 [2]"), Error);
    CHECK_THROWS_WITH_AS(cosent(zeros({3, 1}), zeros({3, 1})), doctest::Contains("must both be [N]"), Error);
    CHECK_THROWS_WITH_AS(cosent(s, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(cosent(labels({1, 2, 3}), y), doctest::Contains("scores of f32 or f64"), Error);
    CHECK_THROWS_WITH_AS(cosent(s, tensor({0, NaN, 1})), doctest::Contains("label 1 is NaN"), Error);
    CHECK_THROWS_WITH_AS(cosent(s, y, {.scale = 0}), doctest::Contains("above 0, got 0"), Error);
    CHECK_THROWS_WITH_AS(cosent(s, y, {.scale = NaN}), doctest::Contains("above 0"), Error);
    CHECK_THROWS_WITH_AS(cosent_scaled(s, y, scalar(-1)), doctest::Contains("above 0, got -1"), Error);
    CHECK_THROWS_WITH_AS(cosent_scaled(s, y, zeros({2})), doctest::Contains("one number []"), Error);
    CHECK_THROWS_WITH_AS(cosent_learnable_scale(s, y, Tensor()), doctest::Contains("raw is undefined"), Error);
    CHECK_THROWS_WITH_AS(cosent_embeddings(zeros({3, 2}), zeros({3, 4}), y), doctest::Contains("[N,D] of one shape"),
                         Error);
  }
}
