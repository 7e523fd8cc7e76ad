// The sum of CoSENT and InfoNCE: two forms and central differences agree, and what its head promises.
#include "losses/logsumexp/hybrid.h"

#include <doctest/doctest.h>

#include "losses/logsumexp/cosent.h"
#include "losses/logsumexp/info_nce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("hybrid") {
  TEST_CASE("hybrid: definition, closed form and central differences agree") { check_losses(hybrid_losses()); }

  TEST_CASE("it is the weighted sum of its terms, with alpha 0.7 by default") {
    const Tensor u = distinct({4, 3}), v = distinct({4, 3}, 2), y = vec({.2, .9, .5, .5});
    const double first = cosent_embeddings(u, v, y).item(), second = info_nce(u, v, {.temperature = .05}).item();
    CHECK(hybrid(u, v, y).item() == doctest::Approx(.7 * first + .3 * second).epsilon(1e-13));
    CHECK(hybrid(u, v, y, {.alpha = 1}).item() == doctest::Approx(first).epsilon(1e-13));
    CHECK(hybrid(u, v, y, {.alpha = 0}).item() == doctest::Approx(second).epsilon(1e-13));
    const Values whole = slopes(u, [&](const Tensor& x) { return hybrid(x, v, y); });
    const Values a = slopes(u, [&](const Tensor& x) { return cosent_embeddings(x, v, y); });
    const Values b = slopes(u, [&](const Tensor& x) { return info_nce(x, v, {.temperature = .05}); });
    for (std::size_t i = 0; i < whole.size(); ++i)
      CHECK(whole[i] == doctest::Approx(.7 * a[i] + .3 * b[i]).epsilon(1e-11));
  }

  TEST_CASE("pairs below positive_from are candidates, but match nobody") {
    const Tensor u = distinct({4, 3}), v = distinct({4, 3}, 2), y = vec({.2, .9, .5, .5});
    const Values rows = info_nce(u, v, {.temperature = .05, .reduction = Reduction::none}).to_vector();
    CHECK(hybrid(u, v, y, {.alpha = 0, .positive_from = .5}).item() ==
          doctest::Approx((rows[1] + rows[2] + rows[3]) / 3).epsilon(1e-13));
    CHECK(hybrid(u, v, y, {.alpha = 0, .positive_from = 2}).item() == 0);
  }

  TEST_CASE("nothing to compare: 0") {
    CHECK(hybrid(distinct({1, 3}), distinct({1, 3}, 2), vec({1})).item() == 0);
    CHECK(hybrid(zeros({0, 3}), zeros({0, 3}), zeros({0})).item() == 0);
  }

  TEST_CASE("hybrid: what does not fit is an error that names it") {
    const Tensor u = zeros({3, 4}), y = zeros({3});
    CHECK_THROWS_WITH_AS(hybrid(u, zeros({3, 2}), y), doctest::Contains("[hybrid] needs two tensors [N,D]"), Error);
    CHECK_THROWS_WITH_AS(hybrid(u, u, zeros({2})), doctest::Contains("a label for each pair, [3]"), Error);
    CHECK_THROWS_WITH_AS(hybrid(u, u, Tensor()), doctest::Contains("got undefined"), Error);
    CHECK_THROWS_WITH_AS(hybrid(u, u, y, {.alpha = 1.5}), doctest::Contains("alpha must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(hybrid(u, u, y, {.scale = 0}), doctest::Contains("scale"), Error);
    CHECK_THROWS_WITH_AS(hybrid(u, u, y, {.temperature = 0}), doctest::Contains("temperature"), Error);
    CHECK_THROWS_WITH_AS(hybrid(u, u, y, {.positive_from = NaN}), doctest::Contains("positive_from"), Error);
  }
}
