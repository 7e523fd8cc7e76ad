// Tree loss: the proof, the trace form, the collapse, errors.
#include "losses/distance/tree.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/distance/regression.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor edges() { return tensor({0, 1, 0, 2, 2, 3, 2, 4}, {4, 2}, DType::i64); }  // five nodes
Tensor alpha() { return tensor({1, 0.5, 2, 1.5}, DType::f64); }

// diag(A 1) - A
Tensor laplacian(Index N) {
  Tensor lap = zeros({N, N}, DType::f64);
  const auto add = [&](Index i, Index j, double v) { set_value(lap, i * N + j, value_at(lap, i * N + j) + v); };
  for (Index e = 0; e < edges().size(0); ++e) {
    const Index i = Index(value_at(edges(), 2 * e)), j = Index(value_at(edges(), 2 * e + 1));
    const double a = value_at(alpha(), e);
    add(i, i, a), add(j, j, a), add(i, j, -a), add(j, i, -a);
  }
  return lap;
}

// The greatest distance of a node's entry from the mean of its column.
double spread(const Values& h, Index N) {
  const Tensor x = matrix(h, N), centred = x - mean(x, {0}, true);
  double worst = 0;
  for (const double v : centred.to_vector()) worst = std::max(worst, std::abs(v));
  return worst;
}

}  // namespace

TEST_SUITE("tree") {
  TEST_CASE("tree: definition, closed form and central differences agree") { check_losses(tree_losses()); }

  TEST_CASE("A142 by hand: weights 2 and 3 on squared distances 25 and 4") {
    const Tensor h = matrix({0, 0, 3, 4, 3, 2}, 3), path = tensor({0, 1, 1, 2}, {2, 2}, DType::i64);
    const Tensor weights = vec({2, 3});
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(tree(h, path, weights, {.form = form}).item() == doctest::Approx(62));
      CHECK(tree(h, path, {}, {.form = form}).item() == doctest::Approx(29));
      check_near(slopes(h, [&](const Tensor& x) { return tree(x, path, weights, {.form = form}); }),
                 {-12, -16, 12, 28, 0, -12}, 1e-13);
      CHECK(slopes(weights, [&](const Tensor& a) { return tree(h, path, a, {.form = form}); }) == Values{25, 4});
    }
  }

  TEST_CASE("B139 C90 the tree loss is tr(H^T Lap H) with gradient 2 Lap H, and Lap has the constant vector at 0") {
    const Tensor h = between(-2, 2, {5, 3}, 1), lap = laplacian(5);
    const double trace = sum(h * matmul(lap, h)).item();
    CHECK(tree(h, edges(), alpha()).item() == doctest::Approx(trace).epsilon(1e-14));
    check_near(slopes(h, [](const Tensor& x) { return tree(x, edges(), alpha()); }), (2.0 * matmul(lap, h)).to_vector(),
               1e-13);
    check_near(matmul(lap, ones({5}, DType::f64)).to_vector(), Values(5, 0), 1e-15);
  }

  TEST_CASE("B139 each descent step on the tree loss draws the ends of every edge of a path nearer") {
    Tensor h = between(-2, 2, {5, 2}, 2);
    double before = tree(h, edges(), alpha()).item();
    for (int step = 0; step < 20; ++step) {
      const Values g = slopes(h, [](const Tensor& x) { return tree(x, edges(), alpha()); });
      h = (h - 0.05 * matrix(g, 5)).detach();
      const double now = tree(h, edges(), alpha()).item();
      CHECK(now < before);
      before = now;
    }
  }

  TEST_CASE("C90 alone the tree loss collapses all nodes to one vector, beside a task loss it only smooths") {
    const Tensor start = between(-2, 2, {5, 2}, 3);
    const Values alone = minimise([](const Tensor& h) { return tree(h, edges(), alpha()); }, start, 2000, 0.05);
    CHECK(spread(alone, 5) < 1e-6);
    const auto with_task = [&](const Tensor& h) -> Tensor {
      return mse(h, start, {.reduction = Reduction::sum}) + 0.3 * tree(h, edges(), alpha());
    };
    const Values both = minimise(with_task, start, 2000, 0.05);
    CHECK(spread(both, 5) > 0.3);
    CHECK(tree(matrix(both, 5), edges(), alpha()).item() < tree(start, edges(), alpha()).item());
    // The optimum solves (I + 0.3 Lap) H = start.
    const Tensor h = matrix(both, 5);
    check_near((h + 0.3 * matmul(laplacian(5), h)).to_vector(), start.to_vector(), 1e-5);
  }

  TEST_CASE("direction and order of edges do not matter, moving all nodes changes nothing") {
    const Tensor h = between(-2, 2, {5, 3}, 1), turned = tensor({4, 2, 3, 2, 2, 0, 1, 0}, {4, 2}, DType::i64);
    const double loss = tree(h, edges(), alpha()).item();
    CHECK(tree(h, turned, vec({1.5, 2, 0.5, 1})).item() == doctest::Approx(loss));
    CHECK(tree(h + 7.0, edges(), alpha()).item() == doctest::Approx(loss));
    CHECK(tree(h, edges().to(DType::i32), alpha()).item() == loss);
    const Tensor total = sum(matrix(slopes(h, [](const Tensor& x) { return tree(x, edges(), alpha()); }), 5), {0});
    for (const double v : total.to_vector()) CHECK(std::abs(v) < 1e-13);
  }

  TEST_CASE("tree: what does not fit is an error that names it") {
    const Tensor h = zeros({3, 2}), path = tensor({0, 1, 1, 2}, {2, 2}, DType::i64);
    CHECK_THROWS_WITH_AS(tree(Tensor(), path), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(tree(zeros({3}), path), doctest::Contains("h [N,D]"), Error);
    CHECK_THROWS_WITH_AS(tree(h, labels({0, 1})), doctest::Contains("edges [E,2]"), Error);
    CHECK_THROWS_WITH_AS(tree(h, tensor({0, 3}, {1, 2}, DType::i64)), doctest::Contains("node 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(tree(h, path, ones({3})), doctest::Contains("one weight per edge"), Error);
    CHECK_THROWS_WITH_AS(tree(h, path, ones({2}, DType::f64)), doctest::Contains("types differ"), Error);
  }
}
