// Sinkhorn: the steps on the tape, one node and central differences agree, and what the head of sinkhorn.h promises.
#include "losses/transport/sinkhorn.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/parallel.h"
#include "losses/transport/emd.h"
#include "losses/transport/sinkhorn_core.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

struct Problem {
  Tensor a, b, cost;
};

Problem problem(Index n, Index m, int seed) {
  Rng rng{std::uint64_t(seed)};
  const auto mass = [&](Index k) {
    const Tensor x = rand({k}, rng, DType::f64) + 0.1;
    return x / sum(x);
  };
  const Tensor a = mass(n), b = mass(m);
  return {a, b, rand({n, m}, rng, DType::f64)};
}

Values gradient(const Problem& p, const SinkhornOptions& o) {
  return slopes(p.cost, [&](const Tensor& c) { return sinkhorn(p.a, p.b, c, o); });
}

}  // namespace

TEST_SUITE("sinkhorn") {
  TEST_CASE("sinkhorn: definition, closed form and central differences agree") { check_losses(sinkhorn_losses()); }

  TEST_CASE("by hand: one iteration on two points") {
    // From g = 0 the rows are softmaxes times a; then each column is scaled to b.
    const double e = std::exp(-1.0);
    const Tensor a = vec({0.5, 0.5}), b = vec({0.25, 0.75}), cost = matrix({0, 1, 1, 0}, 2);
    const double near = 0.5 / (1 + e), far = 0.5 * e / (1 + e);
    for (const Form form : {Form::closed, Form::definition}) {
      const Values P = sinkhorn_plan(a, b, cost, {.epsilon = 1, .iterations = 1, .form = form}).to_vector();
      check_near(P, {near * 0.5, far * 1.5, far * 0.5, near * 1.5}, 1e-15);
      CHECK(sinkhorn(a, b, cost, {.epsilon = 1, .iterations = 1, .form = form}).item() == doctest::Approx(2 * far));
    }
  }

  TEST_CASE("the side that is updated last has its masses exactly, the other once converged") {
    const Problem p = problem(7, 5, 1);
    for (const First first : {First::row, First::column}) {
      const int last = first == First::row ? 0 : 1;
      const auto sums = [&](Index iterations, int axis) {
        return sum(sinkhorn_plan(p.a, p.b, p.cost, {.iterations = iterations, .first = first}), {axis}).to_vector();
      };
      const Values &exact = last == 0 ? p.b.to_vector() : p.a.to_vector(),
                   &other = last == 0 ? p.a.to_vector() : p.b.to_vector();
      check_near(sums(1, last), exact, 1e-15);
      check_near(sums(500, last), exact, 1e-15);
      check_near(sums(500, 1 - last), other, 1e-12);
    }
  }

  TEST_CASE("A050 epsilon to 0 gives the exact cost, epsilon to infinity the independent coupling") {
    const Problem p = problem(6, 5, 2);
    const double exact = emd(p.a, p.b, p.cost).item();
    double last = inf;
    for (const double epsilon : {1.0, 0.1, 0.01, 1e-3}) {
      const double value = sinkhorn(p.a, p.b, p.cost, {.epsilon = epsilon, .iterations = 3000}).item();
      CHECK(value > exact - 1e-9);
      CHECK(value < last);
      last = value;
    }
    CHECK(last - exact < 1e-4);
    const Tensor product = p.a.reshape({6, 1}) * p.b;
    check_near(sinkhorn_plan(p.a, p.b, p.cost, {.epsilon = 1e6}).to_vector(), product.to_vector(), 1e-6);
  }

  TEST_CASE("A050 the regularised value is the greatest dual value, and no other plan has a smaller one") {
    const Problem p = problem(4, 4, 3);
    const double epsilon = 0.2;
    const SinkhornOptions o{.epsilon = epsilon, .iterations = 500};
    const double value = sinkhorn_regularised(p.a, p.b, p.cost, o).item();
    const Tensor product = p.a.reshape({4, 1}) * p.b, exact = emd_plan(p.a, p.b, p.cost);
    for (const double t : {0.0, 0.3, 0.9}) {
      const Tensor mixed = (1 - t) * product + t * exact;
      const double price = sum(mixed * p.cost).item() + epsilon * sum(mixed * log(mixed / product)).item();
      CHECK(price > value);
    }
    CHECK(value > sinkhorn(p.a, p.b, p.cost, o).item());
    check_near(slopes(p.cost, [&](const Tensor& c) { return sinkhorn_regularised(p.a, p.b, c, o); }),
               sinkhorn_plan(p.a, p.b, p.cost, o).to_vector(), 1e-14);
  }

  TEST_CASE("the implicit gradient is the unrolled one once converged, and the unrolled one is off before") {
    const Problem p = problem(8, 6, 4);
    for (const double epsilon : {0.05, 0.3}) {
      const Values wanted = slopes(p.cost, [&](const Tensor& c) {
        return sinkhorn_implicit(p.a, p.b, c, {.epsilon = epsilon, .iterations = 20000, .tolerance = 1e-15});
      });
      check_near(gradient(p, {.epsilon = epsilon, .iterations = 5000}), wanted, 1e-10);
      const Values early = gradient(p, {.epsilon = epsilon, .iterations = 1});
      double gap = 0;
      for (std::size_t i = 0; i < early.size(); ++i) gap = std::max(gap, std::abs(early[i] - wanted[i]));
      CHECK(gap > 1e-3);
    }
  }

  TEST_CASE("the implicit form stops by itself when the masses fit") {
    const Problem p = problem(8, 6, 5);
    const auto value = [&](double tolerance) {
      return sinkhorn_implicit(p.a, p.b, p.cost, {.iterations = 100000, .tolerance = tolerance}).item();
    };
    CHECK(value(1e-9) == doctest::Approx(value(1e-14)).epsilon(1e-8));
    CHECK(value(0.1) != value(1e-9));
  }

  TEST_CASE("a kernel that is made once and one that is made at every step give the same numbers") {
    // Costs of 100 epsilon are beyond what one kernel reaches; the definition does all in log-sum-exps.
    const Problem p = problem(9, 7, 6);
    for (const double epsilon : {1.0, 0.02, 0.003, 1e-3}) {
      for (const Index iterations : {1, 2, 3, 30}) {
        for (const First first : {First::row, First::column}) {
          SinkhornOptions o{.epsilon = epsilon, .iterations = iterations, .first = first};
          const double closed = sinkhorn(p.a, p.b, p.cost, o).item();
          const Values g = gradient(p, o);
          o.form = Form::definition;
          CHECK(closed == doctest::Approx(sinkhorn(p.a, p.b, p.cost, o).item()).epsilon(1e-11));
          check_near(g, gradient(p, o), 1e-9);
        }
      }
    }
  }

  TEST_CASE("epsilon 1e-3 in f32 is within 2e-5 of f64, value, plan and gradient") {
    Problem p = problem(40, 30, 7), narrow{p.a.to(DType::f32), p.b.to(DType::f32), p.cost.to(DType::f32)};
    p = {narrow.a.to(DType::f64), narrow.b.to(DType::f64), narrow.cost.to(DType::f64)};
    const SinkhornOptions o{.epsilon = 1e-3, .iterations = 200};
    const double value = sinkhorn(p.a, p.b, p.cost, o).item();
    CHECK(sinkhorn(narrow.a, narrow.b, narrow.cost, o).item() == doctest::Approx(value).epsilon(1e-6));
    const Values wide = gradient(p, o);
    double scale = 0;
    for (const double g : wide) scale = std::max(scale, std::abs(g));
    CHECK(std::isfinite(scale));
    const Values g = gradient(narrow, o);
    for (std::size_t i = 0; i < g.size(); ++i) CHECK(std::abs(g[i] - wide[i]) <= 2e-5 * scale);
  }

  TEST_CASE("the same bits with 1 and 2 threads, f32 and f64, value and gradient") {
    const Problem wide = problem(300, 270, 9);
    const int before = thread_count();
    for (const DType type : {DType::f32, DType::f64}) {
      const Problem p{wide.a.to(type), wide.b.to(type), wide.cost.to(type)};
      for (const First first : {First::row, First::column}) {
        const SinkhornOptions o{.epsilon = 0.03, .iterations = 6, .first = first};
        set_thread_count(1);
        const double value = sinkhorn(p.a, p.b, p.cost, o).item();
        const Values g = gradient(p, o);
        set_thread_count(2);
        CHECK(sinkhorn(p.a, p.b, p.cost, o).item() == value);
        CHECK(gradient(p, o) == g);
      }
    }
    set_thread_count(before);
  }

  TEST_CASE("masses of 1e-20 in f32 are solved in f64") {
    const Tensor a = vec({1e-20, 0.5, 0.5}), b = vec({0.25, 0.75}), cost = matrix({0, 1, 1, 0, 0.5, 0.25}, 3);
    const auto narrow = [](const Tensor& x) { return x.to(DType::f32); };
    const SinkhornOptions o{.epsilon = 0.01, .iterations = 9};
    const Values wide = gradient({narrow(a).to(DType::f64), b, cost}, o),
                 g = gradient({narrow(a), narrow(b), narrow(cost)}, o);
    for (std::size_t i = 0; i < g.size(); ++i) CHECK(g[i] == doctest::Approx(wide[i]).epsilon(1e-6));
  }

  TEST_CASE("costs of 1e6 epsilon, masses of 1e-300 and cheap pairs of equal cost stay finite") {
    const Tensor a = vec({1e-300, 0.5, 0.5}), b = vec({0.25, 0.75});
    for (const double big : {1.0, 1e6}) {
      const Tensor cost = matrix({0, big, big, 0, 0, 0}, 3);
      const SinkhornOptions o{.epsilon = 1, .iterations = 5};
      CHECK(std::isfinite(sinkhorn(a, b, cost, o).item()));
      for (const double g : gradient({a, b, cost}, o)) CHECK(std::isfinite(g));
    }
  }

  TEST_CASE("masses of 0 give rows and columns of 0, in the plan and in the gradient, no mass at all gives 0") {
    const Tensor a = vec({0.5, 0, 0.5}), b = vec({0.25, 0.75, 0}), cost = between(0, 1, {3, 3});
    const Values P = sinkhorn_plan(a, b, cost).to_vector(), g = gradient({a, b, cost}, {});
    for (const std::size_t i : {2, 3, 4, 5, 8}) {
      CHECK(P[i] == 0);
      CHECK(std::abs(g[i]) < 1e-15);
    }
    const Tensor none = zeros({3}, DType::f64);
    CHECK(sinkhorn(none, none, cost).item() == 0);
    CHECK(gradient({none, none, cost}, {}) == Values(9, 0));
    CHECK(sinkhorn_regularised(none, none, cost).item() == 0);
    CHECK(sinkhorn_implicit(none, none, cost).item() == 0);
    CHECK(sinkhorn_plan(none, none, cost).to_vector() == Values(9, 0));
  }

  TEST_CASE("one point, equal costs: the plan is the independent coupling at once") {
    const Tensor one = vec({1}), b = vec({0.2, 0.3, 0.5}), cost = matrix({1, 2, 3}, 1);
    CHECK(sinkhorn(one, b, cost).item() == doctest::Approx(0.2 + 0.6 + 1.5));
    check_near(gradient({one, b, cost}, {}), b.to_vector(), 1e-13);
    const Tensor a = vec({0.4, 0.6});
    check_near(sinkhorn_plan(a, b, ones({2, 3}, DType::f64), {.iterations = 1}).to_vector(),
               (a.reshape({2, 1}) * b).to_vector(), 1e-15);
  }

  TEST_CASE("B046 B055 D03 for a one-hot target the plan is its column for any epsilon, from the second iteration on") {
    Rng rng(1);
    const Tensor p = softmax(randn({6}, rng, DType::f64)), target = vec({0, 0, 1, 0, 0, 0});
    const Tensor cost = rand({6, 6}, rng, DType::f64), column = slice(cost, 1, 2, 3).reshape({6});
    for (const double epsilon : {1.0, 0.1, 0.02}) {
      const double value = sinkhorn(p, target, cost, {.epsilon = epsilon, .iterations = 2}).item();
      CHECK(std::abs(value - sum(p * column).item()) < 1e-14);
      // KL(P || p t^T) = 0: the regularised value is the same.
      const double smooth = sinkhorn_regularised(p, target, cost, {.epsilon = epsilon, .iterations = 2}).item();
      CHECK(std::abs(smooth - value) < 1e-13);
    }
  }

  TEST_CASE("log masses carry a gradient too: rows agree with differences") {
    const Problem p = problem(4, 3, 8);
    const Tensor log_a = log_softmax(distinct({2, 4})), log_b = log_softmax(distinct({2, 3}, 2));
    const SinkhornOptions closed{.iterations = 6}, open{.iterations = 6, .form = Form::definition};
    const auto along = [&](const SinkhornOptions& o, int which) {
      return slopes(which == 0 ? log_a : log_b, [&](const Tensor& x) {
        return sinkhorn_rows(which == 0 ? x : log_a, which == 0 ? log_b : x, p.cost, o);
      });
    };
    check_near(along(closed, 0), along(open, 0), 1e-13);
    check_near(along(closed, 1), along(open, 1), 1e-13);
  }

  TEST_CASE("sinkhorn: what does not fit is an error that names it") {
    const Tensor a = vec({0.5, 0.5}), b = vec({0.2, 0.3, 0.5}), cost = ones({2, 3}, DType::f64);
    const auto f = [&](const SinkhornOptions& o) { return sinkhorn(a, b, cost, o); };
    CHECK_THROWS_WITH_AS(f({.epsilon = 0}), doctest::Contains("epsilon must be > 0"), Error);
    CHECK_THROWS_WITH_AS(f({.epsilon = NaN}), doctest::Contains("epsilon must be > 0"), Error);
    CHECK_THROWS_WITH_AS(f({.iterations = 0}), doctest::Contains("iterations must be >= 1"), Error);
    CHECK_THROWS_WITH_AS(sinkhorn(a, 2 * b, cost), doctest::Contains("has the mass 2 where 1"), Error);
    CHECK_THROWS_WITH_AS(sinkhorn_plan(b, a, cost), doctest::Contains("needs a [n], b [m] and cost [n,m]"), Error);
    CHECK_THROWS_WITH_AS(sinkhorn_regularised(a, b, NaN * cost), doctest::Contains("costs must be finite"), Error);
    CHECK_THROWS_WITH_AS(sinkhorn_implicit(a, b, cost, {.tolerance = -1}), doctest::Contains("tolerance"), Error);
    CHECK_THROWS_WITH_AS(sinkhorn_rows(cost, cost, cost), doctest::Contains("log_a [N,n]"), Error);
    CHECK_THROWS_WITH_AS(sinkhorn_rows(Tensor(), cost, cost), doctest::Contains("one of them is undefined"), Error);
  }
}
