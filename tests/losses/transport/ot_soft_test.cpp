// Soft labels through optimal transport: both forms and central differences agree, and what the head promises.
#include "losses/transport/ot_soft.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/transport/emd.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

constexpr Index n = 6;

// 1 - cos of random vectors, as in word embeddings
Tensor cosine_costs(Rng& rng) {
  const Tensor e = randn({n, 4}, rng, DType::f64), unit = e / sqrt(sum(square(e), {1}, true));
  return 1.0 - matmul(unit, unit, {.transpose_b = true});
}

}  // namespace

TEST_SUITE("ot_soft") {
  TEST_CASE("ot_soft: definition, closed form and central differences agree") { check_losses(ot_soft_losses()); }

  TEST_CASE(
      "B055 C06 D03 for a one-hot target the loss is sum of p_i c_it whatever epsilon, so Sinkhorn adds nothing") {
    Rng rng(1);
    const Tensor cost = cosine_costs(rng), z = randn({1, n}, rng, DType::f64), p = softmax(z);
    for (const Index t : {0, 3, 5}) {
      Tensor target = zeros({1, n}, DType::f64);
      set_value(target, t, 1);
      const Tensor column = slice(cost, 1, t, t + 1).reshape({n});
      const auto closed = [&](const Tensor& x) { return sum(softmax(x) * column); };
      for (const double epsilon : {1.0, 0.1, 0.02}) {
        for (const Index iterations : {1, 50}) {
          const auto f = [&](const Tensor& x) {
            return ot_soft(x, target, cost, {.epsilon = epsilon, .iterations = iterations});
          };
          CHECK(std::abs(f(z).item() - closed(z).item()) < 1e-12);
          check_near(slopes(z, f), slopes(z, closed), 1e-11);
        }
      }
      CHECK(std::abs(emd(p[0], target[0], cost).item() - closed(z).item()) < 1e-12);
    }
  }

  TEST_CASE("C06 D03 for soft targets the entropic cost falls to the exact one as epsilon does: below 2e-3 at 0.02") {
    for (int seed = 1; seed < 6; ++seed) {
      Rng rng{std::uint64_t(seed)};
      const Tensor cost = cosine_costs(rng), z = randn({1, n}, rng, DType::f64);
      const Tensor target = softmax(randn({1, n}, rng, DType::f64)), p = softmax(z);
      const double exact = emd(p[0], target[0], cost).item();
      const double product = sum(p.reshape({n, 1}) * target * cost).item();
      double last = product;
      CHECK(exact <= product + 1e-10);
      for (const double epsilon : {1.0, 0.1, 0.02}) {
        const double value = ot_soft(z, target, cost, {.epsilon = epsilon, .iterations = 2000}).item();
        CHECK(value >= exact - 1e-10);
        CHECK(value < last);
        last = value;
      }
      CHECK(last - exact < 2e-3);
    }
  }

  TEST_CASE("D03 C04 at p = t optimal transport costs 0, the independent coupling t C t does not") {
    Rng rng(2);
    const Tensor cost = cosine_costs(rng), z = randn({1, n}, rng, DType::f64), t = softmax(z);
    CHECK(std::abs(emd(t[0], t[0], cost).item()) < 1e-15);
    CHECK(sum(t.reshape({n, 1}) * t * cost).item() > 0.2);
    CHECK(ot_soft(z, t, cost, {.epsilon = 1e-3, .iterations = 200}).item() < 1e-9);
    CHECK(ot_soft(z, t, cost, {.epsilon = 0.1}).item() > 0);
  }

  TEST_CASE(
      "A051 B056 minimised over the logits it finds the soft label, where the independent coupling finds one class") {
    const Tensor target = matrix({0.45, 0.1, 0.45}, 1), chain = matrix({0, .5, 1, .5, 0, .5, 1, .5, 0}, 3);
    const Tensor start = matrix({0.3, -0.2, 0.1}, 1);
    const auto transport = [&](const Tensor& z) {
      return ot_soft(z, target, chain, {.epsilon = 0.05, .iterations = 50});
    };
    const Values p = softmax(matrix(minimise(transport, start, 300, 2), 1)).to_vector();
    check_near(p, target.to_vector(), 0.02);
    const auto independent = [&](const Tensor& z) { return sum(matmul(softmax(z), chain) * target); };
    CHECK(softmax(matrix(minimise(independent, start, 1000, 10), 1)).to_vector()[1] > 0.95);
  }

  TEST_CASE("rows are independent, and the gradient of each sums to 0") {
    const Tensor z = distinct({3, 4}), t = softmax(distinct({3, 4}, 2)), cost = between(0, 1, {4, 4});
    const OtSoftOptions rows{.iterations = 10, .reduction = Reduction::none};
    const Values all = ot_soft(z, t, cost, rows).to_vector();
    for (Index r = 0; r < 3; ++r) {
      CHECK(ot_soft(z.rows(r, r + 1), t.rows(r, r + 1), cost, rows).to_vector()[0] == all[std::size_t(r)]);
    }
    const Values g = slopes(z, [&](const Tensor& x) { return ot_soft(x, t, cost, rows); });
    for (const double s : sum(matrix(g, 3), {1}).to_vector()) CHECK(std::abs(s) < 1e-14);
    CHECK(ot_soft(z, t, cost, {.iterations = 10}).item() == doctest::Approx((all[0] + all[1] + all[2]) / 3));
  }

  TEST_CASE("ot_soft: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = full({2, 3}, 1.0 / 3), cost = ones({3, 3});
    CHECK_THROWS_WITH_AS(ot_soft(Tensor(), t, cost), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(ot_soft(z, t, ones({2, 3})), doctest::Contains("cost [C,C]"), Error);
    CHECK_THROWS_WITH_AS(ot_soft(z, t.to(DType::f64), cost), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(ot_soft(z, ones({2, 3}), cost), doctest::Contains("row 0 has the mass 3 where 1"), Error);
    CHECK_THROWS_WITH_AS(ot_soft(z, t, full({3, 3}, NaN)), doctest::Contains("costs must be finite"), Error);
    CHECK_THROWS_WITH_AS(ot_soft(z, t, cost, {.epsilon = 0}), doctest::Contains("epsilon must be > 0"), Error);
    CHECK_THROWS_WITH_AS(ot_soft(z, t, cost, {.iterations = 0}), doctest::Contains("iterations must be >= 1"), Error);
  }
}
