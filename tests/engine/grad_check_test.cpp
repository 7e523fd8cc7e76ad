// grad_check must accept what is right, and name what is wrong: here the mistakes are planted.
#include "engine/grad_check.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "engine/random.h"
#include "tests/support/leak_guard.h"
#include "tests/support/text.h"
#include "tests/support/toy_ops.h"

using namespace gradus;

namespace {

using Backward = std::function<void(const Tensor& dy, const Tensor& x, Out dx)>;

// y = x^3 with whatever backward a test plants.
struct Cube final : Op {
  Backward planted;
  explicit Cube(Backward b) : planted(std::move(b)) {}
  const char* name() const override { return "cube"; }
  Tensor forward(In in) override {
    return toy::like(in[0], [&](Index i) { return std::pow(value_at(in[0], i), 3); });
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override { planted(dy, in[0], dx); }
};

double right_slope(const Tensor& dy, const Tensor& x, Index i) {
  return value_at(dy, i) * 3 * value_at(x, i) * value_at(x, i);
}

// dx_i = slope(dy, x, i), added as it should be.
Backward adds(double (*slope)(const Tensor& dy, const Tensor& x, Index i)) {
  return [slope](const Tensor& dy, const Tensor& x, Out dx) {
    dx.add(0, toy::like(x, [&](Index i) { return slope(dy, x, i); }));
  };
}

Tensor cube(At x, Backward planted = adds(right_slope)) { return apply(Cube(std::move(planted)), x); }

GradCheckResult check_cube(Backward planted, const Shape& shape = {2, 3}) {
  const Tensor x = toy::filled(shape, DType::f32, [](Index i) { return 0.5 + 0.25 * double(i); });
  const auto f = [&](const std::vector<Tensor>& in) { return cube(in[0], planted); };
  return grad_check(f, {Tensor(x).named("x")});
}

}  // namespace

TEST_SUITE("grad_check") {
  TEST_CASE("a right gradient passes, every output against every entry of every input") {
    const LeakGuard guard;
    const Tensor a = tensor({1, -2, 3, 0.5}, DType::f64), b = tensor({2, 1, -1, 4}, DType::f64);
    const auto result = grad_check([](const std::vector<Tensor>& in) { return toy::mul(in[0], in[1]); }, {a, b});
    CHECK_MESSAGE(result.passed, result.message);
    CHECK(result.checked == 4 * 8);
    CHECK(result.kinks == 0);
    CHECK(result.worst < 1e-10);
    CHECK(result.message.empty());
  }

  TEST_CASE("f32 inputs are checked in f64, integers arrive as they are, and .grad stays empty") {
    const Tensor x = tensor({0.1, 0.7, -0.3}).requires_grad_();
    const Tensor t = labels({2, 0});
    const auto f = [](const std::vector<Tensor>& in) {
      CHECK(in[0].dtype() == DType::f64);
      CHECK(in[1].dtype() == DType::i64);
      return toy::exp(in[0][Index(in[1].at({0}))]);
    };
    const auto result = grad_check(f, {x, t});
    CHECK_MESSAGE(result.passed, result.message);
    CHECK(!x.grad());
  }

  TEST_CASE("an input that is used twice, or returned as it is, is no problem") {
    const Tensor x = tensor({0.3, -0.8});
    CHECK(grad_check([](const std::vector<Tensor>& in) { return toy::mul(in[0], in[0]); }, {x}).passed);
    CHECK(grad_check([](const std::vector<Tensor>& in) { return in[0]; }, {x}).passed);
    CHECK(grad_check([](const std::vector<Tensor>& in) { return toy::mul(in[0], in[1]); }, {x, x}).passed);
  }

  TEST_CASE("wrt says which inputs are meant") {
    const auto f = [](const std::vector<Tensor>& in) { return toy::mul(in[0].detach(), in[1]); };
    const Tensor x = tensor({1.5, 2});
    CHECK(!grad_check(f, {x, x}).passed);
    CHECK(grad_check(f, {x, x}, {.wrt = {1}}).passed);
    CHECK_THROWS_WITH_AS(grad_check(f, {x, x}, {.wrt = {2}}), "[grad_check] there is no input 2", Error);
    CHECK_THROWS_AS(grad_check(f, {labels({1})}), Error);
  }

  TEST_CASE("the message names the input, the entry, both values and a likely cause") {
    const auto result =
        check_cube(adds([](const Tensor& dy, const Tensor& x, Index i) { return 2 * right_slope(dy, x, i); }));
    CHECK(!result.passed);
    CHECK(result.worst == doctest::Approx(0.5));
    check_contains(result.message, "input 0, 'x' f64 [2,3]");
    check_contains(result.message, "at [1,2]: analytic ");
    check_contains(result.message, ", numeric ");
    check_contains(result.message, "off by the factor 2 everywhere");
  }

  TEST_CASE("planted mistakes are recognised") {
    SUBCASE("sign") {
      const auto r =
          check_cube(adds([](const Tensor& dy, const Tensor& x, Index i) { return -right_slope(dy, x, i); }));
      check_contains(r.message, "sign is flipped");
    }
    SUBCASE("upstream gradient ignored") {
      const auto wrong = adds([](const Tensor&, const Tensor& x, Index i) { return 3 * std::pow(value_at(x, i), 2); });
      check_contains(check_cube(wrong).message, "upstream gradient ignored?");
      check_contains(check_cube(wrong, {}).message, "upstream gradient ignored?");
    }
    SUBCASE("transposed, square or not") {
      const auto wrong = [](const Tensor& dy, const Tensor& x, Out dx) {
        const Index rows = x.size(0), columns = x.size(1);
        Tensor g = empty(x.shape(), x.dtype());
        for (Index i = 0; i < x.numel(); ++i) set_value(g, i % columns * rows + i / columns, right_slope(dy, x, i));
        dx.add(0, g);
      };
      check_contains(check_cube(wrong, {3, 3}).message, "transposed?");
      check_contains(check_cube(wrong, {2, 3}).message, "transposed?");
    }
    SUBCASE("= instead of +=") {
      const auto wrong = [](const Tensor& dy, const Tensor& x, Out dx) {
        Tensor& sum = dx.into(0);
        for (Index i = 0; i < x.numel(); ++i) set_value(sum, i, right_slope(dy, x, i));
      };
      check_contains(check_cube(wrong).message, "`=` where `+=` belongs?");
    }
    SUBCASE("one special entry") {
      const auto r = check_cube(
          adds([](const Tensor& dy, const Tensor& x, Index i) { return i == 4 ? 0 : right_slope(dy, x, i); }));
      check_contains(r.message, "at [1,1]");
      check_contains(r.message, "right at 5 of 6 entries");
    }
    SUBCASE("nothing arrives") {
      const auto f = [](const std::vector<Tensor>& in) { return cube(in[0].detach()); };
      check_contains(grad_check(f, {tensor({1, 2})}).message, "no gradient arrives: detach? NoGrad?");
    }
    SUBCASE("nothing recognisable") {
      const auto r = check_cube(
          adds([](const Tensor& dy, const Tensor& x, Index i) { return right_slope(dy, x, i) + value_at(x, 5 - i); }));
      check_contains(r.message, "no known pattern");
    }
    SUBCASE("a gradient that is not finite") {
      const auto r = check_cube(adds([](const Tensor&, const Tensor&, Index i) { return i ? 1.0 : std::nan(""); }));
      CHECK(!r.passed);
      check_contains(r.message, "not finite");
    }
    SUBCASE("a backward pass that cannot be repeated") {
      const auto calls = std::make_shared<int>(0);
      const auto r = check_cube([calls](const Tensor& dy, const Tensor& x, Out dx) {
        const double drift = 1 + 1e-9 * ++*calls;
        dx.add(0, toy::like(x, [&](Index i) { return drift * right_slope(dy, x, i); }));
      });
      check_contains(r.message, "two backward passes over one tape differ");
    }
  }

  TEST_CASE("a function that is random, not finite, or not f64 is refused with the reason") {
    const Tensor x = tensor({1, -1});
    Rng rng(3);
    const auto random = [&](const std::vector<Tensor>& in) { return toy::scale(in[0], rng.uniform()); };
    check_contains(grad_check(random, {x}).message, "is it random?");
    check_contains(grad_check([](const std::vector<Tensor>& in) { return toy::log(in[0]); }, {x}).message,
                   "not finite here");
    check_contains(grad_check([](const std::vector<Tensor>& in) { return in[0].to(DType::f32); }, {x}).message,
                   "f32 [2]");
  }

  TEST_CASE("a kink is counted, not reported as an error") {
    const auto f = [](const std::vector<Tensor>& in) {
      return apply(toy::Map(
                       "relu", Keep::inputs, [](double v) { return v > 0 ? v : 0; },
                       [](double v, double) { return v > 0 ? 1.0 : 0.0; }),
                   in[0]);
    };
    const auto result = grad_check(f, {tensor({-1, 0, 2})});
    CHECK_MESSAGE(result.passed, result.message);
    CHECK(result.checked == 9);
    CHECK(result.kinks == 1);

    const auto close_by = grad_check(f, {tensor({-1e-4, 1e-6})});  // smaller steps get past these
    CHECK(close_by.passed);
    CHECK(close_by.kinks == 0);

    const auto jump = [](const std::vector<Tensor>& in) {
      return apply(toy::Map(
                       "sign", Keep::nothing, [](double v) { return v > 0   ? 1.0
                                                                    : v < 0 ? -1.0
                                                                            : 0.0; },
                       [](double, double) { return 0.0; }),
                   in[0]);
    };
    CHECK(grad_check(jump, {tensor({0, 3})}).kinks == 1);
    check_contains(grad_check(f, {tensor({0})}).message, "nothing could be checked");
  }

  TEST_CASE("a wrong derivative is not excused as a kink") {
    const auto wrong = [](const std::vector<Tensor>& in) {
      return apply(toy::Map(
                       "abs", Keep::inputs, [](double v) { return std::abs(v); }, [](double, double) { return 1.0; }),
                   in[0]);
    };
    const auto result = grad_check(wrong, {tensor({-1, -1e-3, 2})});
    CHECK(!result.passed);
    CHECK(result.kinks == 0);
  }

  TEST_CASE("large inputs are checked along random directions, and one wrong entry is still found") {
    const Index n = 500;
    const Tensor x = toy::filled({n}, DType::f64, [](Index i) { return std::sin(double(i)) + 2; });
    const auto right = grad_check([](const std::vector<Tensor>& in) { return cube(in[0]); }, {x});
    CHECK_MESSAGE(right.passed, right.message);
    CHECK(right.checked == 16);
    const auto wrong = grad_check(
        [](const std::vector<Tensor>& in) {
          return cube(in[0], adds([](const Tensor& dy, const Tensor& v, Index i) {
                        return i == 321 ? 0 : right_slope(dy, v, i);
                      }));
        },
        {x});
    CHECK(!wrong.passed);
    check_contains(wrong.message, "at [321]");
    check_contains(wrong.message, "right at 499 of 500");
  }

  TEST_CASE("steps grow with the entry and shrink where the function bends sharply") {
    CHECK(grad_check([](const std::vector<Tensor>& in) { return cube(in[0]); }, {tensor({1e4, -3e-5, 100})}).passed);
    CHECK(grad_check([](const std::vector<Tensor>& in) { return toy::exp(toy::scale(in[0], 20)); }, {tensor({0.3})})
              .passed);
    CHECK(grad_check([](const std::vector<Tensor>& in) { return toy::log(in[0]); }, {tensor({1e-3})}).passed);
  }

  TEST_CASE("the -inf of a mask stays where it is, the other entries are checked") {
    const auto result =
        grad_check([](const std::vector<Tensor>& in) { return toy::exp(in[0]); }, {tensor({-INFINITY, 1})});
    CHECK_MESSAGE(result.passed, result.message);
    CHECK(result.checked == 2);
    CHECK(result.kinks == 0);
  }

  TEST_CASE("a constant function and an empty input pass") {
    CHECK(grad_check([](const std::vector<Tensor>& in) { return toy::scale(in[0], 0); }, {tensor({1, 2})}).passed);
    const auto empty_one = grad_check([](const std::vector<Tensor>& in) { return cube(in[0]); }, {zeros({0, 3})});
    CHECK(empty_one.passed);
    CHECK(empty_one.checked == 0);
  }
}
