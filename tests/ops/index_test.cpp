// Picking by index: values, gradients that add where an index occurs twice, and indices that are out of range.
#include "ops/index.h"

#include <doctest/doctest.h>

#include "engine/backward.h"
#include "engine/random.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

Tensor picks(Index high, const Shape& shape) {
  Rng rng(5);
  return randint(high, shape, rng);
}

// The flat place in x [outer, n, inner] that element i of `index` names along `axis`.
Index named_place(const Tensor& index, const Shape& x, int axis, Index i) {
  const Index inner = x.product(axis + 1, x.rank()), outer = i / (inner * index.size(axis));
  return (outer * x[axis] + Index(value_at(index, i))) * inner + i % inner;
}

OpCase gather_case(const char* name, const Shape& x, int axis, const Tensor& index) {
  return {name,
          [=](const auto& in) { return gather(in[0], axis, index); },
          {away_from_zero(x)},
          [=](const auto& in) {
            return tabulate(index.shape(), [&](Index i) { return value_at(in[0], named_place(index, x, axis, i)); });
          }};
}

OpCase scatter_case(const char* name, const Shape& x, int axis, const Tensor& index) {
  return {name,
          [=](const auto& in) { return scatter_add(in[0], axis, index, in[1]); },
          {away_from_zero(x, 1), away_from_zero(index.shape(), 2)},
          [=](const auto& in) {
            Tensor y = in[0].clone();
            for (Index i = 0; i < index.numel(); ++i) {
              const Index place = named_place(index, x, axis, i);
              set_value(y, place, value_at(y, place) + value_at(in[1], i));
            }
            return y;
          }};
}

OpCase select_case(const char* name, const Shape& x, int axis, const Tensor& index) {
  const Shape out = x.with(axis, index.numel());
  const Index inner = x.product(axis + 1, x.rank());
  return {name,
          [=](const auto& in) { return index_select(in[0], axis, index); },
          {away_from_zero(x)},
          [=](const auto& in) {
            return tabulate(out, [&](Index i) {
              const Index k = Index(value_at(index, i / inner % out[axis])), outer = i / inner / out[axis];
              return value_at(in[0], (outer * x[axis] + k) * inner + i % inner);
            });
          }};
}

OpCase embedding_case(const char* name, const Shape& weight, const Tensor& index) {
  const Index D = weight[1];
  return {name,
          [=](const auto& in) { return embedding(in[0], index); },
          {away_from_zero(weight)},
          [=](const auto& in) {
            return tabulate(index.shape().joined({D}),
                            [&](Index i) { return value_at(in[0], Index(value_at(index, i / D)) * D + i % D); });
          }};
}

}  // namespace

std::vector<OpCase> gradus::index_cases() {
  return {
      embedding_case("embedding", {5, 3}, picks(5, {2, 4})),
      embedding_case("embedding of one index", {5, 3}, labels({4}).reshape(Shape{})),
      embedding_case("embedding, i32", {5, 3}, picks(5, {7}).to(DType::i32)),
      embedding_case("embedding, many", {11, 130}, picks(11, {211})),
      select_case("index_select, axis 0", {5, 3}, 0, labels({4, 1, 1})),
      select_case("index_select, axis 1", {2, 5, 3}, 1, labels({0, 4, 0, 2})),
      select_case("index_select, last axis, i32", {2, 5}, 1, labels({3, 3}).to(DType::i32)),
      gather_case("gather, axis 0", {5, 3}, 0, picks(5, {2, 3})),
      gather_case("gather, last axis", {3, 5}, 1, picks(5, {3, 7})),
      gather_case("gather, middle axis", {2, 5, 3}, 1, picks(5, {2, 4, 3})),
      scatter_case("scatter_add, axis 0", {5, 3}, 0, picks(5, {2, 3})),
      scatter_case("scatter_add, last axis", {3, 5}, 1, picks(5, {3, 7})),
      scatter_case("scatter_add, same shapes", {3, 5}, 1, picks(5, {3, 5})),
  };
}

TEST_SUITE("index") {
  TEST_CASE("indices or a mask that are written between forward and backward are an error, not a wrong gradient") {
    Tensor weight = ones({3, 2}).requires_grad_(), index = labels({0, 2});
    Tape tape;
    const Tensor loss = sum(embedding(weight, index));
    set_value(index, 0, 1);
    CHECK_THROWS_WITH_AS(backward(loss), doctest::Contains("[embedding] i64 [2] was written since the forward pass"),
                         Error);

    Tensor mask = equal(weight, ones({3, 2}));
    const Tensor filled = sum(masked_fill(weight, mask, 0));
    set_value(mask, 0, 0);
    CHECK_THROWS_WITH_AS(backward(filled), doctest::Contains("[masked_fill] u8 [3,2] was written"), Error);
  }

  TEST_CASE("every pick: value and gradient") {
    for (const OpCase& c : index_cases()) check_op(c);
  }

  TEST_CASE("an index that occurs twice adds its gradients, one that does not occur gets 0") {
    const Tensor weight = zeros({3, 2}, DType::f64), index = labels({2, 0, 2, 2});
    CHECK(slopes(weight, [&](const Tensor& w) { return embedding(w, index); }) == Values{1, 1, 0, 0, 3, 3});
    CHECK(slopes(weight, [&](const Tensor& w) { return index_select(w, 0, index); }) == Values{1, 1, 0, 0, 3, 3});
    const Tensor twice = labels({1, 1, 0, 0, 1, 1}).reshape({3, 2});
    CHECK(slopes(weight, [&](const Tensor& w) { return gather(w, 1, twice); }) == Values{0, 2, 2, 0, 0, 2});
  }

  TEST_CASE("one_hot puts a 1 at the index, in any type") {
    CHECK(one_hot(labels({2, 0}), 3).to_vector() == Values{0, 0, 1, 1, 0, 0});
    CHECK(one_hot(labels({1}).reshape({1, 1}), 2).shape() == Shape{1, 1, 2});
    CHECK(one_hot(labels({1}), 2, DType::u8).dtype() == DType::u8);
    CHECK(one_hot(labels({}), 4).shape() == Shape{0, 4});
  }

  TEST_CASE("no indices pick nothing, and the gradient is 0") {
    const Tensor weight = ones({3, 2}, DType::f64);
    CHECK(embedding(weight, labels({})).shape() == Shape{0, 2});
    CHECK(slopes(weight, [](const Tensor& w) { return embedding(w, labels({})); }) == Values(6, 0));
  }

  TEST_CASE("an index out of range names itself, its place and the range") {
    const Tensor x = zeros({3, 2});
    CHECK_THROWS_WITH_AS(embedding(x, labels({0, 3})), "[embedding] index 3 at [1] of i64 [2] is outside 0..2", Error);
    CHECK_THROWS_WITH_AS(embedding(x, labels({-1})), doctest::Contains("index -1 at [0]"), Error);
    CHECK_THROWS_WITH_AS(index_select(x, 1, labels({1, 2})), "[index_select] index 2 at [1] of i64 [2] is outside 0..1",
                         Error);
    CHECK_THROWS_WITH_AS(gather(x, 1, labels({0, 0, 5}).reshape({3, 1})), doctest::Contains("[gather] index 5"), Error);
    CHECK_THROWS_WITH_AS(one_hot(labels({4}), 4), doctest::Contains("[one_hot] index 4 at [0]"), Error);
    CHECK_THROWS_WITH_AS(embedding(zeros({0, 2}), labels({0})), doctest::Contains("index 0 at [0]"), Error);
  }

  TEST_CASE("indices of another type, or of a shape that does not fit, are errors") {
    const Tensor x = zeros({3, 2}), index = labels({0, 1, 0}).reshape({3, 1});
    CHECK_THROWS_WITH_AS(embedding(x, tensor({0, 1})),
                         doctest::Contains("[embedding] needs indices of type i32 or i64"), Error);
    CHECK_THROWS_WITH_AS(embedding(zeros({3}), labels({0})), doctest::Contains("needs a weight [V,D], got f32 [3]"),
                         Error);
    CHECK_THROWS_WITH_AS(embedding(x, Tensor()), doctest::Contains("the index tensor is undefined"), Error);
    CHECK_THROWS_WITH_AS(embedding(Tensor(), labels({0})), doctest::Contains("got (undefined)"), Error);
    CHECK_THROWS_WITH_AS(index_select(x, 0, index), doctest::Contains("needs indices [K], got i64 [3,1]"), Error);
    CHECK_THROWS_WITH_AS(gather(x, 0, index), doctest::Contains("must agree but for axis 0"), Error);
    CHECK_THROWS_WITH_AS(gather(x, 2, index), doctest::Contains("[gather] axis 2 does not exist"), Error);
    CHECK_THROWS_WITH_AS(scatter_add(x, 1, index, zeros({3, 2})), doctest::Contains("does not fit index"), Error);
    CHECK_THROWS_WITH_AS(scatter_add(x, 1, index, zeros({3, 1}, DType::f64)), doctest::Contains("source f64"), Error);
  }
}
