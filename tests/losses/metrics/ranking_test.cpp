// Average precision and recall at k: by hand, ties, and what is left out.
#include "losses/metrics/ranking.h"

#include <doctest/doctest.h>

#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("ranking") {
  TEST_CASE("ranking: counting and sorting agree") { check_losses(ranking_losses()); }

  TEST_CASE("average precision by hand: positives at places 1 and 3") {
    CHECK(average_precision(vec({4, 3, 2, 1}), labels({1, 0, 1, 0})) == doctest::Approx((1 + 2.0 / 3) / 2));
    CHECK(average_precision(vec({4, 3, 2, 1}), labels({1, 1, 0, 0})) == 1);
    CHECK(average_precision(vec({4, 3, 2, 1}), labels({0, 0, 0, 1})) == 0.25);
    // scikit-learn's example: 0.83
    CHECK(average_precision(vec({0.1, 0.4, 0.35, 0.8}), labels({0, 0, 1, 1})) == doctest::Approx(5.0 / 6));
  }

  TEST_CASE("equal scores fall together: all tied is the share of positives, in any order of the rows") {
    CHECK(average_precision(vec({1, 1, 1, 1}), labels({1, 0, 0, 0})) == 0.25);
    CHECK(average_precision(vec({1, 1, 1, 1}), labels({0, 0, 0, 1})) == 0.25);
    CHECK(average_precision(vec({2, 1, 1}), labels({0, 1, 0})) == average_precision(vec({2, 1, 1}), labels({0, 0, 1})));
  }

  TEST_CASE("a rising function of the scores changes nothing, no positive, no rows: 0") {
    const Tensor s = distinct({9}), y = labels({0, 1, 0, 1, 1, 0, 0, 1, 0});
    CHECK(average_precision(exp(s), y) == average_precision(s, y));
    CHECK(average_precision(s, zeros({9})) == 0);
    CHECK(average_precision(vec({}), vec({})) == 0);
    CHECK(average_precision(s, ones({9})) == 1);
  }

  TEST_CASE("mAP is the mean over the classes that have positives") {
    const Tensor s = matrix({4, 1, 1, 3, 2, 2, 2, 3, 3}, 3), y = matrix({1, 0, 0, 0, 1, 0, 1, 0, 0}, 3);
    CHECK(mean_average_precision(s, y) == doctest::Approx(((1 + 2.0 / 3) / 2 + 0.5) / 2));
    CHECK(mean_average_precision(s, zeros({3, 3})) == 0);
    CHECK(mean_average_precision(zeros({3, 0}), zeros({3, 0})) == 0);
  }

  TEST_CASE("recall at k by hand: four directions, the second neighbour is right") {
    // Angles 0, 10, 25, 100 degrees; labels 0 1 0 1.
    const Tensor x = matrix({1, 0, 0.985, 0.174, 0.906, 0.423, -0.174, 0.985}, 4), y = labels({0, 1, 0, 1});
    CHECK(recall_at_k(x, y) == 0);
    CHECK(recall_at_k(x, y, {.k = 2}) == doctest::Approx(0.75));  // row 1 sees 0 and 2 before 3
    CHECK(recall_at_k(x, y, {.k = 3}) == 1);
    CHECK(recall_at_k(x, labels({0, 0, 1, 1})) == 0.75);  // the nearest of row 2 is row 1
    CHECK(recall_at_k(100 * x, y, {.k = 2}) == recall_at_k(x, y, {.k = 2}));
  }

  TEST_CASE("an embedding that has collapsed to a point has recall 0, not luck") {
    const Tensor y = labels({0, 0, 0, 1, 1, 1});
    CHECK(recall_at_k(ones({6, 2}), y) == 0);
    CHECK(recall_at_k(zeros({6, 2}), y, {.k = 3}) == 0);
    CHECK(recall_at_k(zeros({6, 2}), y, {.k = 4}) == 1);
    CHECK(recall_at_k_of(zeros({2, 3}), labels({0, 1}), {.k = 2}) == 0);
    CHECK(recall_at_k_of(zeros({2, 3}), labels({0, 1}), {.k = 3}) == 1);
  }

  TEST_CASE("a query without another of its label is left out, no queries: 0") {
    const Tensor x = matrix({1, 0, 0.9, 0.1, 0, 1}, 3);
    CHECK(recall_at_k(x, labels({0, 0, 1})) == 1);
    CHECK(recall_at_k(x, labels({0, 1, 2})) == 0);
    CHECK(recall_at_k(x, labels({5, 5, 5})) == 1);
    CHECK(recall_at_k(zeros({0, 2}), labels({})) == 0);
  }

  TEST_CASE("recall of a similarity matrix: the diagonal as positive") {
    const Tensor s = matrix({3, 2, 1, 5, 4, 0, 1, 2, 3}, 3);
    CHECK(recall_at_k_of(s, labels({0, 1, 2})) == doctest::Approx(2.0 / 3));
    CHECK(recall_at_k_of(s, labels({0, 1, 2}), {.k = 2}) == 1);
  }

  TEST_CASE("ranking: what does not fit is an error that names it") {
    const Tensor x = zeros({2, 3}), y = labels({0, 1});
    CHECK_THROWS_WITH_AS(average_precision(vec({1}), labels({1, 0})), doctest::Contains("both [N]"), Error);
    CHECK_THROWS_WITH_AS(average_precision(vec({NaN}), labels({1})), doctest::Contains("score is NaN"), Error);
    CHECK_THROWS_WITH_AS(mean_average_precision(vec({1}), labels({1})), doctest::Contains("both [N,C]"), Error);
    CHECK_THROWS_WITH_AS(recall_at_k(vec({1}), labels({1})), doctest::Contains("floating-point matrix"), Error);
    CHECK_THROWS_WITH_AS(recall_at_k(x, labels({1})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(recall_at_k(x, y, {.k = 0}), doctest::Contains("k must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(recall_at_k(matrix({NaN, 1}, 2), y), doctest::Contains("a value is NaN"), Error);
    CHECK_THROWS_WITH_AS(recall_at_k_of(x, labels({0, 3})), doctest::Contains("positive 3 at [1]"), Error);
  }
}
