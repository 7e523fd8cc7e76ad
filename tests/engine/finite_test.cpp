// A debug tape stops where the first NaN is made, not where it is noticed.
#include "engine/finite.h"

#include <doctest/doctest.h>

#include "engine/backward.h"
#include "tests/support/toy_ops.h"

using namespace gradus;

namespace {

struct MaskWithInfinity final : Op {
  const char* name() const override { return "mask"; }
  Keep keep() const override { return Keep::nothing; }
  bool makes_infinity() const override { return true; }
  Tensor forward(In in) override {
    return toy::like(in[0], [&](Index i) { return i == 0 ? -INFINITY : value_at(in[0], i); });
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    dx.add(0, toy::like(dy, [&](Index i) { return i == 0 ? 0 : value_at(dy, i); }));
  }
};

}  // namespace

TEST_SUITE("finite") {
  TEST_CASE("the first value that is not finite is found in floats, and integers have none") {
    CHECK(first_non_finite(tensor({1, 2})) == -1);
    CHECK(first_non_finite(tensor({1, INFINITY, NAN})) == 1);
    CHECK(first_non_finite(tensor({1, 2, -NAN}, DType::f64)) == 2);
    CHECK(first_non_finite(labels({1})) == -1);
    CHECK(first_non_finite(Tensor()) == -1);
    CHECK(value_and_place(tensor({1, 2, 3, -INFINITY}, {2, 2}), 3) == "-inf at [1,1]");
    CHECK(value_and_place(scalar(-NAN), 0) == "nan at []");
  }

  TEST_CASE("forward: the message names the op, the place, the input's range and the line") {
    Tape tape(Debug::yes);
    Tensor p = toy::parameter({0.5, 1, 0, 2}, {2, 2}).named("p");
    const auto log_of_zero = [&] { return toy::log(p); };
    const std::string line = std::to_string(__LINE__ - 1);
    CHECK_THROWS_WITH_AS(
        log_of_zero(),
        ("[log] first non-finite value: -inf at [1,0] of its output [2,2]; input 'p' f64 [2,2] has min 0 "
         "at [1,0] and max 2; recorded at finite_test.cpp:" +
         line)
            .c_str(),
        Error);
  }

  TEST_CASE("forward: an ordinary tape does not look, and what was carried in is not blamed on the op") {
    {
      Tape tape;
      CHECK(!std::isfinite(toy::sum(toy::log(toy::parameter({0}))).item()));
    }
    Tape tape(Debug::yes);
    Tensor x = toy::parameter({NAN, INFINITY});
    CHECK_NOTHROW(toy::scale(x, 2));
    CHECK_THROWS_AS(toy::scale(toy::parameter({INFINITY}), 0), Error);  // inf * 0: a new NaN
  }

  TEST_CASE("forward: an op that means its infinities may make them, but no NaN") {
    Tape tape(Debug::yes);
    Tensor x = toy::parameter({1, 2});
    Tensor y = apply(MaskWithInfinity{}, x);
    CHECK(toy::exp(y).at({0}) == 0);
    backward(toy::sum(toy::exp(y)));
    CHECK(x.grad().at({0}) == 0);
  }

  TEST_CASE("backward: the op whose derivative is infinite is named, with a hint") {
    Tape tape(Debug::yes);
    Tensor x = toy::parameter({4, 0}).named("x");
    Tensor loss = toy::sum(toy::scale(toy::sqrt(x), 3));
    CHECK_THROWS_WITH_AS(backward(loss),
                         doctest::Contains("[backward] first non-finite gradient: inf at [1] for the input "
                                           "node 0 (leaf 'x' [2]) of node 1 (sqrt [2], finite_test.cpp:"),
                         Error);
  }

  TEST_CASE("backward: a debug tape keeps every gradient of the pass") {
    Tape tape(Debug::yes);
    Tensor x = toy::parameter({1, 2});
    Tensor h = toy::scale(x, 3);
    Tensor loss = toy::sum(h);
    BackwardPass pass(loss);
    pass.finish_without_grad();
    CHECK(pass.gradient(h).to_vector() == std::vector<double>{1, 1});
    CHECK(pass.gradient(loss).item() == 1);
  }
}
