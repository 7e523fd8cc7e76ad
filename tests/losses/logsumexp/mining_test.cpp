// Hard comparisons, hard negatives and balanced batches.
#include "losses/logsumexp/mining.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/backward.h"
#include "losses/logsumexp/cosent.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor six_labels() { return labels({0, 0, 1, 1, 2, 2}); }

// How similar sample 0 is to all: 2 and 5 are its hardest negatives.
Tensor six_similarities() {
  Tensor S = zeros({6, 6}, DType::f64);
  const Values first{1, .8, .7, .1, .2, .6};
  for (Index j = 0; j < 6; ++j) set_value(S, j, first[std::size_t(j)]);
  return S;
}

}  // namespace

TEST_SUITE("mining") {
  TEST_CASE("mining: definition, closed form and central differences agree") { check_losses(mining_losses()); }

  TEST_CASE("by hand: the highest of two lower scores") {
    const Tensor s = vec({.1, .5, .3}), y = vec({0, 0, 1});
    CHECK(cosent_hardest(s, y, {.scale = 5, .top_k = 1}).item() ==
          doctest::Approx(std::log1p(std::exp(1.0))).epsilon(1e-14));
    const double sigma = 1 / (1 + std::exp(-1.0));
    check_near(slopes(s, [&](const Tensor& x) { return cosent_hardest(x, y, {.scale = 5, .top_k = 1}); }),
               {0, 5 * sigma, -5 * sigma}, 1e-14);
  }

  TEST_CASE("the restricted loss grows with K up to CoSENT, and is within log(N / K) of it") {
    const Tensor s = between(-1, 1, {30}, 3);
    Tensor y = between(0, 5, {30}, 4);
    for (Index i = 0; i < 30; ++i) set_value(y, i, std::floor(value_at(y, i)));
    const double all = cosent(s, y).item();
    double last = 0;
    for (const Index K : {1, 2, 4, 8, 29}) {
      const double L = cosent_hardest(s, y, {.top_k = K}).item();
      CHECK(L >= last - 1e-12);
      CHECK(L <= all + 1e-12);
      CHECK(all - L <= std::log(30.0 / double(K)) + 1e-12);
      last = L;
    }
    CHECK(last == doctest::Approx(all).epsilon(1e-13));
  }

  TEST_CASE("ties, one label and empty batches") {
    const Tensor s = vec({.5, .5, .5, .2});
    CHECK(cosent_hardest(s, vec({0, 0, 0, 1}), {.top_k = 2}).item() == doctest::Approx(std::log1p(2 * std::exp(6.0))));
    CHECK(cosent_hardest(s, vec({1, 1, 1, 1})).item() == 0);
    CHECK(cosent_hardest(zeros({0}), zeros({0})).item() == 0);
    CHECK(std::isnan(cosent_hardest(vec({.1, NaN, .3, .2}), vec({0, 0, 0, 1}), {.top_k = 1}).item()));
  }

  TEST_CASE("K = 10 of 20000 scores, forwards and backwards") {
    Tensor s = between(-1, 1, {20000}).to(DType::f32).requires_grad_(), y = between(0, 1, {20000}, 2).to(DType::f32);
    Tape tape;
    const Tensor L = cosent_hardest(s, y);
    backward(L);
    CHECK(L.item() > 40);
    CHECK(std::isfinite(value_at(s.grad(), 7)));
  }

  TEST_CASE("C24 B082 hard negatives are positions in the batch, not in the list of negatives") {
    const Tensor S = six_similarities();
    const Values hard = hardest_negatives(S, six_labels(), 2)[0].to_vector();
    CHECK(hard == Values{2, 5});
    // The source's topk counts within the masked row: 2, 3, 4, 5 become 0, 1, 2, 3, and sample 0 is the anchor itself.
    const Values masked{.7, .1, .2, .6};
    std::vector<Index> order{0, 1, 2, 3};
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return masked[std::size_t(a)] > masked[std::size_t(b)]; });
    CHECK(Values{double(order[0]), double(order[1])} == Values{0, 3});
  }

  TEST_CASE("B082 labels of hard negatives all differ from the anchor's, the most similar come first, -1 fills up") {
    const Tensor S = between(-1, 1, {6, 6});
    const Tensor hard = hardest_negatives(S, six_labels());
    CHECK(hard.shape() == Shape{6, 10});
    for (Index i = 0; i < 6; ++i) {
      for (Index r = 0; r < 10; ++r) {
        const Index j = Index(hard.at({i, r}));
        if (r >= 4) {
          CHECK(j == -1);
          continue;
        }
        CHECK(value_at(six_labels(), j) != value_at(six_labels(), i));
        if (r) CHECK(S.at({i, Index(hard.at({i, r - 1}))}) >= S.at({i, j}));
      }
    }
    CHECK(hardest_negatives(zeros({2, 2}), labels({3, 3}), 1).to_vector() == Values{-1, -1});
  }

  TEST_CASE("C20 B081 a balanced batch of 64 has 64 samples, not 3 times 21, and a short bucket is no error") {
    CHECK(3 * (64 / 3) == 63);
    Rng rng(7);
    Tensor y = between(0, 1, {300}, 5);
    const Values batch = balanced_batch(y, 64, rng).to_vector();
    CHECK(batch.size() == 64);
    CHECK(std::set<double>(batch.begin(), batch.end()).size() == 64);
    const auto count = [&](const Values& b, const Tensor& labels, double low, double high) {
      return std::count_if(b.begin(), b.end(), [&](double i) {
        return value_at(labels, Index(i)) >= low && value_at(labels, Index(i)) < high;
      });
    };
    CHECK(count(batch, y, -1, .3) == 22);
    CHECK(count(batch, y, .3, .7) == 21);
    CHECK(count(batch, y, .7, 2) == 21);
    // Ten low ones are fewer than 21: all of them, and 27 of each other bucket.
    for (Index i = 0; i < 300; ++i) set_value(y, i, i < 10 ? .1 : i < 150 ? .3 : .7);
    const Values short_batch = balanced_batch(y, 64, rng).to_vector();
    CHECK(count(short_batch, y, 0, .3) == 10);
    CHECK(count(short_batch, y, .3, .7) == 27);
    CHECK(count(short_batch, y, .7, 1) == 27);
    CHECK(balanced_batch(vec({.1, .2}), 2, rng).numel() == 2);
  }

  TEST_CASE("mining: what does not fit is an error that names it") {
    Rng rng(1);
    const Tensor s = zeros({3}), y = zeros({3});
    CHECK_THROWS_WITH_AS(cosent_hardest(s, zeros({2})), doctest::Contains("a label for each score"), Error);
    CHECK_THROWS_WITH_AS(cosent_hardest(s, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(cosent_hardest(s, y, {.scale = inf}), doctest::Contains("scale"), Error);
    CHECK_THROWS_WITH_AS(cosent_hardest(s, y, {.top_k = 0}), doctest::Contains("top_k must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(cosent_hardest(s, tensor({0, NaN, 1})), doctest::Contains("label 1 is NaN"), Error);
    CHECK_THROWS_WITH_AS(hardest_negatives(zeros({2, 3}), labels({0, 1})), doctest::Contains("matrix [N,N]"), Error);
    CHECK_THROWS_WITH_AS(hardest_negatives(zeros({2, 2}), labels({0, 1}), 0), doctest::Contains("top_k"), Error);
    CHECK_THROWS_WITH_AS(hardest_negatives(Tensor(), labels({0, 1})), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(balanced_batch(y, 4, rng), doctest::Contains("cannot draw 4 different samples"), Error);
    CHECK_THROWS_WITH_AS(balanced_batch(y, 2, rng, {.7, .3}), doctest::Contains("must ascend"), Error);
    CHECK_THROWS_WITH_AS(balanced_batch(zeros({2, 2}), 2, rng), doctest::Contains("needs labels [n]"), Error);
  }
}
