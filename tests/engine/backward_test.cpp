// Whatever way a program takes through the tape, the gradients must be those of the chain rule.
#include "engine/backward.h"

#include <doctest/doctest.h>
#include <pthread.h>

#include "tests/support/leak_guard.h"
#include "tests/support/toy_ops.h"

using namespace gradus;
using Values = std::vector<double>;

TEST_SUITE("backward") {
  TEST_CASE("gradients of all uses of a tensor add up") {
    const LeakGuard guard;
    Tape tape;
    Tensor x = toy::parameter({3, -2});
    SUBCASE("x used twice by one op") {
      backward(toy::sum(toy::mul(x, x)));
      CHECK(x.grad().to_vector() == Values{6, -4});
    }
    SUBCASE("a diamond") {
      Tensor h = toy::scale(x, 2);
      backward(toy::sum(toy::mul(toy::scale(h, 3), toy::scale(h, 5))));  // 60 x^2
      CHECK(x.grad().to_vector() == Values{360, -240});
    }
    SUBCASE("x + x, where both gradients are one tensor") {
      Tensor y = toy::add(x, x);
      backward(toy::sum(toy::mul(toy::add(y, x), x)));  // 3 x^2
      CHECK(x.grad().to_vector() == Values{18, -12});
    }
    SUBCASE("views") {
      Tensor m = toy::parameter({1, 2, 3, 4, 5, 6}, {2, 3});
      Tensor y = toy::mul(m[0], m.rows(1, 2).reshape({3}));
      backward(toy::sum(toy::add(y, m.reshape({6}).rows(3, 6))));
      CHECK(m.grad().shape() == Shape{2, 3});
      CHECK(m.grad().to_vector() == Values{4, 5, 6, 2, 3, 4});
    }
    SUBCASE("a conversion") {
      Tensor f = toy::parameter({1, 2}, {2}, DType::f32);
      backward(toy::sum(toy::mul(f.to(DType::f64), x)));
      CHECK(f.grad().dtype() == DType::f32);
      CHECK(f.grad().to_vector() == Values{3, -2});
      CHECK(x.grad().to_vector() == Values{1, 2});
    }
  }

  TEST_CASE("backward adds to .grad until zero_grad, and the gradients of two leaves are two tensors") {
    Tensor a = toy::parameter({1, 2}), b = toy::parameter({3, 4});
    for (int n = 0; n < 2; ++n) {
      Tape tape;
      backward(toy::sum(toy::add(a, b)));
    }
    CHECK(a.grad().to_vector() == Values{2, 2});
    Tensor ga = a.grad();
    set_value(ga, 0, 100);
    CHECK(b.grad().to_vector() == Values{2, 2});
    a.zero_grad();
    CHECK(!a.grad());
  }

  TEST_CASE("a loss must be a defined scalar on a tape that is alive") {
    Tensor x = toy::parameter({1, 2});
    CHECK_THROWS_WITH_AS(backward(Tensor()), "[backward] the tensor is undefined", Error);
    Tape tape;
    CHECK_THROWS_WITH_AS(backward(toy::scale(x, 2)),
                         doctest::Contains("starts from a scalar, got f64 [2]; reduce it with "
                                           "sum or mean"),
                         Error);
    CHECK_THROWS_WITH_AS(backward(scalar(1)), doctest::Contains("f32 [] is not on a tape"), Error);
    CHECK_THROWS_WITH_AS(backward(toy::parameter({1})), doctest::Contains("is a leaf that no op has used"), Error);
  }

  TEST_CASE("the default frees each node after its step, and a second pass says so") {
    const LeakGuard guard;
    Tape tape;
    Tensor x = toy::parameter({1, 2});
    const auto leaves_only = memory_use().live_buffers;
    Tensor loss = toy::sum(toy::exp(toy::mul(x, x)));
    backward(loss);
    CHECK(memory_use().live_buffers == leaves_only + 2);  // the loss, which we hold, and x.grad
    CHECK(tape.node(1).spent);
    CHECK_THROWS_WITH_AS(backward(loss), doctest::Contains("node 3 (sum [], backward_test.cpp:"), Error);
    CHECK_THROWS_WITH_AS(backward(loss),
                         doctest::Contains("was already freed by an earlier backward; pass Retain::yes"), Error);
  }

  TEST_CASE("a retained tape can be swept again, with the same bits, and .grad adds up") {
    Tape tape;
    Tensor x = toy::parameter({0.1, 0.7});
    Tensor loss = toy::sum(toy::exp(toy::mul(x, x)));
    const Values first = grad(loss, {x}, Retain::yes)[0].to_vector();
    CHECK(grad(loss, {x}, Retain::yes)[0].to_vector() == first);
    backward(loss, Retain::yes);
    CHECK(x.grad().to_vector() == first);
    backward(loss);
    CHECK(x.grad().to_vector() == Values{2 * first[0], 2 * first[1]});
  }

  TEST_CASE("grad returns values, touches no .grad, and visits only what leads to wrt") {
    Tape tape;
    Tensor w = toy::parameter({2, 3}), v = toy::parameter({5, 7}), other = toy::parameter({1, 1});
    int visits = 0;
    Tensor branch = toy::mul(v, v);
    register_hook(branch, [&](Tensor&) { ++visits; });
    Tensor loss = toy::sum(toy::mul(toy::mul(w, w), branch));
    const auto g = grad(loss, {w, other});
    CHECK(g[0].to_vector() == Values{100, 294});
    CHECK(g[1].to_vector() == Values{0, 0});  // the loss does not depend on it
    CHECK(visits == 0);
    CHECK(!w.grad());
    CHECK(!v.grad());
    CHECK(!tape.node(tape.find(branch)).spent);
    CHECK(grad(loss, {}).empty());
  }

  TEST_CASE("grad works for inner tensors, for the loss itself, and returns tensors of their own") {
    Tape tape;
    Tensor a = toy::parameter({1, 2}), b = toy::parameter({3, 4});
    Tensor h = toy::add(a, b);
    Tensor loss = toy::sum(toy::mul(h, h));
    auto g = grad(loss, {a, b, h, h, loss});
    CHECK(g[2].to_vector() == Values{8, 12});
    CHECK(g[4].item() == 1);
    for (Tensor& x : g) set_value(x, 0, 100);
    CHECK(g[0].to_vector() == Values{100, 12});
    CHECK(g[3].to_vector() == Values{100, 12});
  }

  TEST_CASE("grad refuses what it cannot differentiate by") {
    Tape tape;
    Tensor w = toy::parameter({2, 3});
    Tensor loss = toy::sum(w);
    CHECK_THROWS_WITH_AS(grad(loss, {Tensor()}), "[grad] a tensor to differentiate by is undefined", Error);
    CHECK_THROWS_WITH_AS(grad(loss, {zeros({2})}), "[grad] f32 [2] does not require a gradient", Error);
  }

  TEST_CASE("K heads and one trunk: each head stops at the shared tensor, the trunk runs once, nothing is retained") {
    const LeakGuard guard;
    const Values x_values{0.5, -1, 2}, heads[] = {{1, 2, 3}, {-1, 0.5, 4}, {2, 2, -1}};
    Values joint;
    {
      Tape tape;
      Tensor x = toy::parameter(x_values), h = toy::exp(toy::mul(x, x));
      Tensor total = scalar(0, DType::f64);
      for (const Values& head : heads) total = toy::add(total, toy::sum(toy::mul(h, toy::parameter(head))));
      backward(total);
      joint = x.grad().to_vector();
    }
    Tape tape;
    Tensor x = toy::parameter(x_values), h = toy::exp(toy::mul(x, x));
    int trunk_sweeps = 0;
    register_hook(h, [&](Tensor&) { ++trunk_sweeps; });
    Tensor combined = zeros({3}, DType::f64);
    for (const Values& values : heads) {
      Tensor head = toy::parameter(values);
      Tensor loss = toy::sum(toy::mul(h, head));
      const auto g = grad(loss, {h, head});
      CHECK(g[1].to_vector() == h.to_vector());
      add_in_place(combined, g[0]);
    }
    CHECK(!tape.node(tape.find(h)).spent);
    trunk_sweeps = 0;
    BackwardPass pass(tape);
    pass.seed(h, combined);
    pass.finish();
    CHECK(trunk_sweeps == 1);
    for (std::size_t i = 0; i < 3; ++i) CHECK(x.grad().to_vector()[i] == doctest::Approx(joint[i]).epsilon(1e-14));
  }

  TEST_CASE("writing to a tensor that backward needs is noticed, writing to others is not") {
    Tape tape;
    Tensor w = toy::parameter({2, 3}).named("w");
    Tensor loss = toy::sum(toy::mul(w, w));
    Tensor unneeded = toy::sum(toy::scale(w, 2));
    Tensor row = w.detach()[0];  // a view of the same data
    set_value(row, 0, 9);
    CHECK_THROWS_WITH_AS(
        backward(loss),
        doctest::Contains("needs 'w' f64 [2] as it was in the forward pass, but it was written since: call "
                          "backward before the optimizer's step"),
        Error);
    backward(unneeded);
    CHECK(w.grad().to_vector() == Values{2, 2});
  }
}

namespace {

// No step of the engine may recurse over the tape: a stack of 256 KiB must do.
void* long_chain(void*) {
  const int depth = 400000;
  Tensor x = toy::parameter({1}, {}, DType::f32);
  Tape tape;
  Tensor y = x;
  for (int n = 0; n < depth; ++n) y = y.reshape({});
  backward(y);
  static bool right;
  right = x.grad().item() == 1 && tape.nodes().size() == depth + 1;
  return &right;
}

}  // namespace

TEST_SUITE("backward") {
  TEST_CASE("a chain of 400,000 ops is recorded, differentiated and freed on a small stack") {
    const LeakGuard guard;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    REQUIRE(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, &attributes, long_chain, nullptr) == 0);
    void* right = nullptr;
    pthread_join(thread, &right);
    pthread_attr_destroy(&attributes);
    CHECK(*static_cast<bool*>(right));
  }
}
