// Matrix products in all forms: transposed, in batches, with one matrix for all, vectors, nothing at all; and linear.
#include "ops/matmul.h"

#include <doctest/doctest.h>

#include "ops/math.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

// The sum over k in plain loops. A matrix without leading axes serves every item.
Tensor product(const Tensor& a, const Tensor& b, MatmulOptions t) {
  const auto rows = [](const Tensor& x, bool transposed) { return x.size(transposed ? -1 : -2); };
  const auto columns = [](const Tensor& x, bool transposed) { return x.size(transposed ? -2 : -1); };
  const Index M = rows(a, t.transpose_a), K = columns(a, t.transpose_a), N = columns(b, t.transpose_b);
  const auto element = [](const Tensor& x, bool transposed, Index item, Index i, Index j) {
    const Index matrix = x.rank() == 2 ? 0 : item * x.size(-1) * x.size(-2);
    return value_at(x, matrix + (transposed ? j * x.size(-1) + i : i * x.size(-1) + j));
  };
  const Shape lead = a.rank() > b.rank() ? a.shape().slice(0, a.rank() - 2) : b.shape().slice(0, b.rank() - 2);
  return tabulate(lead.joined({M, N}), [&](Index flat) {
    double s = 0;
    for (Index k = 0; k < K; ++k) {
      s += element(a, t.transpose_a, flat / (M * N), flat / N % M, k) *
           element(b, t.transpose_b, flat / (M * N), k, flat % N);
    }
    return s;
  });
}

OpCase matmul_case(const std::string& name, const Shape& a, const Shape& b, MatmulOptions t) {
  return {name + (t.transpose_a ? ", a transposed" : "") + (t.transpose_b ? ", b transposed" : ""),
          [t](const auto& in) { return matmul(in[0], in[1], t); },
          {away_from_zero(a, 1), away_from_zero(b, 2)},
          [t](const auto& in) { return product(in[0], in[1], t); }};
}

Shape with_last_two_swapped(const Shape& s) { return s.with(s.rank() - 2, s[-1]).with(s.rank() - 1, s[-2]); }

OpCase linear_case(const char* name, const Shape& x, bool bias) {
  const Index I = x[-1], O = 4;
  OpCase c{name,
           [](const auto& in) { return in.size() > 2 ? linear(in[0], in[1], in[2]) : linear(in[0], in[1]); },
           {away_from_zero(x, 1), away_from_zero({O, I}, 2)},
           [=](const auto& in) {
             return tabulate(x.with(x.rank() - 1, O), [&](Index flat) {
               double s = in.size() > 2 ? value_at(in[2], flat % O) : 0;
               for (Index i = 0; i < I; ++i) s += value_at(in[0], flat / O * I + i) * value_at(in[1], flat % O * I + i);
               return s;
             });
           }};
  if (bias) c.inputs.push_back(away_from_zero({O}, 3));
  return c;
}

OpCase vector_case(const char* name, const Shape& a, const Shape& b) {
  return {
      name,
      [](const auto& in) { return matmul(in[0], in[1]); },
      {away_from_zero(a, 1), away_from_zero(b, 2)},
      [](const auto& in) {
        const Tensor &x = in[0], &w = in[1];
        const Tensor y = product(x.rank() == 1 ? x.reshape({1, -1}) : x, w.rank() == 1 ? w.reshape({-1, 1}) : w, {});
        Shape shape = y.shape();
        if (w.rank() == 1) shape = shape.without(shape.rank() - 1);
        if (x.rank() == 1) shape = shape.without(shape.rank() - (w.rank() == 1 ? 1 : 2));
        return y.reshape(shape);
      }};
}

}  // namespace

std::vector<OpCase> gradus::matmul_cases() {
  std::vector<OpCase> cases;
  const struct {
    const char* name;
    Shape a, b;
  } forms[] = {{"matrices", {3, 4}, {4, 2}},
               {"square matrices", {3, 3}, {3, 3}},
               {"batch", {2, 3, 4}, {2, 4, 5}},
               {"two leading axes", {2, 3, 2, 4}, {2, 3, 4, 1}},
               {"one matrix on the right", {2, 3, 4}, {4, 5}},
               {"one matrix on the left", {3, 4}, {2, 4, 5}},
               {"beyond one block", {37, 29}, {29, 41}}};
  for (const auto& f : forms) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        cases.push_back(matmul_case(f.name, ta ? with_last_two_swapped(f.a) : f.a,
                                    tb ? with_last_two_swapped(f.b) : f.b, {ta, tb}));
      }
    }
  }
  cases.push_back(matmul_case("enough for two threads", {250, 150}, {150, 270}, {}));
  cases.push_back(matmul_case("a long sum", {2, 1000}, {1000, 3}, {}));
  cases.push_back(vector_case("vector, vector", {4}, {4}));
  cases.push_back(vector_case("matrix, vector", {3, 4}, {4}));
  cases.push_back(vector_case("vector, matrix", {4}, {4, 3}));
  cases.push_back(vector_case("batch, vector", {2, 3, 4}, {4}));
  cases.push_back(vector_case("vector, batch", {4}, {2, 4, 3}));
  cases.push_back(linear_case("linear", {3, 2}, false));
  cases.push_back(linear_case("linear with bias", {3, 2}, true));
  cases.push_back(linear_case("linear of one row", {5}, true));
  cases.push_back(linear_case("linear with leading axes", {2, 3, 5}, true));
  cases.push_back(linear_case("linear of many rows", {5001, 3}, true));
  return cases;
}

TEST_SUITE("matmul") {
  TEST_CASE("every form of matmul and linear: value and gradient") {
    for (OpCase c : matmul_cases()) {
      if (c.inputs[0].numel() > 1000) c.f32_tolerance = 5e-5;  // sums of hundreds of terms
      check_op(c);
    }
  }

  TEST_CASE("a product over nothing is 0, a product with no rows is empty, and gradients of both are 0") {
    const Tensor nothing = zeros({3, 0}, DType::f64), some = ones({3, 2}, DType::f64);
    CHECK(matmul(nothing, zeros({0, 2}, DType::f64)).to_vector() == std::vector<double>(6, 0));
    CHECK(matmul(zeros({0, 3}), zeros({3, 2})).shape() == Shape{0, 2});
    CHECK(matmul(zeros({0, 3, 4}), zeros({0, 4, 2})).shape() == Shape{0, 3, 2});
    const auto shared = [](const Tensor& v) { return matmul(v, zeros({0, 2, 4}, DType::f64)); };
    CHECK(slopes(some, shared) == std::vector<double>(6, 0));
    const auto shared_right = [](const Tensor& v) {
      return matmul(zeros({0, 3, 4}, DType::f64), v, {.transpose_a = true});
    };
    CHECK(slopes(some, shared_right) == std::vector<double>(6, 0));
  }

  TEST_CASE("linear with no inputs is its bias, and 0 without one") {
    const Tensor x = zeros({3, 0}), weight = zeros({2, 0});
    for (int again = 0; again < 3; ++again) {
      full({3, 2}, 7);  // what the pool hands out next is not zero
      CHECK(linear(x, weight).to_vector() == std::vector<double>(6, 0));
    }
    CHECK(linear(x, weight, tensor({1, 2})).to_vector() == std::vector<double>{1, 2, 1, 2, 1, 2});
  }

  TEST_CASE("inner sizes that differ name both shapes, and a transposition that would fit") {
    const Tensor a = zeros({4, 3}), b = zeros({5, 3});
    CHECK_THROWS_WITH_AS(matmul(a, b),
                         "[matmul] inner sizes differ: [4,3] x [5,3]; did you mean {.transpose_b = true}?", Error);
    CHECK_THROWS_WITH_AS(matmul(a, b, {.transpose_a = true}), "[matmul] inner sizes differ: [4,3]^T x [5,3]", Error);
    CHECK_THROWS_WITH_AS(matmul(a, zeros({7})), doctest::Contains("inner sizes differ"), Error);
    CHECK_THROWS_WITH_AS(matmul(zeros({2, 4, 3}), zeros({5, 3, 4})), doctest::Contains("leading sizes differ"), Error);
  }

  TEST_CASE("scalars, types that differ, a transposed vector and undefined tensors are errors") {
    const Tensor a = zeros({4, 3});
    CHECK_THROWS_WITH_AS(matmul(a, scalar(1)), doctest::Contains("[matmul] needs matrices"), Error);
    CHECK_THROWS_WITH_AS(matmul(a, zeros({3, 2}, DType::f64)), doctest::Contains("[matmul] types differ"), Error);
    CHECK_THROWS_WITH_AS(matmul(a, zeros({4}), {.transpose_a = true}), doctest::Contains("needs two matrices"), Error);
    CHECK_THROWS_WITH_AS(matmul(labels({1}), labels({1})), doctest::Contains("[matmul] needs f32 or f64"), Error);
    CHECK_THROWS_WITH_AS(matmul(a, Tensor()), doctest::Contains("undefined"), Error);
  }

  TEST_CASE("linear names what does not fit") {
    const Tensor x = zeros({4, 3}), weight = zeros({2, 3});
    CHECK_THROWS_WITH_AS(linear(x, zeros({3, 2})),
                         "[linear] needs x [..,I] and weight [O,I], got f32 [4,3] and f32 [3,2]", Error);
    CHECK_THROWS_WITH_AS(linear(x, weight, zeros({3})), "[linear] needs a bias of shape [2], got f32 [3]", Error);
    CHECK_THROWS_WITH_AS(linear(x, weight, zeros({2}, DType::f64)), doctest::Contains("[linear] types differ"), Error);
    CHECK_THROWS_WITH_AS(linear(scalar(1), weight), doctest::Contains("[linear] needs x [..,I]"), Error);
    CHECK_THROWS_WITH_AS(linear(x, Tensor()), doctest::Contains("undefined"), Error);
  }
}
