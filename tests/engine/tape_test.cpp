// What the tape records, keeps and forgets.
#include "engine/tape.h"

#include <doctest/doctest.h>

#include "engine/backward.h"
#include "tests/support/leak_guard.h"
#include "tests/support/toy_ops.h"

using namespace gradus;
using Values = std::vector<double>;

TEST_SUITE("tape") {
  TEST_CASE("nodes stand in the order of the program, with inputs above, names and the user's line") {
    const LeakGuard guard;
    Tape tape;
    Tensor w = toy::parameter({1, 2, 3}).named("w");
    const int line = __LINE__ + 1;
    Tensor y = toy::sum(toy::mul(w, w).named("square"));
    REQUIRE(tape.nodes().size() == 3);
    CHECK(tape.node(0).name == "w");
    CHECK(!tape.node(0).op);
    CHECK(tape.node(1).name == "square");
    CHECK(tape.node(1).line.line == line);
    CHECK(tape.inputs_of(1)[0] == 0);
    CHECK(tape.inputs_of(1)[1] == 0);
    CHECK(tape.find(y) == 2);
    CHECK(describe_node(tape, 1) == "node 1 (mul 'square' [3], tape_test.cpp:" + std::to_string(line) + ")");
    CHECK(y.requires_grad());
    CHECK(!y.is_leaf());
  }

  TEST_CASE("only what leads to a parameter is recorded") {
    Tape tape;
    const Tensor c = tensor({1, 2}, DType::f64);
    CHECK(!toy::mul(c, c).requires_grad());
    CHECK(tape.nodes().empty());
    Tensor w = toy::parameter({1, 2});
    toy::mul(c, w);
    CHECK(tape.nodes().size() == 2);
    CHECK(tape.inputs_of(1)[0] == -1);
  }

  TEST_CASE("nothing is recorded without a tape, under NoGrad, or after detach") {
    Tensor w = toy::parameter({1, 2});
    CHECK(!toy::sum(w).requires_grad());
    Tape tape;
    {
      const NoGrad no_grad;
      const NoGrad twice;
      CHECK(!toy::sum(w).requires_grad());
    }
    CHECK(!toy::sum(w.detach()).requires_grad());
    CHECK(tape.nodes().empty());
    CHECK(toy::sum(w).requires_grad());
  }

  TEST_CASE("a tape that is opened under NoGrad records, and NoGrad holds again after it") {
    Tensor w = toy::parameter({1, 2});
    const Tape outer;
    const NoGrad no_grad;
    {
      Tape inner;
      CHECK(toy::sum(w).requires_grad());
    }
    CHECK(!toy::sum(w).requires_grad());
    CHECK(outer.nodes().empty());
  }

  TEST_CASE("the innermost tape records, and tapes share their leaves") {
    const LeakGuard guard;
    Tensor w = toy::parameter({2, 3});
    Tape outer;
    Tensor a = toy::sum(toy::mul(w, w));
    {
      Tape inner;
      Tensor b = toy::sum(w);
      CHECK(outer.nodes().size() == 3);
      CHECK(inner.nodes().size() == 2);
      backward(b);
      CHECK(w.grad().to_vector() == Values{1, 1});
    }
    Tensor c = toy::add(a, toy::sum(w));
    CHECK(outer.nodes().size() == 5);  // w has kept its node
    w.zero_grad();
    backward(c);
    CHECK(w.grad().to_vector() == Values{5, 7});
  }

  TEST_CASE("a leaf can be used on one tape after another") {
    Tensor w = toy::parameter({2, 3});
    for (int iteration = 1; iteration <= 3; ++iteration) {
      Tape tape;
      backward(toy::sum(toy::mul(w, w)));
      CHECK(w.grad().to_vector() == Values{4.0 * iteration, 6.0 * iteration});
    }
  }

  TEST_CASE("what was recorded on a tape that is gone cannot be used or differentiated") {
    Tensor w = toy::parameter({2, 3});
    Tensor y;
    {
      Tape tape;
      y = toy::sum(w).named("y");
    }
    CHECK_THROWS_WITH_AS(backward(y),
                         "[backward] 'y' f64 [] cannot be differentiated: no tape is alive; open one with "
                         "`Tape tape;`",
                         Error);
    Tape tape;
    CHECK_THROWS_WITH_AS(
        backward(y), "[backward] 'y' f64 [] was recorded on a tape that is gone; run the forward pass again", Error);
    CHECK_THROWS_WITH_AS(toy::add(y, y), doctest::Contains("[add] tensor 'y' f64 [] was recorded on another tape"),
                         Error);
    CHECK_THROWS_WITH_AS(y.requires_grad_(), doctest::Contains("was computed by an op; use detach()"), Error);
    CHECK(toy::sum(y.detach()).item() == 5);
  }

  TEST_CASE("an op that keeps nothing, or its output, frees its inputs at once") {
    const LeakGuard guard;
    Tape tape;
    Tensor x = toy::parameter({1, 2, 3});
    const auto before = memory_use().live_buffers;
    Tensor y = toy::scale(toy::scale(toy::scale(x, 2), 2), 2);
    CHECK(memory_use().live_buffers == before + 1);  // y
    Tensor z = toy::exp(toy::exp(y));
    CHECK(memory_use().live_buffers == before + 3);  // both outputs
    z = toy::log(toy::log(z));
    CHECK(memory_use().live_buffers == before + 5);  // log keeps its input, so one more; and z
    CHECK(!tape.kept_inputs_of(1)[0]);
    CHECK(!tape.node(1).output);
    CHECK(tape.node(4).output);
  }

  TEST_CASE("a debug tape keeps everything") {
    Tape tape(Debug::yes);
    Tensor y = toy::scale(toy::parameter({1, 2, 3}), 2);
    CHECK(tape.kept_inputs_of(1)[0]);
    CHECK(tape.node(1).output);
  }

  TEST_CASE("rewind drops what was recorded since the mark, and the tape goes on") {
    const LeakGuard guard;
    Tape tape;
    Tensor w = toy::parameter({2, 3});
    Tensor square = toy::mul(w, w);
    const auto mark = tape.mark();
    const auto buffers = memory_use().live_buffers;
    for (int n = 0; n < 3; ++n) {
      Tensor late_leaf = toy::parameter({1, 1});
      toy::sum(toy::exp(toy::mul(square, late_leaf)));
      tape.rewind(mark);
      CHECK(tape.nodes().size() == 2);
      CHECK(tape.find(late_leaf) == -1);
    }
    CHECK(memory_use().live_buffers == buffers);
    backward(toy::sum(square));
    CHECK(w.grad().to_vector() == Values{4, 6});
    CHECK_THROWS_AS(tape.rewind(100), Error);
    tape.clear();
    CHECK(tape.nodes().empty());
    CHECK(tape.find(w) == -1);
  }

  TEST_CASE("an op with an optional input leaves it undefined, the first one is required") {
    struct MaybeAdd final : Op {
      const char* name() const override { return "maybe_add"; }
      Tensor forward(In in) override { return in[1] ? toy::Add{}.forward(in) : in[0].clone(); }
      void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
        for (const int k : {0, 1}) {
          if (dx.wants(k)) dx.add(k, dy);
        }
      }
    };
    Tape tape;
    Tensor w = toy::parameter({1, 2});
    backward(toy::sum(apply(MaybeAdd{}, w, Tensor())));
    CHECK(w.grad().to_vector() == Values{1, 1});
    CHECK_THROWS_WITH_AS(apply(MaybeAdd{}, Tensor(), w),
                         "[maybe_add] the tensor is undefined: it was declared but never assigned", Error);
  }

  TEST_CASE("an op must return a tensor of its own") {
    struct Same final : Op {
      const char* name() const override { return "same"; }
      Tensor forward(In in) override { return in[0]; }
      void backward(const Tensor&, In, const Tensor&, Out) override {}
    };
    CHECK_THROWS_WITH_AS(apply(Same{}, zeros({1})), doctest::Contains("[same] forward returned its own input"), Error);
  }

  TEST_CASE("an op with many inputs is recorded like any other") {
    struct SumAll final : Op {
      const char* name() const override { return "sum_all"; }
      Tensor forward(In in) override {
        Tensor y = in[0].clone();
        for (const Tensor& x : in.subspan(1)) add_in_place(y, x);
        return y;
      }
      void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
        for (int k = 0; k < int(in.size()); ++k) {
          if (dx.wants(k)) dx.add(k, dy);
        }
      }
    };
    Tape tape;
    std::vector<Tensor> parts(12);
    for (std::size_t n = 0; n < parts.size(); ++n) parts[n] = toy::parameter({double(n), 1});
    Tensor y = apply(SumAll{}, user_line(), parts);
    CHECK(y.to_vector() == Values{66, 12});
    backward(toy::sum(toy::mul(y, y)));
    CHECK(parts[0].grad().to_vector() == Values{132, 24});
    CHECK(parts[11].grad().to_vector() == Values{132, 24});
    Tensor first = parts[0].grad();
    set_value(first, 0, 0);
    CHECK(parts[11].grad().to_vector() == Values{132, 24});  // equal, but not one tensor
  }
}
