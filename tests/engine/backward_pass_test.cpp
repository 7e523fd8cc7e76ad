// The backward pass as an object: its steps, seeds and hooks, and what an op may do with its Out.
#include "engine/backward.h"

#include <doctest/doctest.h>

#include "tests/support/toy_ops.h"

using namespace gradus;
using Values = std::vector<double>;

TEST_SUITE("backward pass") {
  TEST_CASE("a pass can be stepped: next names the node, its gradient is complete, keep holds on to it") {
    Tape tape;
    Tensor x = toy::parameter({2, 3});
    Tensor h = toy::mul(x, x);
    Tensor loss = toy::sum(toy::add(h, h));
    BackwardPass pass(loss, Retain::yes);
    pass.keep(h);
    CHECK(pass.next() == 3);
    CHECK(pass.next() == 3);  // asking changes nothing
    CHECK(pass.gradient(loss).item() == 1);
    pass.step();
    CHECK(pass.next() == 2);
    CHECK(!pass.gradient(loss));
    pass.step();
    CHECK(pass.next() == 1);
    CHECK(pass.gradient(h).to_vector() == Values{2, 2});
    pass.step();
    CHECK(pass.next() == -1);
    pass.step();  // at the end: nothing to do
    CHECK(pass.gradient(x).to_vector() == Values{8, 12});
    CHECK(pass.gradient(h).to_vector() == Values{2, 2});
    CHECK(!x.grad());
    pass.finish();
    CHECK(x.grad().to_vector() == Values{8, 12});
  }

  TEST_CASE("seeds add up, and must fit") {
    Tape tape;
    Tensor x = toy::parameter({2, 3});
    Tensor h = toy::mul(x, x);
    BackwardPass pass(tape);
    pass.seed(h, tensor({1, 0}, DType::f64));
    pass.seed(h, tensor({0, 10}, DType::f64));
    CHECK_THROWS_AS(pass.seed(h, tensor({1}, DType::f64)), Error);
    CHECK_THROWS_AS(pass.seed(h, tensor({1, 1}, DType::f32)), Error);
    CHECK_THROWS_WITH_AS(pass.seed(zeros({1}), zeros({1})), "[seed] f32 [1] is not on this tape", Error);
    pass.step();
    CHECK_THROWS_WITH_AS(pass.seed(h, h), doctest::Contains("the sweep is already past node 1"), Error);
    pass.finish();
    CHECK(x.grad().to_vector() == Values{4, 60});
    Tensor late = toy::mul(x, x);  // recorded after the pass began: no part of it
    CHECK(!pass.gradient(late));
    pass.keep(late);
  }

  TEST_CASE("a hook runs once per pass on the complete gradient, of a leaf too, and may replace it") {
    Tape tape;
    Tensor x = toy::parameter({1, 2});
    Tensor h = toy::scale(x, 1);
    Tensor loss = toy::sum(toy::add(h, h));
    std::vector<Values> seen;
    register_hook(h, [&](Tensor& g) {
      seen.push_back(g.to_vector());
      g = tensor({5, 6}, DType::f64);
    });
    register_hook(x, [&](Tensor& g) {
      seen.push_back(g.to_vector());
      set_value(g, 0, -1);
    });
    const NoGrad unaffected;
    backward(loss, Retain::yes);
    CHECK(seen == std::vector<Values>{{2, 2}, {5, 6}});
    CHECK(x.grad().to_vector() == Values{-1, 6});
    backward(loss);
    CHECK(seen.size() == 4);
  }

  TEST_CASE("a hook must leave a gradient of the same kind, and sits on something that has one") {
    Tape tape;
    Tensor x = toy::parameter({1, 2});
    register_hook(x, [](Tensor& g) { g = g.reshape({2, 1}); });
    CHECK_THROWS_WITH_AS(backward(toy::sum(toy::scale(x, 2))),
                         "[backward] a hook of node 0 (leaf [2]) left the gradient f64 [2,1]", Error);
    CHECK_THROWS_WITH_AS(register_hook(zeros({1}), [](Tensor&) {}), doctest::Contains("is not on a tape"), Error);
  }

  TEST_CASE("an op that returns a wrong shape, or asks for an unwanted gradient, is told so") {
    struct Wrong final : Op {
      bool unwanted;
      explicit Wrong(bool u) : unwanted(u) {}
      const char* name() const override { return "wrong"; }
      Tensor forward(In in) override { return in[0].clone(); }
      void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
        if (unwanted) dx.into(1);
        dx.add(0, dy[0]);
      }
    };
    Tape tape;
    Tensor x = toy::parameter({1, 2});
    CHECK_THROWS_WITH_AS(backward(toy::sum(apply(Wrong(false), x, zeros({2})))),
                         "[backward] an op returned the gradient f64 [] for an input of shape [2] f64", Error);
    CHECK_THROWS_WITH_AS(backward(toy::sum(apply(Wrong(true), x, zeros({2})))), "[backward] into(1) without wants(1)",
                         Error);
  }

  TEST_CASE("into, sum and add agree, whoever comes first") {
    struct Three final : Op {  // y = x   dx = dy, written in three parts
      int first;
      explicit Three(int f) : first(f) {}
      const char* name() const override { return "three"; }
      Keep keep() const override { return Keep::nothing; }
      Tensor forward(In in) override { return in[0].clone(); }
      void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
        for (int n = first; n < first + 3; ++n) {
          if (n % 3 == 0) dx.add(0, dy);
          if (n % 3 == 1) add_in_place(dx.into(0), dy);
          if (n % 3 == 2) {
            auto [sum, started] = dx.sum(0);
            for (Index i = 0; i < dy.numel(); ++i)
              set_value(sum, i, (started ? value_at(sum, i) : 0) + value_at(dy, i));
          }
        }
      }
    };
    for (const int first : {0, 1, 2}) {
      Tape tape;
      Tensor x = toy::parameter({1, 2});
      Tensor y = apply(Three(first), x);
      backward(toy::sum(toy::mul(y, y)));
      CHECK(x.grad().to_vector() == Values{6, 12});
    }
  }
}
