// Exact optimal transport: the simplex method, shortest paths and central differences agree, and what its head promises.
#include "losses/transport/emd.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "losses/transport/simplex.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

constexpr Form both[] = {Form::closed, Form::definition};

Tensor mass(Index n, Rng& rng) {
  const Tensor x = rand({n}, rng, DType::f64) + 0.1;
  return x / sum(x);
}

// |i - j|^p
Tensor distances(const Values& x, double p = 1) {
  Values d;
  for (const double s : x) {
    for (const double t : x) d.push_back(std::pow(std::abs(s - t), p));
  }
  return matrix(d, Index(x.size()));
}

// 1 - cos(e_i, e_j)
Tensor cosine_costs(const Tensor& e) {
  const Tensor unit = e / sqrt(sum(square(e), {1}, true));
  Values c;
  for (Index i = 0; i < e.size(0); ++i) {
    for (Index j = 0; j < e.size(0); ++j) c.push_back(1 - sum(unit[i] * unit[j]).item());
  }
  return matrix(c, e.size(0));
}

}  // namespace

TEST_SUITE("emd") {
  TEST_CASE("emd: definition, closed form and central differences agree") { check_losses(emd_losses()); }

  TEST_CASE("by hand: two points, the cheaper pair is filled first") {
    const Tensor a = vec({0.7, 0.3}), b = vec({0.4, 0.6}), cost = matrix({0, 1, 2, 0}, 2);
    for (const Form form : both) {
      CHECK(emd(a, b, cost, {.form = form}).item() == doctest::Approx(0.3));
      check_near(emd_plan(a, b, cost, {.form = form}).to_vector(), {0.4, 0.3, 0, 0.3}, 1e-15);
    }
    check_near(slopes(cost, [&](const Tensor& c) { return emd(a, b, c); }), {0.4, 0.3, 0, 0.3}, 1e-15);
  }

  TEST_CASE("the simplex method solves a linear program from a textbook") {
    // max 3 x + 5 y with x <= 4, 2 y <= 12, 3 x + 2 y <= 18: x = 2, y = 6. Three slack variables follow.
    const Values x = simplex({{1, 0, 1, 0, 0}, {0, 2, 0, 1, 0}, {3, 2, 0, 0, 1}}, {4, 12, 18}, {-3, -5, 0, 0, 0});
    check_near(x, {2, 6, 2, 0, 0}, 1e-14);
  }

  TEST_CASE("A040 with equal masses the best plan is the best permutation") {
    Rng rng(3);
    const Index n = 5;
    const Tensor cost = rand({n, n}, rng, DType::f64), equal = full({n}, 1.0 / double(n), DType::f64);
    std::vector<Index> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), Index(0));
    double best = inf;
    do {
      double total = 0;
      for (Index i = 0; i < n; ++i) total += cost.at({i, order[std::size_t(i)]});
      best = std::min(best, total / double(n));
    } while (std::next_permutation(order.begin(), order.end()));
    for (const Form form : both) {
      CHECK(emd(equal, equal, cost, {.form = form}).item() == doctest::Approx(best).epsilon(1e-14));
      for (const double p : emd_plan(equal, equal, cost, {.form = form}).to_vector()) {
        CHECK(std::min(std::abs(p), std::abs(p - 0.2)) < 1e-15);
      }
    }
  }

  TEST_CASE("A041 the plan has the given sums and is never dearer than the independent coupling") {
    Rng rng(4);
    for (int k = 0; k < 5; ++k) {
      const Tensor a = mass(9, rng), b = mass(6, rng), cost = rand({9, 6}, rng, DType::f64);
      const Tensor P = emd_plan(a, b, cost);
      check_near(sum(P, {1}).to_vector(), a.to_vector(), 1e-15);
      check_near(sum(P, {0}).to_vector(), b.to_vector(), 1e-15);
      const double value = emd(a, b, cost).item();
      CHECK(value <= sum(a.reshape({9, 1}) * b * cost).item());
      CHECK(emd(a, b, cost, {.form = Form::definition}).item() == doctest::Approx(value).epsilon(1e-13));
    }
  }

  TEST_CASE("a shift of rows and columns of the cost moves the value by a.x + b.y and leaves the plan") {
    Rng rng(5);
    const Tensor a = mass(4, rng), b = mass(6, rng), cost = rand({4, 6}, rng, DType::f64);
    const Tensor x = randn({4}, rng, DType::f64), y = randn({6}, rng, DType::f64);
    const Tensor shifted = cost + x.reshape({4, 1}) + y;
    CHECK(emd(a, b, shifted).item() ==
          doctest::Approx(emd(a, b, cost).item() + sum(a * x).item() + sum(b * y).item()).epsilon(1e-13));
    check_near(emd_plan(a, b, shifted).to_vector(), emd_plan(a, b, cost).to_vector(), 1e-15);
  }

  TEST_CASE("equal masses in the same places cost nothing, ties in the cost do no harm") {
    Rng rng(6);
    const Tensor a = mass(7, rng), chain = distances({0, 1, 2, 3, 3, 5, 5});
    for (const Form form : both) {
      CHECK(std::abs(emd(a, a, chain, {.form = form}).item()) < 1e-15);
      CHECK(emd(a, mass(7, rng), full({7, 7}, 2, DType::f64), {.form = form}).item() == doctest::Approx(2.0));
      CHECK(emd(a, a, zeros({7, 7}, DType::f64), {.form = form}).item() == 0);
      CHECK(emd(zeros({2}), zeros({3}), ones({2, 3}), {.form = form}).item() == 0);
    }
  }

  TEST_CASE("B046 for a one-hot target the only plan is p in its column, and costs sum of p_i c_it") {
    Rng rng(0);
    const Index n = 6, t = 2;
    const Tensor p = softmax(randn({n}, rng, DType::f64)), cost = cosine_costs(randn({n, 4}, rng, DType::f64));
    Tensor target = zeros({n}, DType::f64), column = zeros({n, n}, DType::f64);
    set_value(target, t, 1);
    double dear = 0;
    for (Index i = 0; i < n; ++i) {
      dear += value_at(p, i) * cost.at({i, t});
      set_value(column, i * n + t, value_at(p, i));
    }
    for (const Form form : both) {
      CHECK(emd(p, target, cost, {.form = form}).item() == doctest::Approx(dear).epsilon(1e-14));
      check_near(emd_plan(p, target, cost, {.form = form}).to_vector(), column.to_vector(), 1e-15);
    }
  }

  TEST_CASE(
      "B045 W1 of histograms obeys the triangle inequality, and is 1/n from a point at 1/n to 0 where KL is infinite") {
    Rng rng(7);
    const Tensor d = distances({0, 1, 2, 3, 4});
    for (int k = 0; k < 20; ++k) {
      const Tensor a = mass(5, rng), b = mass(5, rng), c = mass(5, rng);
      CHECK(emd(a, c, d).item() <= emd(a, b, d).item() + emd(b, c, d).item() + 1e-14);
      CHECK(emd(a, b, d).item() == doctest::Approx(emd(b, a, d).item()).epsilon(1e-13));
    }
    for (const double n : {1.0, 10.0, 1000.0}) {
      const Tensor here = vec({0, 1}), there = vec({1, 0});
      CHECK(emd(here, there, distances({0, 1 / n})).item() == doctest::Approx(1 / n));
      CHECK(1.0 * std::log(1.0 / value_at(there, 1)) == inf);  // its KL: mass 1 where the other has 0
    }
  }

  TEST_CASE(
      "C05 1 - cos is no metric: 90 degrees cost 1, two steps of 45 degrees 0.5858, it is half a squared distance") {
    const double h = std::sqrt(0.5);
    const Tensor c = cosine_costs(matrix({1, 0, h, h, 0, 1}, 3));
    const auto between_points = [&](Index i, Index j, double power) {
      Tensor a = zeros({3}, DType::f64), b = zeros({3}, DType::f64);
      set_value(a, i, 1);
      set_value(b, j, 1);
      return std::pow(emd(a, b, c).item(), power);
    };
    CHECK(between_points(0, 2, 1) == doctest::Approx(1.0));
    CHECK(between_points(0, 1, 1) + between_points(1, 2, 1) == doctest::Approx(0.5858).epsilon(1e-4));
    CHECK(between_points(0, 2, 1) > between_points(0, 1, 1) + between_points(1, 2, 1));
    // Its root is one: 1 - cos = |e_i - e_j|^2 / 2 for unit vectors.
    CHECK(between_points(0, 2, 0.5) <= between_points(0, 1, 0.5) + between_points(1, 2, 0.5));
    Rng rng(8);
    const Tensor x = randn({5}, rng, DType::f64), y = randn({5}, rng, DType::f64);
    const Tensor u = x / sqrt(sum(square(x))), v = y / sqrt(sum(square(y)));
    CHECK(1 - sum(u * v).item() == doctest::Approx(0.5 * sum(square(u - v)).item()).epsilon(1e-14));
  }

  TEST_CASE("C04 the independent coupling pulls p to one class, optimal transport keeps it at the labels") {
    const Tensor pi = vec({0.45, 0.1, 0.45}), chain = distances({0, 0.5, 1});
    // The average of sum_i p_i c_it over labels t: linear in p, so a corner is best, here the class of 10 percent.
    const Tensor price = sum(chain * pi, {1});
    check_near(price.to_vector(), {0.5, 0.45, 0.5}, 1e-15);
    const auto independent = [&](const Tensor& z) { return sum(softmax(z) * price); };
    const Values z = minimise(independent, zeros({3}, DType::f64), 3000, 10);
    CHECK(softmax(vec(z)).to_vector()[1] > 0.99);
    CHECK(sum(pi * price).item() == doctest::Approx(0.495));
    CHECK(std::abs(emd(pi, pi, chain).item()) < 1e-16);  // the distance of p from pi is least at p = pi
    CHECK(emd(vec({0, 1, 0}), pi, chain).item() == doctest::Approx(0.45));
  }

  TEST_CASE("B056 for a soft target the independent coupling is dearer than optimal transport") {
    Rng rng(9);
    for (int k = 0; k < 10; ++k) {
      const Tensor p = mass(6, rng), t = mass(6, rng), cost = cosine_costs(randn({6, 4}, rng, DType::f64));
      const double product = sum(p.reshape({6, 1}) * t * cost).item();
      CHECK(emd(p, t, cost).item() < product - 0.05);
    }
  }

  TEST_CASE("200 random problems with many ties agree with the simplex method") {
    Rng rng(10);
    for (int k = 0; k < 200; ++k) {
      const Index n = 1 + k % 6, m = 1 + (k / 6) % 5;
      const Tensor cost = randint(4, {n, m}, rng).to(DType::f64);
      Tensor a = randint(4, {n}, rng).to(DType::f64), b = randint(4, {m}, rng).to(DType::f64);
      set_value(a, 0, value_at(a, 0) + 1);
      set_value(b, 0, value_at(b, 0) + 1);
      a = a / sum(a), b = b / sum(b);
      CHECK(emd(a, b, cost).item() ==
            doctest::Approx(emd(a, b, cost, {.form = Form::definition}).item()).epsilon(1e-13));
    }
  }

  TEST_CASE("emd: what does not fit is an error that names it") {
    const Tensor a = vec({0.5, 0.5}), b = vec({0.2, 0.3, 0.5}), cost = ones({2, 3}, DType::f64);
    const auto f = [](const Tensor& x, const Tensor& y, const Tensor& c) { return emd(x, y, c); };
    CHECK_THROWS_WITH_AS(f(Tensor(), b, cost), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(f(b, a, cost), doctest::Contains("needs a [n], b [m] and cost [n,m]"), Error);
    CHECK_THROWS_WITH_AS(f(zeros({0}), zeros({0}), zeros({0, 0})), doctest::Contains("n, m >= 1"), Error);
    CHECK_THROWS_WITH_AS(f(a.to(DType::f32), b, cost), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(f(a, 2 * b, cost), doctest::Contains("has the mass 2 where 1 is to be moved"), Error);
    CHECK_THROWS_WITH_AS(f(vec({1.5, -0.5}), b, cost), doctest::Contains("a must be finite and >= 0, got -0.5"), Error);
    CHECK_THROWS_WITH_AS(f(a, vec({NaN, 0.5, 0.5}), cost), doctest::Contains("b must be finite"), Error);
    CHECK_THROWS_WITH_AS(f(a, b, full({2, 3}, inf, DType::f64)), doctest::Contains("costs must be finite"), Error);
    CHECK_THROWS_WITH_AS(f(labels({1}), labels({1}), labels({1}).reshape({1, 1})),
                         doctest::Contains("needs f32 or f64"), Error);
  }
}
