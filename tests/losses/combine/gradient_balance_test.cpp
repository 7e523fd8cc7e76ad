// Directions from task gradients: invariances, conflicts, the shortest point of the hull, zeros.
#include "losses/combine/gradient_balance.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "losses/combine/generalised_mean.h"
#include "losses/combine/normalised.h"
#include "losses/combine/weighted.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

double inner(const Values& a, const Values& b) {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}
Values unit(Values g) {
  const double length = std::sqrt(inner(g, g));
  for (double& v : g) v /= length;
  return g;
}
double degrees(const Values& g) { return std::atan2(g[1], g[0]) * 180 / 3.14159265358979323846; }

// Losses a_k (start_k + x_k) + b_k: gradients a_k e_k.
Tensor lines(const Tensor& x, const Values& start, const Values& a, double b) { return vec(a) * (x + vec(start)) + b; }

// The direction of a loss of L = (2, 3), with factors a and a constant b.
template <class F> Values direction(F combine, const Values& a, double b) {
  return unit(slopes(vec({0, 0}), [&](const Tensor& x) { return combine(lines(x, {2, 3}, a, b)); }));
}
Values balanced(const Values& a, double b) {
  const Tensor x = vec({0, 0}).requires_grad_();
  Tape tape;
  return grad_norm_direction(task_gradients(lines(x, {2, 3}, a, b), {x})).to_vector();
}

}  // namespace

TEST_SUITE("gradient_balance") {
  TEST_CASE("gradient_balance: definition, closed form and central differences agree") {
    check_losses(gradient_balance_losses());
  }

  TEST_CASE("A129 by hand: (3, 4) and (0, -2) become (.6, .8 - 1)") {
    check_near(grad_norm_direction(matrix({3, 4, 0, -2}, 2)).to_vector(), {.6, -.2}, 1e-15);
  }

  TEST_CASE("B125 factors 7 and 0.01 on the losses and a constant 5 change nothing in the normalised direction") {
    const Tensor x = vec({0.4, 0.7}).requires_grad_();
    const auto at = [&](double a, double b, double shift) {
      Tape tape;
      const Tensor L = stack({a * sum(exp(x)) + shift, b * sum(square(x - 2)) + shift, sum(sin(3 * x))});
      return grad_norm_direction(task_gradients(L, {x})).to_vector();
    };
    check_near(at(7, 0.01, 5), at(1, 1, 0), 1e-15);
  }

  TEST_CASE("C66 D23 a zero gradient gives no NaN, opposite ones cancel, and the field has a curl: it is no gradient") {
    check_near(grad_norm_direction(matrix({0, 0, 3, 4}, 2)).to_vector(), {.6, .8}, 1e-15);
    CHECK(grad_norm_direction(matrix({1, 2, -1, -2}, 2)).to_vector() == Values{0, 0});
    const Tensor zero = vec({0, 0});
    CHECK(std::isnan(value_at(zero / sqrt(sum(square(zero))), 0)));  // the plain formula
    // curl = d d_y / dx - d d_x / dy of the normalised field of two quadratics, and of that of L/sg(L)
    const auto losses = [](const Tensor& z) {
      return stack({sum(square(z * vec({1, 2}))) + 1, sum(square(z - vec({1, 3}))) + 2});
    };
    const auto normalised = [&](const Values& at) {
      const Tensor z = vec(at).requires_grad_();
      Tape tape;
      return grad_norm_direction(task_gradients(losses(z), {z})).to_vector();
    };
    const auto live = [&](const Values& at) {
      return slopes(vec(at), [&](const Tensor& z) { return live_norm(losses(z)); });
    };
    const auto curl = [](const auto& field, double h) {
      const Values right = field({.5 + h, .3}), left = field({.5 - h, .3}), up = field({.5, .3 + h}),
                   down = field({.5, .3 - h});
      return (right[1] - left[1] - up[0] + down[0]) / (2 * h);
    };
    CHECK(std::abs(curl(normalised, 1e-5)) > 0.05);
    CHECK(std::abs(curl(live, 1e-5)) < 1e-8);
  }

  TEST_CASE("D23 who ignores what: factors and constants on L = (2, 3) with orthogonal unit gradients") {
    const auto naive = [](const Tensor& L) { return weighted_sum(L); };
    const auto live = [](const Tensor& L) { return live_norm(L); };
    const Values one = {1, 1}, scaled = {7, 0.01};
    // normalised gradients: neither
    check_near(balanced(scaled, 5), balanced(one, 0), 1e-12);
    // L / sg(L): factors yes, constants no
    CHECK(degrees(direction(live, one, 0)) == doctest::Approx(33.690).epsilon(1e-5));
    CHECK(degrees(direction(live, one, 1)) == doctest::Approx(36.870).epsilon(1e-5));
    const Values x = slopes(vec({0, 0}), [&](const Tensor& z) { return live(lines(z, {2, 3}, scaled, 0)); });
    check_near(unit(x), direction(live, one, 0), 1e-12);
    // the naive sum: constants yes, factors no
    check_near(direction(naive, one, 1e6), direction(naive, one, 0), 1e-12);
    CHECK(std::abs(degrees(direction(naive, scaled, 0)) - 45) > 40);
    // the power mean: factors at gamma 0 only
    for (const double gamma : {-1., 0., .5, 1.}) {
      const auto mean = [gamma](const Tensor& L) { return generalised_mean(L, {.gamma = gamma}); };
      const Values a = direction(mean, one, 0), b = direction(mean, scaled, 0);
      CHECK((std::abs(degrees(a) - degrees(b)) < 1e-3) == (gamma == 0));
    }
  }

  TEST_CASE("pcgrad removes what points against another task, and is the plain sum where nothing does") {
    CHECK(pcgrad(matrix({1, 0, 1, 1}, 2)).to_vector() == Values{2, 1});
    // g_1 = (1, 0), g_2 = (-1, 1): g_1' = g_1 + g_2 / 2 = (.5, .5), g_2' = g_2 + g_1 = (0, 1)
    check_near(pcgrad(matrix({1, 0, -1, 1}, 2)).to_vector(), {.5, 1.5}, 1e-15);
    check_near(pcgrad(matrix({1, 0, 0, 0}, 2)).to_vector(), {1, 0}, 0);
    check_near(pcgrad(matrix({1, 2, -1, -2}, 2)).to_vector(), {0, 0}, 1e-15);
    for (int seed = 1; seed <= 10; ++seed) {
      const Tensor g = distinct({2, 5}, seed);
      const Values d = pcgrad(g).to_vector();
      for (Index k = 0; k < 2; ++k) CHECK(inner(d, g[k].to_vector()) >= -1e-12);
    }
  }

  TEST_CASE("pcgrad in random order is fixed by the seed, and another seed may give another direction") {
    const Tensor g = matrix({1, .2, -.1, -1, .5, .1, .1, -.8, -.4, -.2, -.1, 1}, 4);
    const auto at = [&](std::uint64_t seed) { return pcgrad(g, {.shuffle = true, .seed = seed}).to_vector(); };
    CHECK(at(3) == at(3));
    bool moved = false;
    for (std::uint64_t seed = 0; seed < 20; ++seed) moved = moved || at(seed) != at(0);
    CHECK(moved);
  }

  TEST_CASE("mgda of two tasks is the closed form, cut to the segment") {
    for (int seed = 1; seed <= 20; ++seed) {
      const Tensor g = distinct({2, 4}, seed);
      const Values G = gram_matrix(g).to_vector();
      const double w = std::clamp((G[3] - G[1]) / (G[0] + G[3] - 2 * G[1]), 0., 1.);
      check_near(mgda_weights(gram_matrix(g)).to_vector(), {w, 1 - w}, 1e-12);
    }
    check_near(mgda(matrix({1, 0, 3, 0}, 2)).to_vector(), {1, 0}, 0);
    check_near(mgda(matrix({1, 0, 0, 2}, 2)).to_vector(), {.8, .4}, 1e-15);
  }

  TEST_CASE("mgda: no task falls behind d, every task that weighs anything lies level with it") {
    for (int seed = 1; seed <= 12; ++seed) {
      const Index K = 2 + seed % 7, P = 2 + seed % 5 * 4;
      const Tensor g = distinct({K, P}, seed);
      const Tensor w = mgda_weights(gram_matrix(g));
      const Values d = mgda(g).to_vector();
      const double length = inner(d, d);
      CHECK(sum(w).item() == doctest::Approx(1).epsilon(1e-12));
      for (Index k = 0; k < K; ++k) {
        const double along = inner(d, g[k].to_vector());
        CHECK(value_at(w, k) >= 0);
        CHECK(along >= length - 1e-10);
        if (value_at(w, k) > 0) CHECK(along == doctest::Approx(length).epsilon(1e-10));
      }
    }
  }

  TEST_CASE("zeros, twins and opposite tasks: mgda gives 0 where no direction helps everyone") {
    CHECK(mgda(matrix({0, 0, 3, 4}, 2)).to_vector() == Values{0, 0});
    check_near(mgda(matrix({1, 2, -2, -4}, 2)).to_vector(), {0, 0}, 1e-15);
    check_near(mgda(matrix({1, 2, 1, 2, 1, 2}, 3)).to_vector(), {1, 2}, 1e-15);
    check_near(mgda(matrix({1, 0, -.5, .8, -.5, -.8}, 3)).to_vector(), {0, 0}, 1e-12);  // 0 lies inside the hull
    for (const double broken : {NaN, inf}) {
      const Tensor g = matrix({broken, 1, 1, 1}, 2);
      CHECK(std::isnan(value_at(grad_norm_direction(g), 0)));
      CHECK(!std::isfinite(value_at(pcgrad(g), 0)));
      CHECK(std::isnan(value_at(mgda(g), 0)));
    }
  }

  TEST_CASE("gradients of 1e200 and 1e-200 are no overflow and no underflow of their own") {
    const Tensor g = matrix({3e200, 4e200, -4e200, 3e200}, 2), small = matrix({3e-200, 4e-200, 1, 0}, 2);
    check_near(grad_norm_direction(g).to_vector(), {-.2, 1.4}, 1e-15);
    check_near(grad_norm_direction(small).to_vector(), {1.6, .8}, 1e-15);
    const Tensor tiny = matrix({0, 0, 1e-200, 0, -1e-200, 1e-200}, 3);  // a zero row is no yardstick
    check_near((matrix(pcgrad(tiny).to_vector(), 1) * 1e200).to_vector(), {.5, 1.5}, 1e-14);
    check_near((matrix(mgda(g).to_vector(), 1) * 1e-200).to_vector(), {-.5, 3.5}, 1e-14);
    check_near((matrix(pcgrad(g).to_vector(), 1) * 1e-200).to_vector(), {-1, 7}, 1e-14);
  }

  TEST_CASE("task_gradients are the rows that each task alone would give, over all shared parameters") {
    const Tensor a = distinct({2, 3}).requires_grad_(), b = distinct({2}, 2).requires_grad_();
    Tape tape;
    const Tensor L = stack({sum(square(a)), sum(exp(b)) + sum(a)});
    const Tensor g = task_gradients(L, {a, b});
    CHECK(g.shape() == Shape{2, 8});
    for (Index i = 0; i < 6; ++i) {
      CHECK(g.at({0, i}) == 2 * value_at(a, i));
      CHECK(g.at({1, i}) == 1);
    }
    CHECK(g.at({0, 7}) == 0);
    CHECK(g.at({1, 7}) == doctest::Approx(std::exp(value_at(b, 1))));
    check_near(gram_matrix(g).to_vector(), matmul(g, g, {.transpose_b = true}).to_vector(), 1e-14);
  }

  TEST_CASE("gradient_balance: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(grad_norm_direction(vec({1})), doctest::Contains("needs task_grads [K,P]"), Error);
    CHECK_THROWS_WITH_AS(pcgrad(Tensor()), doctest::Contains("got nothing"), Error);
    CHECK_THROWS_WITH_AS(mgda(zeros({17, 2}), {.form = Form::definition}), doctest::Contains("at most 16"), Error);
    CHECK_THROWS_WITH_AS(mgda_weights(zeros({2, 3})), doctest::Contains("[K,K]"), Error);
    CHECK_THROWS_WITH_AS(pcgrad_weights(Tensor()), doctest::Contains("[K,K]"), Error);
  }
}
