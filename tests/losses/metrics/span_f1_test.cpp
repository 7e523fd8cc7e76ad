// Span F1: by hand, duplicates, masks, and by nesting depth.
#include "losses/metrics/span_f1.h"

#include <doctest/doctest.h>

#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// Sentence 0: label 0 on 0..5, within it label 1 on 2..4, within that label 0 on 3..3. Sentence 1: label 0 on 0..1.
const std::vector<Span> gold = {{0, 0, 0, 5}, {0, 1, 2, 4}, {0, 0, 3, 3}, {1, 0, 0, 1}};

}  // namespace

TEST_SUITE("span_f1") {
  TEST_CASE("sets of spans and counts over the scores agree") { check_losses(span_f1_losses()); }

  TEST_CASE("by hand: label, begin and end must all be right") {
    const PrecisionRecall r = span_f1({{0, 0, 0, 5}, {0, 0, 2, 4}, {0, 0, 3, 4}, {1, 0, 0, 1}, {0, 0, 0, 1}}, gold);
    CHECK(r.precision == doctest::Approx(2.0 / 5));
    CHECK(r.recall == doctest::Approx(2.0 / 4));
    CHECK(r.f1 == doctest::Approx(4.0 / 9));
    CHECK(span_f1(gold, gold).f1 == 1);
  }

  TEST_CASE("a span given twice counts once, in any order") {
    CHECK(span_f1({{1, 0, 0, 1}, {1, 0, 0, 1}}, gold).precision == 1);
    CHECK(span_f1({gold.rbegin(), gold.rend()}, gold).f1 == 1);
  }

  TEST_CASE("nothing predicted, nothing gold, neither") {
    CHECK(span_f1(std::vector<Span>{}, gold).f1 == 0);
    CHECK(span_f1(gold, {}).precision == 0);
    CHECK(span_f1(std::vector<Span>{}, {}).f1 == 0);
    CHECK(span_f1_by_depth({}, {}).empty());
  }

  TEST_CASE("a model that finds only the outermost spans has F1 1 at depth 0 and 0 below") {
    const std::vector<Span> flat = {gold[0], gold[3]};
    CHECK(span_f1(flat, gold).f1 == doctest::Approx(4.0 / 6));
    const std::vector<PrecisionRecall> by_depth = span_f1_by_depth(flat, gold);
    REQUIRE(by_depth.size() == 3);
    CHECK(by_depth[0].f1 == 1);
    CHECK(by_depth[1].f1 == 0);
    CHECK(by_depth[2].f1 == 0);
  }

  TEST_CASE("depth is of the sentence's gold intervals, two labels on one interval do not nest") {
    std::vector<Span> twice = gold;
    twice.push_back({0, 2, 0, 5});
    const std::vector<PrecisionRecall> r = span_f1_by_depth({{0, 2, 0, 5}, {0, 0, 2, 3}, {1, 0, 3, 3}}, twice);
    REQUIRE(r.size() == 3);
    CHECK(r[0].recall == doctest::Approx(1.0 / 3));     // both labels on 0..5, and sentence 1
    CHECK(r[0].precision == doctest::Approx(1.0 / 2));  // one hit; the span of sentence 1 lies in no gold span
    CHECK(r[2].precision == 0);                         // 2..3 lies in 2..4 and 0..5
  }

  TEST_CASE("spans above a threshold: begin <= end, within the mask") {
    Tensor scores = full({1, 1, 3, 3}, 1);
    CHECK(spans_above(scores, 0).size() == 6);
    CHECK(spans_above(scores, 1).empty());
    const std::vector<Span> two = {{0, 0, 0, 0}, {0, 0, 0, 1}, {0, 0, 1, 1}};
    CHECK(spans_above(scores, 0, tensor({1, 1, 0}, {1, 3})) == two);
    CHECK(span_f1(scores, scores, tensor({1, 1, 0}, {1, 3})).f1 == 1);
  }

  TEST_CASE("span_f1: what does not fit is an error that names it") {
    const Tensor s = zeros({1, 1, 3, 3});
    CHECK_THROWS_WITH_AS(spans_above(zeros({1, 1, 3, 2}), 0), doctest::Contains("needs scores [B,H,n,n]"), Error);
    CHECK_THROWS_WITH_AS(spans_above(s, 0, zeros({1, 2})), doctest::Contains("needs a mask [B,n]"), Error);
    CHECK_THROWS_WITH_AS(span_f1(s, zeros({1, 1, 3}), {}), doctest::Contains("labels of the shape"), Error);
  }
}
