// A checkpoint must change the memory, never the numbers.
#include "engine/checkpoint.h"

#include <doctest/doctest.h>

#include "engine/grad_check.h"
#include "tests/support/leak_guard.h"
#include "tests/support/toy_ops.h"

using namespace gradus;
using Values = std::vector<double>;

namespace {

// exp(x w) w, with several tensors in between
Tensor block(const std::vector<Tensor>& in) { return toy::mul(toy::exp(toy::mul(in[0], in[1])), in[1]); }

}  // namespace

TEST_SUITE("checkpoint") {
  TEST_CASE("value and gradients are those without it") {
    const LeakGuard guard;
    Tensor x = toy::parameter({0.5, -1}), w = toy::parameter({2, 0.25});
    Values value, dx, dw;
    for (const bool with_checkpoint : {false, true}) {
      Tape tape;
      Tensor h = toy::scale(x, 3);
      Tensor y = with_checkpoint ? checkpoint(block, {h, w}) : block({h, w});
      backward(toy::sum(toy::mul(y, y)));
      if (with_checkpoint) {
        CHECK(y.to_vector() == value);
        CHECK(x.grad().to_vector() == dx);
        CHECK(w.grad().to_vector() == dw);
      }
      value = y.to_vector(), dx = x.grad().to_vector(), dw = w.grad().to_vector();
      x.zero_grad(), w.zero_grad();
    }
  }

  TEST_CASE("one node is recorded, and what lies inside is not kept") {
    const LeakGuard guard;
    Tape tape;
    Tensor x = toy::parameter({1, 2}), w = toy::parameter({3, 4});
    const auto before = memory_use().live_buffers;
    Tensor y = checkpoint(block, {x, w});
    CHECK(tape.nodes().size() == 3);
    CHECK(memory_use().live_buffers == before + 1);
  }

  TEST_CASE("gradients are right against central differences, twice the same input too") {
    const Tensor x = tensor({0.3, -0.4}), w = tensor({1.5, 2});
    const auto f = [](const std::vector<Tensor>& in) { return checkpoint(block, in); };
    const auto result = grad_check(f, {x, w});
    CHECK_MESSAGE(result.passed, result.message);
    CHECK(grad_check([&](const std::vector<Tensor>& in) { return f({in[0], in[0]}); }, {x}).passed);
    const auto inner = [&](const std::vector<Tensor>& in) {
      const Tensor h = toy::scale(in[0], 2);
      return f({h, h});
    };
    CHECK(grad_check(inner, {x}).passed);
    CHECK(grad_check([](const std::vector<Tensor>& in) { return checkpoint([](const auto& v) { return v[0]; }, in); },
                     {x})
              .passed);
  }

  TEST_CASE("f may reach its parameters by itself, as a layer does, when they are listed, grad touches no .grad") {
    Tape tape;
    Tensor x = toy::parameter({1, 2}), w = toy::parameter({3, 4}).named("w");
    const auto layer = [&](const std::vector<Tensor>& in) { return toy::mul(in[0], w); };
    Tensor loss = toy::sum(checkpoint(layer, {toy::scale(x, 1), w}));
    const auto g = grad(loss, {x, w});
    CHECK(g[0].to_vector() == Values{3, 4});
    CHECK(g[1].to_vector() == Values{1, 2});
    CHECK(!w.grad());
    CHECK_THROWS_WITH_AS(checkpoint(layer, {x}),
                         "[checkpoint] the function uses 'w' f64 [2], which is not among its inputs: pass it too",
                         Error);
    Tensor h = toy::scale(x, 2);
    const auto captures = [&](const std::vector<Tensor>& in) { return toy::mul(in[0], h); };
    CHECK_THROWS_WITH_AS(checkpoint(captures, {x}), doctest::Contains("was recorded on another tape"), Error);
  }

  TEST_CASE("checkpoints nest, can be retained, and pass constants and integers through") {
    Tape tape;
    Tensor x = toy::parameter({1, 2});
    const auto f = [](const std::vector<Tensor>& in) {
      const Tensor inner = checkpoint(block, {in[0], in[1]});
      return toy::scale(inner, in[2].at({0}));
    };
    Tensor loss = toy::sum(checkpoint(f, {x, tensor({0.5, 0.25}, DType::f64), labels({4})}));
    const Values first = grad(loss, {x}, Retain::yes)[0].to_vector();
    CHECK(first[0] == doctest::Approx(4 * 0.25 * std::exp(0.5)));
    CHECK(grad(loss, {x})[0].to_vector() == first);
  }

  TEST_CASE("a result that depends on nothing gives no gradient") {
    Tape tape;
    Tensor x = toy::parameter({1, 2});
    Tensor y = checkpoint([](const std::vector<Tensor>& in) { return toy::exp(in[0].detach()); }, {x});
    backward(toy::sum(toy::add(y, x)));
    CHECK(x.grad().to_vector() == Values{1, 1});
  }

  TEST_CASE("on a debug tape, the op inside is named that made the first NaN") {
    Tape tape(Debug::yes);
    Tensor x = toy::parameter({-1});
    const auto f = [](const std::vector<Tensor>& in) { return toy::log(in[0]); };
    CHECK_THROWS_WITH_AS(checkpoint(f, {x}), doctest::Contains("[log] first non-finite value"), Error);
  }
}
