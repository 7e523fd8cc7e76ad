// Small-loss selection: who learns from which rows, what is divided by what.
#include "losses/schemes/selection.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// Two classes, label 0 for all rows; network 1 finds row 0 easy, network 2 row 1.
const Tensor mine = matrix({4, 0, 1, 0, -2, 0}, 3), peer = matrix({0.5, 0, 3, 0, -1, 0}, 3),
             all_zero = labels({0, 0, 0});

double ce(double gap) { return std::log1p(std::exp(-gap)); }

}  // namespace

TEST_SUITE("selection") {
  TEST_CASE("selection: definition, closed form and central differences agree") { check_losses(selection_losses()); }

  TEST_CASE("co-teaching: each network learns from the row that its peer finds easiest") {
    const CoTeachingOptions o{.keep = 1.0 / 3};
    CHECK(co_teaching(mine, peer, all_zero, o).item() == doctest::Approx(ce(1) + ce(0.5)));
    const Values g = slopes(mine, [&](const Tensor& z) { return co_teaching(z, peer, all_zero, o); });
    check_near(g, {0, 0, -1 / (1 + std::exp(1.0)), 1 / (1 + std::exp(1.0)), 0, 0}, 1e-15);
    const Values h = slopes(peer, [&](const Tensor& z) { return co_teaching(mine, z, all_zero, o); });
    CHECK(h[0] < 0);
    CHECK(h[2] == 0);
  }

  TEST_CASE("all rows kept: co-teaching is the sum of two plain losses, and so is JoCoR without agreement") {
    const double both = cross_entropy(mine, all_zero).item() + cross_entropy(peer, all_zero).item();
    CHECK(co_teaching(mine, peer, all_zero, {.keep = 1}).item() == doctest::Approx(both).epsilon(1e-15));
    CHECK(jocor(mine, peer, all_zero, {.keep = 1, .lambda = 0}).item() == doctest::Approx(both).epsilon(1e-15));
  }

  TEST_CASE("the mean is over the rows kept, once: repeating the batch changes neither loss nor step") {
    const auto twice = [](const Tensor& x) {
      Values v = x.to_vector(), w = v;
      v.insert(v.end(), w.begin(), w.end());
      return x.rank() == 2 ? matrix(v, 2 * x.size(0)) : tensor(v, DType::i64);
    };
    const CoTeachingOptions o{.keep = 0.67};
    CHECK(co_teaching(twice(mine), twice(peer), twice(all_zero), o).item() ==
          doctest::Approx(co_teaching(mine, peer, all_zero, o).item()));
    // The authors' code divides the mean by the number kept again: half the loss here, a quarter there.
    const double kept = 2, theirs = co_teaching(mine, peer, all_zero, o).item() / kept;
    CHECK(theirs == doctest::Approx(0.5 * co_teaching(mine, peer, all_zero, o).item()));
  }

  TEST_CASE("how many are kept: the floor of keep N, not a rounding less, and at least one") {
    Rng rng(1);
    const auto kept = [&](Index N, double keep) {
      const Tensor z = randn({N, 2}, rng, DType::f64), y = zeros({N}, DType::i64);
      double count = 0;
      for (const double v : jocor(z, z, y, {.keep = keep, .reduction = Reduction::none}).to_vector()) count += v > 0;
      return Index(count);
    };
    CHECK(0.29 * 100 < 29);
    CHECK(kept(100, 0.29) == 29);
    CHECK(kept(10, 0.7) == 7);
    CHECK(kept(10, 0.99) == 9);
    CHECK(kept(3, 0.01) == 1);
    CHECK(kept(3, 1) == 3);
  }

  TEST_CASE("JoCoR by hand: probabilities (.8, .2) and (.5, .5)") {
    const Tensor a = matrix({std::log(4.0), 0}, 1), b = matrix({0, 0}, 1);
    const double kl12 = 0.8 * std::log(1.6) + 0.2 * std::log(0.4), kl21 = -0.5 * std::log(1.6) - 0.5 * std::log(0.4);
    CHECK(jocor(a, b, labels({0}), {.lambda = 0.25}).item() ==
          doctest::Approx(0.75 * (-std::log(0.8) - std::log(0.5)) + 0.25 * (kl12 + kl21)));
    // Agreement is symmetric in the networks, and 0 with gradient 0 where they agree.
    CHECK(jocor(b, a, labels({0})).item() == doctest::Approx(jocor(a, b, labels({0})).item()));
    CHECK(jocor(a, a, labels({0}), {.lambda = 1}).item() == 0);
    CHECK(slopes(a, [&](const Tensor& z) { return jocor(z, a, labels({0}), {.lambda = 1}); }) == Values(2, 0));
  }

  TEST_CASE("JoCoR selects by the joint loss: two sure networks that disagree are left out") {
    const Tensor one = matrix({5, 0, 1, 0}, 2), two = matrix({0, 5, 1, 0}, 2), y = labels({0, 0});
    const Values rows = jocor(one, two, y, {.keep = 0.5, .reduction = Reduction::none}).to_vector();
    CHECK(rows[0] == 0);
    CHECK(rows[1] > 0);
  }

  TEST_CASE("on linear data with 40 percent flipped labels the small losses are the clean rows") {
    Rng rng(2);
    const Index N = 200;
    Tensor x = randn({N, 1}, rng, DType::f64), z = zeros({N, 2}, DType::f64);
    std::vector<Index> y;
    std::vector<bool> clean;
    for (Index i = 0; i < N; ++i) {
      set_value(z, 2 * i + 1, 4 * value_at(x, i));  // a network that has learnt the rule y = [x > 0]
      clean.push_back(rng.uniform() >= 0.4);
      y.push_back(Index((value_at(x, i) > 0) == clean.back()));
    }
    const Values rows = co_teaching(z, z, labels(y), {.keep = 0.5, .reduction = Reduction::none}).to_vector();
    double chosen = 0, right = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] > 0) ++chosen, right += clean[i];
    }
    CHECK(chosen == 100);
    CHECK(right == 100);
  }

  TEST_CASE("the kept share falls from all to the clean share over the first epochs") {
    CHECK(keep_rate(0, 0.4) == 1);
    CHECK(keep_rate(5, 0.4) == doctest::Approx(0.8));
    CHECK(keep_rate(10, 0.4) == doctest::Approx(0.6));
    CHECK(keep_rate(99, 0.4) == doctest::Approx(0.6));
    CHECK(keep_rate(0, 0.4, 0) == doctest::Approx(0.6));
  }

  TEST_CASE("ties go to the lower row, NaN and infinity come last, in both ways of counting") {
    CHECK(least_mask(vec({1, 1, 1, 1}), 2).to_vector() == Values{1, 1, 0, 0});
    CHECK(least_mask(vec({1, 1, 1, 1}), 2, Form::definition).to_vector() == Values{1, 1, 0, 0});
    CHECK(least_mask(vec({NaN, inf, 3, -1}), 3).to_vector() == Values{0, 1, 1, 1});
    CHECK(least_mask(vec({2}), 5).to_vector() == Values{1});
    CHECK(least_mask(vec({}), 5).numel() == 0);
  }

  TEST_CASE("a row of infinite loss that is not selected costs nothing") {
    const Tensor z = matrix({-inf, 0, 1, 0}, 2), y = labels({0, 0});
    CHECK(co_teaching(z, z, y, {.keep = 0.5}).item() == doctest::Approx(2 * ce(1)));
    CHECK(slopes(z, [&](const Tensor& x) { return co_teaching(x, x, y, {.keep = 0.5}); })[0] == 0);
  }

  TEST_CASE("selection: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), y = labels({0, 1});
    CHECK_THROWS_WITH_AS(co_teaching(z, zeros({2, 2}), y), doctest::Contains("one shape from both networks"), Error);
    CHECK_THROWS_WITH_AS(co_teaching(z, zeros({2, 3}, DType::f64), y), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(co_teaching(z, Tensor(), y), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(co_teaching(z, z, labels({0, 3})), doctest::Contains("label 3"), Error);
    CHECK_THROWS_WITH_AS(co_teaching(z, z, y, {.keep = 0}), doctest::Contains("keep must lie in (0,1]"), Error);
    CHECK_THROWS_WITH_AS(jocor(z, z, y, {.lambda = -0.1}), doctest::Contains("lambda must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(keep_rate(1, 1), doctest::Contains("noise in [0,1)"), Error);
    CHECK_THROWS_WITH_AS(least_mask(z, 1), doctest::Contains("needs losses [N]"), Error);
    CHECK_THROWS_WITH_AS(least_mask(vec({1}), -1), doctest::Contains("must not be negative"), Error);
  }
}
