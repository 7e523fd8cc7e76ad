#include "engine/inspect.h"

#include <doctest/doctest.h>

#include <sstream>

#include "tests/support/text.h"
#include "tests/support/toy_ops.h"

using namespace gradus;

TEST_SUITE("inspect") {
  TEST_CASE("a listing has one line a node: inputs, the user's line, gradients, what is freed") {
    Tape tape(Debug::yes);
    Tensor w = toy::parameter({3, 4}).named("w");
    const std::string line = "inspect_test.cpp:" + std::to_string(__LINE__ + 1);
    Tensor loss = toy::sum(toy::mul(w, tensor({1, 1}, DType::f64)).named("wx"));
    CHECK(listing(tape) ==
          "0  leaf 'w' [2]\n"
          "1  mul 'wx' [2]  <- 0 const  " +
              line +
              "\n"
              "2  sum []        <- 1        " +
              line + "\n");
    BackwardPass pass(loss);
    pass.step();
    CHECK(listing(tape, &pass) ==
          "0  leaf 'w' [2]\n"
          "1  mul 'wx' [2]  <- 0 const  " +
              line +
              "  |dy| 1.41\n"
              "2  sum []        <- 1        " +
              line + "  |dy| 1     freed\n");
    CHECK(listing(Tape()).empty());
  }

  TEST_CASE("a graph for Graphviz has a node and its arrows, with quotes escaped") {
    Tape tape;
    Tensor w = toy::parameter({3, 4}).named("the \"w\"\\");
    Tensor y = toy::mul(w, w);
    const std::string dot = to_dot(tape);
    CHECK(dot.starts_with("digraph tape {\n"));
    CHECK(dot.ends_with("}\n"));
    check_contains(dot, R"(n0 [label="0 leaf 'the \"w\"\\' [2]", shape=ellipse];)");
    check_contains(dot, R"(n1 [label="1 mul [2]\ninspect_test.cpp:)");
    check_contains(dot, "n0 -> n1;\n  n0 -> n1;");
  }

  TEST_CASE("a summary counts what is not finite apart") {
    CHECK(summary(tensor({1, 2, 6}).named("h")) == "'h' f32 [3]: min 1, mean 3, max 6");
    CHECK(summary(tensor({NAN, 1, -INFINITY, 3, NAN})) == "f32 [5]: min 1, mean 2, max 3 (2 NaN) (1 infinite)");
    CHECK(summary(tensor({NAN})) == "f32 [1]: (1 NaN)");
    CHECK(summary(labels({4, 5})) == "i64 [2]: min 4, mean 4.5, max 5");
    CHECK(summary(zeros({0})) == "f32 [0]: no elements");
    CHECK(summary(Tensor()) == "(undefined)");
  }

  TEST_CASE("watch prints a tensor now and its gradient later") {
    Tape tape;
    std::ostringstream out;
    Tensor h = toy::scale(toy::parameter({1, 2}), 2).named("h");
    watch(h, out);
    CHECK(out.str() == "'h' f64 [2]: min 2, mean 3, max 4\n");
    backward(toy::sum(h));
    check_contains(out.str(), "gradient of 'h' f64 [2]: f64 [2]: min 1, mean 1, max 1\n");
  }

  TEST_CASE("the first value that is not finite is reported with its node, or its constant") {
    Tape tape;
    Tensor x = toy::parameter({1, 0}).named("x");
    Tensor y = toy::mul(toy::log(x), x);
    CHECK(first_non_finite(tape).empty());  // log keeps its input only: an ordinary tape has not kept the output
    tape.clear();
    y = toy::mul(toy::exp(toy::scale(x, 1000)).named("e"), x);
    check_contains(first_non_finite(tape), "inf at [0] of node 2 (exp 'e' [2], inspect_test.cpp:");
    tape.clear();
    y = toy::mul(x, tensor({1, NAN}, DType::f64));
    check_contains(first_non_finite(tape), "nan at [1] of the constant input 1 of node 1 (mul [2]");
  }
}

TEST_SUITE("explain") {
  TEST_CASE("why has x no gradient?") {
    Tensor w = toy::parameter({1, 2}).named("w"), unused = toy::parameter({1}).named("unused");
    const Tensor c = tensor({1, 2}, DType::f64);
    CHECK(explain(Tensor(), Tensor()) == "the tensor is undefined: it was declared but never assigned");
    CHECK(explain(labels({1}), Tensor()) == "i64 [1] holds integers, which carry no gradient");
    check_contains(explain(c, c),
                   "f64 [2] does not require a gradient: a constant, or computed without a tape, under NoGrad");
    check_contains(explain(w, Tensor()), "the loss is undefined");
    check_contains(explain(w, toy::sum(w)), "depends on nothing that requires a gradient: no tape");

    Tensor old;
    {
      Tape tape;
      old = toy::sum(w);
    }
    check_contains(explain(w, old), "is on no tape that is alive");

    Tape tape;
    Tensor h = toy::mul(w, c), loss = toy::sum(h), dead_end = toy::exp(unused).named("dead");
    check_contains(explain(old, loss), "was recorded on another tape than the loss");
    check_contains(explain(toy::parameter({1}), loss), "was used by no op on the tape of the loss");
    check_contains(explain(unused, loss),
                   "'unused' f64 [1] does not lead to the loss: it ends at node 4 (exp 'dead' [1]");
    check_contains(explain(h, loss), "leads to the loss, but only leaves keep a gradient; use grad(loss, {x})");
    check_contains(explain(w, loss), "'w' f64 [2] leads to the loss, but its .grad is empty");
    backward(loss);
    CHECK(explain(w, loss) == "'w' f64 [2] has a gradient; f64 [2]: min 1, mean 1.5, max 2");
  }

  TEST_CASE("a gradient that is exactly zero is told apart from none") {
    Tape tape;
    Tensor w = toy::parameter({1, 2});
    Tensor loss = toy::sum(toy::scale(w, 0));
    backward(loss);
    check_contains(explain(w, loss), "has a gradient that is exactly zero");
  }
}
