#include "engine/shape.h"

#include <doctest/doctest.h>

using namespace gradus;

TEST_SUITE("shape") {
  TEST_CASE("a shape knows its rank, its sizes from both ends, and its text") {
    const Shape s{2, 3, 4};
    CHECK(s.rank() == 3);
    CHECK(s.numel() == 24);
    CHECK(s[0] == 2);
    CHECK(s[-1] == 4);
    CHECK(s.text() == "[2,3,4]");
    CHECK(Shape{}.rank() == 0);
    CHECK(Shape{}.numel() == 1);
    CHECK(Shape{}.text() == "[]");
    CHECK(Shape{5, 0, 7}.numel() == 0);
  }

  TEST_CASE("shapes are equal when all sizes are") {
    CHECK(Shape{2, 3} == Shape{2, 3});
    CHECK(Shape{2, 3} != Shape{3, 2});
    CHECK(Shape{2} != Shape{2, 1});
    CHECK(Shape{6, 1}.without(1) == Shape{6});  // nothing of a removed axis stays behind
  }

  TEST_CASE("axes can be replaced, removed, inserted, joined and cut out") {
    const Shape s{2, 3, 4};
    CHECK(s.with(1, 7) == Shape{2, 7, 4});
    CHECK(s.without(0) == Shape{3, 4});
    CHECK(s.without(2) == Shape{2, 3});
    CHECK(s.inserted(0) == Shape{1, 2, 3, 4});
    CHECK(s.inserted(3, 5) == Shape{2, 3, 4, 5});
    CHECK(s.joined({5}) == Shape{2, 3, 4, 5});
    CHECK(s.slice(1, 3) == Shape{3, 4});
    CHECK(s.slice(2, 1) == Shape{});
    CHECK(s.product(0, 2) == 6);
    CHECK(s.product(1, 1) == 1);
  }

  TEST_CASE("impossible shapes are refused") {
    CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1, 1, 1}), "[shape] at most 6 axes, got 7", Error);
    CHECK_THROWS_WITH_AS((Shape{2, -1}), "[shape] a size cannot be negative, got -1", Error);
    CHECK_THROWS_WITH_AS((Shape{Index(1) << 40, Index(1) << 40}), doctest::Contains("too many elements"), Error);
  }

  TEST_CASE("shapes broadcast as in NumPy: aligned right, sizes equal or 1") {
    CHECK(broadcast("add", {4, 3}, {4, 3}) == Shape{4, 3});
    CHECK(broadcast("add", {4, 3}, {3}) == Shape{4, 3});
    CHECK(broadcast("add", {4, 1}, {3}) == Shape{4, 3});
    CHECK(broadcast("add", {}, {2, 5}) == Shape{2, 5});
    CHECK(broadcast("add", {5}, {2, 1, 1}) == Shape{2, 1, 5});
    CHECK(broadcast("add", {1}, {0}) == Shape{0});
    CHECK_THROWS_WITH_AS(broadcast("add", {4, 3}, {4, 2}), "[add] shapes [4,3] and [4,2] do not broadcast", Error);
    CHECK_THROWS_AS(broadcast("add", {3, 4}, {3}), Error);
    CHECK_THROWS_AS(broadcast("add", {0}, {2}), Error);
  }

  TEST_CASE("an axis counts from the front or, when negative, from the back") {
    CHECK(checked_axis("sum", {2, 3}, 1) == 1);
    CHECK(checked_axis("sum", {2, 3}, -2) == 0);
    CHECK_THROWS_WITH_AS(checked_axis("sum", {2, 3}, 2), "[sum] axis 2 does not exist in shape [2,3]", Error);
    CHECK_THROWS_AS(checked_axis("sum", {2, 3}, -3), Error);
    CHECK_THROWS_AS(checked_axis("sum", {}, 0), Error);
  }

  TEST_CASE("a flat index has a place in the shape") {
    CHECK(index_text({2, 3}, 5) == "[1,2]");
    CHECK(index_text({2, 3, 4}, 13) == "[1,0,1]");
    CHECK(index_text({}, 0) == "[]");
  }
}
