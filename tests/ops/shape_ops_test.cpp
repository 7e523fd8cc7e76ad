// Ops that move elements and the views of Tensor (reshape, x[i], rows): each element must arrive where its indices say.
#include "ops/shape_ops.h"

#include <doctest/doctest.h>

#include <numeric>

#include "ops/math.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;
using Place = std::vector<Index>;

// y of shape `out`, its element at `place` being x(from(place)).
TensorFunction moved(const Shape& out, const std::function<double(const std::vector<Tensor>& in, const Place&)>& pick) {
  return [=](const std::vector<Tensor>& in) {
    return tabulate(out, [&](Index flat) {
      Place place(std::size_t(out.rank()));
      for (int axis = out.rank() - 1; axis >= 0; flat /= out[axis--]) place[std::size_t(axis)] = flat % out[axis];
      return pick(in, place);
    });
  };
}
double value(const Tensor& x, const Place& place) {
  Index flat = 0;
  for (int axis = 0; axis < x.rank(); ++axis) flat = flat * x.shape()[axis] + place[std::size_t(axis)];
  return value_at(x, flat);
}

OpCase permute_case(const char* name, const Shape& x, const std::vector<int>& order) {
  Shape out = x;
  for (std::size_t k = 0; k < order.size(); ++k) out = out.with(int(k), x[order[k]]);
  return {name,
          [order](const auto& in) { return permute(in[0], order); },
          {away_from_zero(x)},
          moved(out, [order](const auto& in, const Place& place) {
            Place from(place.size());
            for (std::size_t k = 0; k < order.size(); ++k) {
              from[std::size_t(order[k] < 0 ? order[k] + int(order.size()) : order[k])] = place[k];
            }
            return value(in[0], from);
          })};
}

OpCase slice_case(const char* name, const Shape& x, int axis, Index begin, Index end) {
  return {name,
          [=](const auto& in) { return slice(in[0], axis, begin, end); },
          {away_from_zero(x)},
          moved(x.with(axis, end - begin), [=](const auto& in, Place place) {
            place[std::size_t(axis)] += begin;
            return value(in[0], place);
          })};
}

OpCase pad_case(const char* name, const Shape& x, int axis, Index before, Index after) {
  return {name,
          [=](const auto& in) { return pad(in[0], axis, before, after, -7); },
          {away_from_zero(x)},
          moved(x.with(axis, before + x[axis] + after), [=](const auto& in, Place place) {
            Index& at = place[std::size_t(axis)];
            at -= before;
            return at < 0 || at >= x[axis] ? -7.0 : value(in[0], place);
          })};
}

OpCase cat_case(const char* name, const std::vector<Shape>& shapes, int axis) {
  Index total = 0;
  std::vector<Tensor> inputs;
  for (const Shape& s : shapes) {
    total += s[axis];
    inputs.push_back(away_from_zero(s, int(inputs.size()) + 1));
  }
  return {name, [axis](const auto& in) { return cat(in, axis); }, inputs,
          moved(shapes[0].with(axis, total), [axis](const auto& in, Place place) {
            std::size_t k = 0;
            Index& at = place[std::size_t(axis)];
            while (at >= in[k].size(axis)) at -= in[k++].size(axis);
            return value(in[k], place);
          })};
}

OpCase stack_case(const char* name, int axis) {
  return {name,
          [axis](const auto& in) { return stack(in, axis); },
          {away_from_zero({2, 5}, 1), away_from_zero({2, 5}, 2), away_from_zero({2, 5}, 3)},
          moved(Shape{2, 5}.inserted(axis, 3), [axis](const auto& in, Place place) {
            const Index k = place[std::size_t(axis)];
            place.erase(place.begin() + axis);
            return value(in[std::size_t(k)], place);
          })};
}

OpCase view_case(const char* name, const Shape& x, Tensor (*f)(const Tensor&), const Shape& out, Index first) {
  return {name,
          [f](const auto& in) { return f(in[0]); },
          {away_from_zero(x)},
          [=](const auto& in) { return tabulate(out, [&](Index i) { return value_at(in[0], first + i); }); }};
}

}  // namespace

std::vector<OpCase> gradus::shape_ops_cases() {
  using T = const Tensor&;
  return {
      permute_case("permute, two axes", {3, 4}, {1, 0}),
      permute_case("permute, cyclic", {2, 3, 4}, {1, 2, 0}),
      permute_case("permute, last axis stays", {2, 3, 4, 5}, {0, 2, 1, 3}),
      permute_case("permute, negative axes", {2, 3, 4}, {-1, 0, -2}),
      permute_case("permute, six axes", {2, 1, 3, 2, 1, 2}, {5, 3, 0, 4, 2, 1}),
      permute_case("permute, many", {37, 11, 43}, {2, 1, 0}),
      {"transpose",
       [](const auto& in) { return transpose(in[0], 0, -1); },
       {away_from_zero({2, 3, 4})},
       moved({4, 3, 2},
             [](const auto& in, const Place& p) {
               return value(in[0], {p[2], p[1], p[0]});
             })},
      slice_case("slice, first axis", {5, 3}, 0, 1, 4),
      slice_case("slice, last axis", {3, 5}, 1, 2, 4),
      slice_case("slice, middle axis", {2, 5, 3}, 1, 1, 3),
      slice_case("slice, all", {2, 3}, 1, 0, 3),
      slice_case("slice, many", {41, 501}, 1, 20, 480),
      pad_case("pad, first axis", {2, 3}, 0, 1, 2),
      pad_case("pad, last axis", {2, 3}, 1, 2, 0),
      pad_case("pad, middle axis", {2, 3, 4}, 1, 1, 1),
      cat_case("cat, rows", {{2, 3}, {4, 3}, {1, 3}}, 0),
      cat_case("cat, columns", {{3, 2}, {3, 4}}, 1),
      cat_case("cat, equal shapes", {{2, 3}, {2, 3}}, 1),
      cat_case("cat, middle axis", {{2, 1, 3}, {2, 4, 3}}, 1),
      stack_case("stack, first axis", 0),
      stack_case("stack, middle axis", 1),
      stack_case("stack, last axis", 2),
      view_case(
          "reshape", {3, 4},
          [](T x) {
            return x.reshape({2, -1});
          },
          {2, 6}, 0),
      view_case(
          "rows", {5, 3}, [](T x) { return x.rows(1, 3); }, {2, 3}, 3),
      view_case(
          "one row", {4, 3, 2}, [](T x) { return x[2]; }, {3, 2}, 12),
      view_case(
          "one row from the end", {4, 3}, [](T x) { return x[-1]; }, {3}, 9),
      view_case(
          "flatten", {2, 3, 4}, [](T x) { return flatten(x, 1); }, {2, 12}, 0),
      view_case(
          "flatten everything", {2, 3, 4}, [](T x) { return flatten(x); }, {24}, 0),
      view_case(
          "unsqueeze", {2, 3}, [](T x) { return unsqueeze(x, 1); }, {2, 1, 3}, 0),
      view_case(
          "squeeze", {2, 1, 3}, [](T x) { return squeeze(x, -2); }, {2, 3}, 0),
  };
}

TEST_SUITE("shape_ops") {
  TEST_CASE("every element arrives where its indices say, and its gradient goes back there") {
    for (const OpCase& c : shape_ops_cases()) check_op(c);
  }

  TEST_CASE("elements of any type can be moved") {
    const Tensor x = labels({1, 2, 3, 4, 5, 6}).reshape({2, 3});
    CHECK(transpose(x, 0, 1).to_vector() == Values{1, 4, 2, 5, 3, 6});
    CHECK(slice(x, 1, 1, 3).to_vector() == Values{2, 3, 5, 6});
    CHECK(cat({x, x}, 1).dtype() == DType::i64);
    CHECK(pad(x.to(DType::u8), 0, 1, 0, 9).to_vector() == Values{9, 9, 9, 1, 2, 3, 4, 5, 6});
    CHECK(stack({x, x}).shape() == Shape{2, 2, 3});
  }

  TEST_CASE("a scalar has no axes: flatten makes it a vector, unsqueeze too, permute gives it back") {
    const Tensor x = scalar(3);
    CHECK(flatten(x).shape() == Shape{1});
    CHECK(unsqueeze(x, 0).shape() == Shape{1});
    CHECK(permute(x, {}).item() == 3);
    CHECK(stack({x, x}).to_vector() == Values{3, 3});
  }

  TEST_CASE("permute and transpose name what is wrong with the axes") {
    const Tensor x = zeros({2, 3});
    CHECK_THROWS_WITH_AS(permute(x, {0}), "[permute] needs each axis of f32 [2,3] once", Error);
    CHECK_THROWS_WITH_AS(permute(x, {0, 0}), doctest::Contains("needs each axis"), Error);
    CHECK_THROWS_WITH_AS(permute(x, {0, 2}), doctest::Contains("[permute] axis 2 does not exist"), Error);
    CHECK_THROWS_WITH_AS(transpose(x, 0, 2), doctest::Contains("[transpose] axis 2 does not exist"), Error);
  }

  TEST_CASE("slice, pad, squeeze and flatten refuse what does not lie within the tensor") {
    const Tensor x = zeros({2, 3});
    CHECK_THROWS_WITH_AS(slice(x, 1, 2, 4), "[slice] 2:4 does not lie within axis 1 of f32 [2,3]", Error);
    CHECK_THROWS_WITH_AS(slice(x, 0, 2, 1), doctest::Contains("does not lie within"), Error);
    CHECK_THROWS_WITH_AS(slice(x, 0, -1, 1), doctest::Contains("does not lie within"), Error);
    CHECK_THROWS_WITH_AS(pad(x, 0, -1, 0), doctest::Contains("[pad] cannot pad by a negative number"), Error);
    CHECK_THROWS_WITH_AS(squeeze(x, 1), "[squeeze] axis 1 of f32 [2,3] is not of size 1", Error);
    CHECK_THROWS_WITH_AS(flatten(x, 1, 0), doctest::Contains("[flatten] the first axis comes after the last"), Error);
    CHECK_THROWS_WITH_AS(unsqueeze(zeros({1, 1, 1, 1, 1, 1}), 0), doctest::Contains("at most 6 axes"), Error);
  }

  TEST_CASE("cat and stack need tensors that agree beyond the axis, and at least one") {
    const Tensor x = zeros({2, 3});
    CHECK_THROWS_WITH_AS(cat({x, zeros({2, 4})}), "[cat] tensors differ beyond axis 0: f32 [2,3] and f32 [2,4]", Error);
    CHECK_THROWS_WITH_AS(cat({x, zeros({2, 3}, DType::f64)}), doctest::Contains("tensors differ"), Error);
    CHECK_THROWS_WITH_AS(cat({x, Tensor()}), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(cat(std::span<const Tensor>()), doctest::Contains("[cat] needs at least one"), Error);
    CHECK_THROWS_WITH_AS(cat({x}, 2), doctest::Contains("[cat] axis 2 does not exist"), Error);
    CHECK_THROWS_WITH_AS(stack({x, zeros({3, 2})}), doctest::Contains("tensors differ"), Error);
    CHECK_THROWS_WITH_AS(stack(std::span<const Tensor>()), doctest::Contains("[stack] needs at least one"), Error);
  }
}
