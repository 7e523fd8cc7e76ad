// Distances and similarities between rows; what happens at distance 0 and at a zero vector; small gaps far from the origin.
#include "ops/distance.h"
#include "ops/normalize.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;
using Row = std::function<double(Index)>;

double dot_of(Index D, const Row& u, const Row& v) {
  double s = 0;
  for (Index k = 0; k < D; ++k) s += u(k) * v(k);
  return s;
}
double cosine_of(Index D, const Row& u, const Row& v) {
  return dot_of(D, u, v) / std::sqrt(dot_of(D, u, u) * dot_of(D, v, v));
}
double square_of(Index D, const Row& u, const Row& v) {
  const Row gap = [&](Index k) { return u(k) - v(k); };
  return dot_of(D, gap, gap);
}
double euclidean_of(Index D, const Row& u, const Row& v) { return std::sqrt(square_of(D, u, v)); }

Row row_of(const Tensor& x, Index r) {
  return [&x, r](Index k) { return value_at(x, r * x.size(-1) + k); };
}

using Measure = double (*)(Index, const Row&, const Row&);

OpCase pairs_case(const std::string& name, Tensor (*f)(At, const Tensor&), Measure measure, const Shape& shape) {
  return {name,
          [f](const auto& in) { return f(in[0], in[1]); },
          {away_from_zero(shape, 1), away_from_zero(shape, 2)},
          [=](const auto& in) {
            return tabulate(shape.without(shape.rank() - 1),
                            [&](Index r) { return measure(shape[-1], row_of(in[0], r), row_of(in[1], r)); });
          }};
}

OpCase matrix_case(const std::string& name, Tensor (*f)(At, const Tensor&), Measure measure, Index N, Index M,
                   Index D) {
  return {name,
          [f](const auto& in) { return f(in[0], in[1]); },
          {away_from_zero({N, D}, 1), away_from_zero({M, D}, 2)},
          [=](const auto& in) {
            return tabulate({N, M}, [&](Index i) { return measure(D, row_of(in[0], i / M), row_of(in[1], i % M)); });
          }};
}

}  // namespace

std::vector<OpCase> gradus::distance_cases() {
  std::vector<OpCase> cases;
  const struct {
    const char* name;
    Tensor (*f)(At, const Tensor&);
    Measure measure;
  } pairs[] = {{"dot", dot, dot_of},
               {"cosine_similarity", cosine_similarity, cosine_of},
               {"squared_distance", squared_distance, square_of},
               {"euclidean_distance", euclidean_distance, euclidean_of}};
  for (const auto& p : pairs) {
    cases.push_back(pairs_case(p.name, p.f, p.measure, {3, 4}));
    cases.push_back(pairs_case(std::string(p.name) + " of two vectors", p.f, p.measure, {5}));
    cases.push_back(pairs_case(std::string(p.name) + ", many rows", p.f, p.measure, {1201, 7}));
  }
  const struct {
    const char* name;
    Tensor (*f)(At, const Tensor&);
    Measure measure;
  } matrices[] = {{"cosine_matrix", cosine_matrix, cosine_of},
                  {"squared_distance_matrix", squared_distance_matrix, square_of}};
  for (const auto& m : matrices) {
    cases.push_back(matrix_case(m.name, m.f, m.measure, 3, 4, 2));
    cases.push_back(matrix_case(std::string(m.name) + ", as many as", m.f, m.measure, 3, 3, 4));
    cases.push_back(matrix_case(std::string(m.name) + ", many", m.f, m.measure, 61, 83, 7));
  }
  cases.push_back(
      {"norm",
       [](const auto& in) { return norm(in[0]); },
       {away_from_zero({2, 3, 4})},
       [](const auto& in) {
         return tabulate({2, 3}, [&](Index r) { return std::sqrt(dot_of(4, row_of(in[0], r), row_of(in[0], r))); });
       }});
  return cases;
}

TEST_SUITE("distance") {
  TEST_CASE("every distance and similarity: value and gradient") {
    for (OpCase c : distance_cases()) {
      if (c.inputs[0].numel() > 100) c.f32_tolerance = 2e-5;  // sums over many rows
      check_op(c);
    }
  }

  TEST_CASE("a zero vector has cosine 0 with everything, itself too, and gradient 0") {
    const Tensor zero = zeros({2, 3}, DType::f64), v = away_from_zero({2, 3});
    CHECK(cosine_similarity(zero, v).to_vector() == Values{0, 0});
    CHECK(cosine_similarity(zero, zero).to_vector() == Values{0, 0});
    CHECK(cosine_matrix(zero, v).to_vector() == Values(4, 0));
    CHECK(slopes(zero, [&](const Tensor& u) { return cosine_similarity(u, v); }) == Values(6, 0));
  }

  TEST_CASE("equal points have distance 0 with gradient 0, never NaN") {
    const Tensor u = away_from_zero({2, 3});
    CHECK(euclidean_distance(u, u.clone()).to_vector() == Values{0, 0});
    CHECK(slopes(u, [&](const Tensor& x) { return euclidean_distance(x, u); }) == Values(6, 0));
    CHECK(slopes(u, [](const Tensor& x) { return euclidean_distance(x, x); }) == Values(6, 0));
    CHECK(slopes(zeros({3}, DType::f64), [](const Tensor& x) { return norm(x); }) == Values{0, 0, 0});
    const Tensor d = squared_distance_matrix(u, u);
    CHECK(d.at({0, 0}) == 0);
    CHECK(d.at({0, 1}) == d.at({1, 0}));
  }

  TEST_CASE("a small gap between long vectors keeps its digits in f32") {
    const Tensor u = tensor({1000, 1000}, {1, 2}), v = tensor({1000, 1000.0625}, {1, 2});
    CHECK(squared_distance_matrix(u, v).item() == 0.00390625);  // |u|^2 + |v|^2 - 2 <u,v> is off by more than 0.1
    CHECK(squared_distance(u, v).item() == 0.00390625);
  }

  TEST_CASE("the cosine of parallel and of opposite vectors is 1 and -1 at any length") {
    const Tensor u = tensor({3e-30, 4e-30}, {1, 2});
    CHECK(cosine_similarity(u, u * 1e20).item() == doctest::Approx(1).epsilon(1e-6));
    CHECK(cosine_similarity(u, u * -1e20).item() == doctest::Approx(-1).epsilon(1e-6));
  }

  TEST_CASE("no dimensions and no rows give zeros and nothing") {
    CHECK(dot(zeros({3, 0}), zeros({3, 0})).to_vector() == Values{0, 0, 0});
    CHECK(squared_distance_matrix(zeros({2, 0}), zeros({3, 0})).to_vector() == Values(6, 0));
    CHECK(cosine_matrix(zeros({0, 2}), zeros({3, 2})).shape() == Shape{0, 3});
    CHECK(slopes(ones({2, 3}, DType::f64), [](const Tensor& u) {
            return squared_distance_matrix(u, zeros({0, 3}, DType::f64));
          }) == Values(6, 0));
  }

  TEST_CASE("shapes and types that differ are errors that name both") {
    const Tensor u = zeros({2, 3});
    CHECK_THROWS_WITH_AS(dot(u, zeros({3})), "[dot] needs two tensors [..,D] of one shape, got f32 [2,3] and f32 [3]",
                         Error);
    CHECK_THROWS_WITH_AS(cosine_similarity(u, zeros({2, 4})), doctest::Contains("[cosine_similarity]"), Error);
    CHECK_THROWS_WITH_AS(squared_distance(u, zeros({1, 3})), doctest::Contains("[squared_distance]"), Error);
    CHECK_THROWS_WITH_AS(euclidean_distance(scalar(1), scalar(1)), doctest::Contains("[euclidean_distance]"), Error);
    CHECK_THROWS_WITH_AS(cosine_matrix(u, zeros({4, 2})),
                         "[cosine_matrix] needs [N,D] and [M,D], got f32 [2,3] and f32 [4,2]", Error);
    CHECK_THROWS_WITH_AS(squared_distance_matrix(u, zeros({3})), doctest::Contains("needs [N,D] and [M,D]"), Error);
    CHECK_THROWS_WITH_AS(dot(u, zeros({2, 3}, DType::f64)), doctest::Contains("[dot] types differ"), Error);
    CHECK(norm(tensor({3e-30, 4e-30})).item() == doctest::Approx(5e-30).epsilon(1e-6));  // f32: the squares would be 0
    CHECK(norm(tensor({3e30, 4e30})).item() == doctest::Approx(5e30).epsilon(1e-6));
    CHECK_THROWS_WITH_AS(norm(scalar(1)), "[norm] axis -1 does not exist in shape []", Error);
    CHECK_THROWS_WITH_AS(dot(u, Tensor()), doctest::Contains("undefined"), Error);
  }
}
