// One recorded op is checked where it stands.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "engine/grad_check.h"
#include "tests/support/leak_guard.h"
#include "tests/support/text.h"
#include "tests/support/toy_ops.h"

using namespace gradus;

namespace {

// y = x^3, with half of its derivative.
Tensor wrong_cube(At x) {
  return apply(
      toy::Map(
          "cube", Keep::inputs, [](double v) { return v * v * v; }, [](double v, double) { return 1.5 * v * v; }),
      x);
}

}  // namespace

TEST_SUITE("check_node") {
  TEST_CASE("the wrong op is found among right ones, at the values it met") {
    const LeakGuard guard;
    Tape tape(Debug::yes);
    Tensor x = tensor({0.5, 1, 2}).requires_grad_().named("x");
    Tensor loss = toy::sum(wrong_cube(toy::mul(x, x)).named("bad"));
    CHECK(check_node(tape, tape.find(x)).checked == 0);
    CHECK(check_node(tape, 1).passed);
    const GradCheckResult bad = check_node(tape, 2);
    CHECK(!bad.passed);
    check_contains(bad.message, "node 2 (cube 'bad' [3], check_node_test.cpp:");
    check_contains(bad.message, "off by the factor 0.5");
    const GradCheckResult all = check_tape(tape);
    CHECK(!all.passed);
    CHECK(all.message == bad.message);
    CHECK(all.worst == bad.worst);
    backward(loss);
    CHECK_THROWS_WITH_AS(check_node(tape, 2), doctest::Contains("was freed by a backward pass"), Error);
  }

  TEST_CASE("without the inputs there is nothing to run") {
    Tape tape;
    Tensor y = toy::exp(toy::parameter({1}));
    CHECK_THROWS_WITH_AS(check_node(tape, 1), doctest::Contains("record it on `Tape tape(Debug::yes);`"), Error);
  }

  TEST_CASE("constants are left alone, and a conversion to f32 is skipped") {
    Tape tape(Debug::yes);
    Tensor x = tensor({1, 2}, DType::f64).requires_grad_();
    Tensor y = toy::mul(tensor({3, 4}, DType::f64), x).to(DType::f32).to(DType::f64);
    CHECK(check_node(tape, 1).checked == 4);
    CHECK(check_node(tape, 2).checked == 0);
    CHECK(check_node(tape, 3).checked == 4);
    CHECK(check_tape(tape).passed);
  }

  TEST_CASE("an op that remembers its forward pass is left as it was") {
    struct Remembers final : Op {
      Tensor square;
      const char* name() const override { return "remembers"; }
      Tensor forward(In in) override {
        square = toy::like(in[0], [&](Index i) { return std::pow(value_at(in[0], i), 2); });
        return toy::like(in[0], [&](Index i) { return std::pow(value_at(in[0], i), 3); });
      }
      void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
        dx.add(0, toy::like(dy, [&](Index i) { return 3 * value_at(square, i) * value_at(dy, i); }));
      }
    };
    Tape tape(Debug::yes);
    Tensor x = toy::parameter({2, 3}, {2}, DType::f32);
    Tensor loss = toy::sum(apply(Remembers{}, x));
    CHECK(check_node(tape, 1).passed);
    backward(loss);
    CHECK(x.grad().to_vector() == std::vector<double>{12, 27});
  }
}
