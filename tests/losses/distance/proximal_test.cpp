// Proximal losses and elastic weight consolidation: the proof, their optima, the Fisher diagonal, errors.
#include "losses/distance/proximal.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/distance/regression.h"
#include "losses/distance/tree.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor curvatures() { return vec({1, 2, 5}); }
Tensor centres() { return vec({1, -2, 4}); }

// Tasks a_i/2 (theta_i - c_i)^2 beside the penalty; x = theta_1, theta_2, theta_3, theta0.
Tensor quadratic_tasks(const Tensor& x, double lambda) {
  const Tensor theta = x.rows(0, 3), theta0 = x.rows(3, 4);
  const Tensor tasks = sum(0.5 * curvatures() * square(theta - centres()));
  return tasks + proximal_meta(theta.reshape({3, 1}), theta0, {.lambda = lambda});
}

// The optimum in closed form: theta_i = (a c + 2 lambda theta0) / (a + 2 lambda), theta0 = sum h_i c_i / sum h_i with
// h = 2 lambda a / (a + 2 lambda).
Values optimum(double lambda) {
  double over = 0, under = 0;
  for (Index i = 0; i < 3; ++i) {
    const double a = value_at(curvatures(), i), h = 2 * lambda * a / (a + 2 * lambda);
    over += h * value_at(centres(), i), under += h;
  }
  const double centre = over / under;
  Values x;
  for (Index i = 0; i < 3; ++i) {
    const double a = value_at(curvatures(), i);
    x.push_back((a * value_at(centres(), i) + 2 * lambda * centre) / (a + 2 * lambda));
  }
  x.push_back(centre);
  return x;
}

}  // namespace

TEST_SUITE("proximal") {
  TEST_CASE("proximal: definition, closed form and central differences agree") { check_losses(proximal_losses()); }

  TEST_CASE("A143 A149 by hand: moved by 1 and -2") {
    const Tensor theta = vec({1, 0}), start = vec({0, 2});
    for (const Form form : {Form::closed, Form::definition}) {
      const ProximalOptions o{.lambda = 3, .form = form};
      CHECK(proximal(theta, start, o).item() == 15);
      CHECK(slopes(theta, [&](const Tensor& x) { return proximal(x, start, o); }) == Values{6, -12});
      CHECK(slopes(start, [&](const Tensor& x) { return proximal(theta, x, o); }) == Values{-6, 12});
      CHECK(proximal_meta(matrix({1, 0, 0, 2}, 2), start, o).item() == 15);
      CHECK(ewc(theta, start, vec({1, 0.5}), o).item() == 4.5);
      CHECK(slopes(theta, [&](const Tensor& x) { return ewc(x, start, vec({1, 0.5}), o); }) == Values{3, -3});
    }
  }

  TEST_CASE("B140 C91 three quadratic tasks: the optimal centre is the mean of the tasks' parameters") {
    const Values x = minimise([](const Tensor& v) { return quadratic_tasks(v, 0.7); }, vec({0, 0, 0, 0}), 4000, 0.1);
    check_near(x, {1.189, -0.631, 3.415, 1.32419}, 5e-4);
    CHECK(x[3] == doctest::Approx((x[0] + x[1] + x[2]) / 3).epsilon(1e-7));
    check_near(x, optimum(0.7), 1e-6);
  }

  TEST_CASE("C91 the penalty outside the sum reaches one task only, and the centre follows that one alone") {
    const auto outside = [](const Tensor& x) -> Tensor {
      const Tensor tasks = sum(0.5 * curvatures() * square(x.rows(0, 3) - centres()));
      return tasks + proximal(x.rows(2, 3), x.rows(3, 4), {.lambda = 0.7});
    };
    const Values x = minimise(outside, vec({0, 0, 0, 0}), 4000, 0.1);
    CHECK(x[3] == doctest::Approx(4).epsilon(1e-5));  // c_3, not the mean of anything
    CHECK(std::abs(x[3] - 1.32419) > 2.6);
  }

  TEST_CASE("B140 lambda to 0 leaves each task its own optimum, lambda to infinity gives all tasks one") {
    for (const double lambda : {1e-6, 0.7, 50.0, 1e6}) {
      const Values x = optimum(lambda), g = slopes(vec(x), [=](const Tensor&v) { return quadratic_tasks(v, lambda); });
      for (const double v : g) CHECK(std::abs(v) < 1e-8);
    }
    check_near(optimum(1e-6), {1, -2, 4, 1}, 1e-5);                // each its c, in the middle the mean of c
    check_near(optimum(1e6), {2.125, 2.125, 2.125, 2.125}, 1e-5);  // sum a c / sum a
  }

  TEST_CASE("the meta penalty is the tree loss of a star around theta0, and its gradient there is 0 at the mean") {
    const Tensor theta = between(-2, 2, {4, 3}, 1), theta0 = between(-2, 2, {3}, 2);
    const Tensor star = tensor({0, 1, 0, 2, 0, 3, 0, 4}, {4, 2}, DType::i64);
    const Tensor nodes = cat({theta0.reshape({1, 3}), theta});
    CHECK(proximal_meta(theta, theta0, {.lambda = 0.7}).item() ==
          doctest::Approx(0.7 * tree(nodes, star).item()).epsilon(1e-14));
    const Values g = slopes(mean(theta, {0}), [&](const Tensor& x) { return proximal_meta(theta, x); });
    for (const double v : g) CHECK(std::abs(v) < 1e-13);
  }

  TEST_CASE("A149 two tasks: ewc ends where the posterior of both quadratics has its top") {
    // New task b/2 (theta - d)^2, old optimum theta* with curvature F: (b d + lambda F theta*) / (b + lambda F).
    const Tensor star = vec({1, -1, 2}), F = vec({4, 0, 1}), d = vec({-1, 3, 0}), b = vec({2, 1, 0.5});
    const auto f = [&](const Tensor& theta) -> Tensor {
      return sum(0.5 * b * square(theta - d)) + ewc(theta, star, F, {.lambda = 1.5});
    };
    check_near(minimise(f, star, 4000, 0.1), {(-2.0 + 6) / 8, 3, 3.0 / 2}, 1e-6);
  }

  TEST_CASE("A149 the Fisher diagonal of a coin is p (1 - p), while the square of the mean gradient is 0") {
    // d log p / dlogit = y - p, three heads in ten.
    Values g(10, -0.3);
    g[0] = g[4] = g[7] = 0.7;
    CHECK(fisher_diagonal(matrix(g, 10)).item() == doctest::Approx(0.3 * 0.7));
    CHECK(std::abs(mean(vec(g)).item()) < 1e-15);
    CHECK(fisher_diagonal(zeros({0, 2})).to_vector() == Values{0, 0});
    CHECK(fisher_diagonal(zeros({5, 2, 3})).shape() == Shape{2, 3});
  }

  TEST_CASE("proximal: what does not fit is an error that names it") {
    const Tensor x = zeros({3}), y = zeros({2, 3});
    CHECK_THROWS_WITH_AS(proximal(x, zeros({4})), doctest::Contains("[proximal] needs two tensors of one shape"),
                         Error);
    CHECK_THROWS_WITH_AS(proximal(x, x, {.lambda = -1}), doctest::Contains("lambda must be at least 0"), Error);
    CHECK_THROWS_WITH_AS(proximal_meta(y, zeros({2})), doctest::Contains("needs theta [K,..]"), Error);
    CHECK_THROWS_WITH_AS(proximal_meta(y, Tensor()), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(proximal_meta(y, x, {.lambda = NaN}), doctest::Contains("lambda must be"), Error);
    CHECK_THROWS_WITH_AS(ewc(x, x, y), doctest::Contains("[ewc] needs two tensors of one shape"), Error);
    CHECK_THROWS_WITH_AS(fisher_diagonal(scalar(1)), doctest::Contains("gradients [N,..], one per sample"), Error);
  }
}
