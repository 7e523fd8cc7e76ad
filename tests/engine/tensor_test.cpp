#include "engine/tensor.h"

#include <doctest/doctest.h>

#include <sstream>

#include "engine/tape.h"
#include "tests/support/leak_guard.h"
#include "tests/support/text.h"

using namespace gradus;
using Values = std::vector<double>;

TEST_SUITE("tensor") {
  TEST_CASE("tensors are made of values, constants, counts and labels") {
    const LeakGuard guard;
    const Tensor x = tensor({1, 2, 3, 4, 5, 6}, {2, 3});
    CHECK(x.shape() == Shape{2, 3});
    CHECK(x.dtype() == DType::f32);
    CHECK(x.device().is_cpu());
    CHECK(x.at({1, 0}) == 4);
    CHECK(tensor({7, 8}, DType::f64).shape() == Shape{2});
    CHECK(zeros({2, 2}).to_vector() == Values{0, 0, 0, 0});
    CHECK(ones({2}, DType::i32).to_vector() == Values{1, 1});
    CHECK(full({3}, -2.5, DType::f64).to_vector() == Values{-2.5, -2.5, -2.5});
    CHECK(scalar(1.5).item() == 1.5);
    CHECK(scalar(1.5).rank() == 0);
    CHECK(arange(4, DType::i64).to_vector() == Values{0, 1, 2, 3});
    CHECK(labels({3, 0}).dtype() == DType::i64);
    CHECK(empty({0, 3}).numel() == 0);
    CHECK(zeros({0, 3}).to_vector().empty());
  }

  TEST_CASE("elements are read and written by type") {
    Tensor x = tensor({1, 2, 3}, DType::f64);
    x.data_mut<double>()[1] = 9;
    CHECK(x.data<double>()[1] == 9);
    CHECK(x.span<double>().size() == 3);
    set_value(x, 2, 7);
    CHECK(value_at(x, 2) == 7);
    CHECK_THROWS_WITH_AS(x.data<float>(), "[data] asked for f32 elements of f64 [3]; use to(DType::f32)", Error);
    CHECK_THROWS_AS(x.data_mut<Index>(), Error);
  }

  TEST_CASE("copying a tensor copies the handle, clone copies the data") {
    Tensor x = tensor({1, 2});
    const Tensor same = x, copy = x.clone();
    set_value(x, 0, 5);
    CHECK(value_at(same, 0) == 5);
    CHECK(value_at(copy, 0) == 1);
  }

  TEST_CASE("reshape, rows and x[i] are views: they share the data") {
    const LeakGuard guard;
    Tensor x = arange(12).reshape({3, 4});
    const Tensor matrix = x.reshape({-1, 6}), row = x[1], last = x[-1], middle = x.rows(1, 3);
    CHECK(matrix.shape() == Shape{2, 6});
    CHECK(row.shape() == Shape{4});
    CHECK(middle.shape() == Shape{2, 4});
    CHECK(last.to_vector() == Values{8, 9, 10, 11});
    CHECK(middle[0][2].item() == 6);
    CHECK(x.rows(2, 2).numel() == 0);
    set_value(x, 4, 100);
    CHECK(row.at({0}) == 100);
    CHECK(middle.at({0, 0}) == 100);
    CHECK(matrix.at({0, 4}) == 100);
    CHECK(x.reshape(Shape{2, 2, 3}).at({1, 1, 2}) == 11);
    CHECK(scalar(3).reshape({1, 1}).shape() == Shape{1, 1});
    CHECK(scalar(3).reshape({-1}).shape() == Shape{1});
  }

  TEST_CASE("a view keeps the data alive") {
    const LeakGuard guard;
    Tensor row;
    {
      const Tensor x = tensor({1, 2, 3, 4}, {2, 2});
      row = x[1];
    }
    CHECK(row.to_vector() == Values{3, 4});
  }

  TEST_CASE("to converts, and is the tensor itself when there is nothing to convert") {
    const Tensor x = tensor({1.75, -2.5}, DType::f64);
    CHECK(x.to(DType::f64).handle() == x.handle());
    CHECK(x.to(DType::f32).dtype() == DType::f32);
    CHECK(x.to(DType::i64).to_vector() == Values{1, -2});
    CHECK(labels({3, 4}).to(DType::f32).to_vector() == Values{3, 4});
    CHECK(tensor({200}, DType::u8).to(DType::i32).to_vector() == Values{200});
  }

  TEST_CASE("detach shares the data and forgets everything else") {
    Tensor x = tensor({1, 2}).requires_grad_().named("x");
    const Tensor d = x.detach();
    CHECK(!d.requires_grad());
    CHECK(d.name().empty());
    set_value(x, 0, 8);
    CHECK(d.at({0}) == 8);
  }

  TEST_CASE("copy_from and add_in_place write into a tensor of the same kind") {
    Tensor x = zeros({3});
    x.copy_from(tensor({1, 2, 3}));
    add_in_place(x, tensor({10, 20, 30}));
    CHECK(x.to_vector() == Values{11, 22, 33});
    CHECK_THROWS_WITH_AS(x.copy_from(zeros({2})), "[copy_from] cannot copy f32 [2] into f32 [3]", Error);
    CHECK_THROWS_AS(x.copy_from(zeros({3}, DType::f64)), Error);
    CHECK_THROWS_AS(add_in_place(x, zeros({1, 3})), Error);
  }

  TEST_CASE("a gradient must look like its tensor") {
    Tensor x = tensor({1, 2}).requires_grad_();
    x.set_grad(tensor({3, 4}));
    CHECK(x.grad().to_vector() == Values{3, 4});
    CHECK_THROWS_AS(x.set_grad(tensor({3, 4, 5})), Error);
    x.zero_grad();
    CHECK(!x.grad());
    CHECK_THROWS_WITH_AS(labels({1}).requires_grad_(), "[requires_grad_] i64 [1] is not a floating-point tensor",
                         Error);
    CHECK(!x.requires_grad_(false).requires_grad());
  }

  TEST_CASE("names appear in descriptions, under the scopes that are open") {
    Tensor x = zeros({4, 3}).named("h1");
    CHECK(x.describe() == "'h1' f32 [4,3]");
    const NameScope outer("encoder");
    {
      const NameScope inner("0");
      CHECK(zeros({1}).named("out").name() == "encoder.0.out");
    }
    CHECK(zeros({1}).named("out").name() == "encoder.out");
  }

  TEST_CASE("printing shows name, type, shape and values, long axes are shortened") {
    CHECK(to_text(tensor({1, 2.5, -3, 4}, {2, 2}).named("w")) == "'w' f32 [2,2] = [[1, 2.5], [-3, 4]]");
    CHECK(to_text(scalar(0.1, DType::f64)) == "f64 [] = 0.1");
    CHECK(to_text(zeros({0})) == "f32 [0] = []");
    CHECK(to_text(arange(10), 4) == "f32 [10] = [0, 1, ..., 8, 9]");
    CHECK(to_text(arange(10), 1) == "f32 [10] = [0, ..., 9]");
    CHECK(to_text(labels({12345678})) == "i64 [1] = [12345678]");
    CHECK(to_text(Tensor()) == "(undefined)");
    std::ostringstream out;
    out << arange(2);
    CHECK(out.str() == "f32 [2] = [0, 1]");
  }

  TEST_CASE("what cannot be is refused with the reason") {
    const Tensor x = arange(6).reshape({2, 3});
    CHECK_THROWS_WITH_AS(tensor({1, 2, 3}, {2, 2}), "[tensor] 3 values for shape [2,2]", Error);
    CHECK_THROWS_WITH_AS(x.item(), doctest::Contains("needs one element, got f32 [2,3]"), Error);
    CHECK_THROWS_WITH_AS(x.at({1}), doctest::Contains("1 indices for f32 [2,3]"), Error);
    CHECK_THROWS_WITH_AS(x.at({1, 3}), doctest::Contains("index 3 is outside axis 1 of f32 [2,3]"), Error);
    CHECK_THROWS_WITH_AS(Tensor().set_grad({}), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(x.size(2), "[size] axis 2 does not exist in shape [2,3]", Error);
    CHECK_THROWS_WITH_AS(x.reshape({4}), "[reshape] f32 [2,3] has 6 elements, [4] has 4", Error);
    CHECK_THROWS_AS(x.reshape({-1, 4}), Error);
    CHECK_THROWS_AS(x.reshape({-1, -1}), Error);
    CHECK_THROWS_WITH_AS(x[2], "[[]] row 2 does not exist in f32 [2,3]", Error);
    CHECK_THROWS_AS(x[-3], Error);
    CHECK_THROWS_AS(scalar(1)[0], Error);
    CHECK_THROWS_WITH_AS(x.rows(1, 3), "[rows] 1:3 does not lie within f32 [2,3]", Error);
    CHECK_THROWS_AS(x.rows(-1, 1), Error);
    CHECK_THROWS_AS(x.rows(2, 1), Error);
    CHECK_THROWS_AS(x.untaped_view({4}, 3), Error);
  }

  TEST_CASE("using a tensor that was never assigned is an error, not a crash") {
    const Tensor none;
    CHECK(!none);
    CHECK(none.describe() == "(undefined)");
    CHECK_THROWS_WITH_AS(none.shape(), "[tensor] the tensor is undefined: it was declared but never assigned", Error);
    CHECK_THROWS_AS(none.item(), Error);
    CHECK_THROWS_AS(none.data<float>(), Error);
    CHECK_THROWS_AS(none.clone(), Error);
    CHECK_THROWS_AS(none.grad(), Error);
    CHECK_THROWS_AS(Tensor().named("x"), Error);
    CHECK_THROWS_AS(Tensor().requires_grad_(), Error);
  }
}
