// Divergences between softmax(z) and targets: their forms, the inequalities between them, their edges.
#include "losses/softmax/divergence.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

const DivergenceOptions each{.reduction = Reduction::none};

using Divergence2 = Tensor (*)(At, const Tensor&, DivergenceOptions);
Tensor hellinger_root(At z, const Tensor& t, DivergenceOptions o) {
  return hellinger(z, t, {.reduction = o.reduction, .form = o.form});
}
Tensor hellinger_square(At z, const Tensor& t, DivergenceOptions o) {
  return hellinger(z, t, {.squared = true, .reduction = o.reduction, .form = o.form});
}
const Divergence2 all[] = {kl_div, js_div, tv, hellinger_root, hellinger_square};

// D(t, p) of two rows of probabilities
double between_rows(Divergence2 d, const Values& t, const Values& p) {
  return d(log(matrix(p, 1)), matrix(t, 1), {}).item();
}

struct Pair {
  Tensor z, t;  // [N,C] logits and probabilities
};
Pair random_pair(int seed, Index N, Index C) {
  Rng rng(std::uint64_t(seed) + 1);
  return {2 * randn({N, C}, rng, DType::f64), softmax(2 * randn({N, C}, rng, DType::f64))};
}

}  // namespace

TEST_SUITE("divergence") {
  TEST_CASE("divergence: definition, closed form and central differences agree") { check_losses(divergence_losses()); }

  TEST_CASE("by hand: t = (1/2, 1/2) against p = (1/4, 3/4), and two certainties that exclude each other") {
    const Values t = {.5, .5}, p = {.25, .75}, m = {.375, .625};
    check_near(between_rows(kl_div, t, p), .5 * std::log(2.0) + .5 * std::log(2.0 / 3), 1e-15);
    const double js = .25 * std::log(.5 / m[0]) + .25 * std::log(.5 / m[1]) + .125 * std::log(.25 / m[0]) +
                      .375 * std::log(.75 / m[1]);
    check_near(between_rows(js_div, t, p), js, 1e-15);
    check_near(between_rows(tv, t, p), .25, 1e-15);
    const double h2 = 1 - std::sqrt(.125) - std::sqrt(.375);
    check_near(between_rows(hellinger_square, t, p), h2, 1e-15);
    check_near(between_rows(hellinger_root, t, p), std::sqrt(h2), 1e-15);
    const Tensor never = matrix({-inf, 0}, 1), sure = matrix({1, 0}, 1);
    CHECK(kl_div(never, sure).item() == inf);
    check_near(js_div(never, sure).item(), std::log(2.0), 1e-15);
    CHECK(tv(never, sure).item() == 1);
    CHECK(hellinger(never, sure).item() == 1);
  }

  TEST_CASE("B001 A003 A006 KL is cross entropy minus entropy") {
    const Pair x = random_pair(1, 200, 6);
    const Values kl = kl_div(x.z, x.t, each).to_vector();
    const Values ce = cross_entropy(x.z, x.t, {.reduction = Reduction::none}).to_vector();
    const Values h = (-sum(x.t * log(x.t), {1})).to_vector();
    for (std::size_t r = 0; r < 200; ++r) check_near(kl[r], ce[r] - h[r], 1e-12);
  }

  TEST_CASE("B002 A025 no divergence is negative over 10000 pairs, at t = p all are 0, and the smooth ones flat") {
    const Pair x = random_pair(2, 10000, 5);
    for (const Divergence2 d : all) {
      int negative = 0;
      for (const double v : d(x.z, x.t, each).to_vector()) negative += !(v >= -1e-15);
      CHECK(negative == 0);
      const Pair few = random_pair(3, 20, 5);
      const Tensor p = softmax(few.z);
      for (const double v : d(few.z, p, each).to_vector()) CHECK(std::abs(v) < 1e-15);
      if (d == static_cast<Divergence2>(tv) || d == static_cast<Divergence2>(hellinger_root)) continue;  // kinks at 0
      for (const double v : slopes(few.z, [&](const Tensor& z) { return d(z, p, {}); })) CHECK(std::abs(v) < 1e-15);
    }
    // The target's gradient is the same for all classes there: nothing along the simplex.
    const Pair few = random_pair(3, 2, 4);
    check_near(slopes(softmax(few.z), [&](const Tensor& t) { return kl_div(few.z, t); }), Values(8, .5), 1e-14);
  }

  TEST_CASE("B003 KL is not symmetric: 1.149 one way and 1.388 the other, and the others are") {
    const Values t = {.9, .05, .05}, p = {.2, .3, .5};
    check_near(between_rows(kl_div, t, p), .9 * std::log(4.5) - .05 * std::log(60.0), 1e-14);  // 1.148959
    check_near(between_rows(kl_div, p, t), .2 * std::log(2 / 9.) + .3 * std::log(6.0) + .5 * std::log(10.0), 1e-14);
    CHECK(std::abs(between_rows(kl_div, t, p) - between_rows(kl_div, p, t)) > .1);
    for (const Divergence2 d : {Divergence2(js_div), Divergence2(tv), Divergence2(hellinger_root)}) {
      check_near(between_rows(d, t, p), between_rows(d, p, t), 1e-15);
    }
    const Pair x = random_pair(4, 4, 3), y = random_pair(5, 4, 3);
    check_near(js_div_logits(x.z, y.z, each).to_vector(), js_div_logits(y.z, x.z, each).to_vector(), 1e-15);
  }

  TEST_CASE("A023 JS <= log 2, TV <= 1, Hellinger <= 1, Pinsker, and H^2 <= TV <= sqrt 2 H") {
    const Pair x = random_pair(6, 2000, 4);
    const Values kl = kl_div(x.z, x.t, each).to_vector(), js = js_div(x.z, x.t, each).to_vector();
    const Values v = tv(x.z, x.t, each).to_vector(), h = hellinger_root(x.z, x.t, each).to_vector();
    int broken = 0;
    for (std::size_t r = 0; r < 2000; ++r) {
      broken += !(js[r] <= std::log(2.0) && v[r] <= 1 && h[r] <= 1 && v[r] * v[r] <= kl[r] / 2 + 1e-15);
      broken += !(h[r] * h[r] <= v[r] + 1e-15 && v[r] <= std::sqrt(2.0) * h[r] + 1e-15 && js[r] <= kl[r] + 1e-15);
    }
    CHECK(broken == 0);
  }

  TEST_CASE("TV and Hellinger keep the triangle inequality, and so does the root of JS") {
    for (int k = 0; k < 50; ++k) {
      const Values a = random_pair(k, 1, 4).t.to_vector(), b = random_pair(k + 100, 1, 4).t.to_vector(),
                   c = random_pair(k + 200, 1, 4).t.to_vector();
      for (const Divergence2 d : {Divergence2(tv), Divergence2(hellinger_root)}) {
        CHECK(between_rows(d, a, c) <= between_rows(d, a, b) + between_rows(d, b, c) + 1e-15);
      }
      const auto root = [](const Values& t, const Values& p) { return std::sqrt(between_rows(js_div, t, p)); };
      CHECK(root(a, c) <= root(a, b) + root(b, c) + 1e-15);
    }
  }

  TEST_CASE("C50 A002 soft cross entropy and KL have the same gradient and differ by the constant H(t)") {
    const Pair x = random_pair(7, 5, 4);
    check_near(slopes(x.z, [&](const Tensor& z) { return kl_div(z, x.t); }),
               slopes(x.z, [&](const Tensor& z) { return cross_entropy(z, x.t); }), 1e-15);
  }

  TEST_CASE("B004 C30 A004 the least cross entropy is H and the least KL 0, at the same p: .610864 for (.7, .3)") {
    const Tensor pi = matrix({.7, .3}, 1), start = matrix({0, 0}, 1);
    const auto ce = [&](const Tensor& z) { return cross_entropy(z, pi); };
    const auto kl = [&](const Tensor& z) { return kl_div(z, pi); };
    const Tensor a = matrix(minimise(ce, start, 500), 1), b = matrix(minimise(kl, start, 500), 1);
    check_near(softmax(a).to_vector(), {.7, .3}, 1e-6);
    check_near(softmax(b).to_vector(), {.7, .3}, 1e-6);
    check_near(ce(a).item(), .610864, 1e-6);
    check_near(ce(a).item() - kl(b).item(), -.7 * std::log(.7) - .3 * std::log(.3), 1e-12);
    // Equal only for hard labels: there H = 0.
    const Pair x = random_pair(8, 2, 2);
    const Tensor hard = matrix({1, 0, 0, 1}, 2);
    check_near(kl_div(x.z, hard).item(), cross_entropy(x.z, hard).item(), 1e-15);
  }

  TEST_CASE("mean is the mean over rows, batchmean, not over elements as PyTorch's kl_div has it") {
    const Pair x = random_pair(9, 3, 5);
    const double total = kl_div(x.z, x.t, {.reduction = Reduction::sum}).item();
    check_near(kl_div(x.z, x.t).item(), total / 3, 1e-15);
    CHECK(kl_div(zeros({0, 3}), zeros({0, 3})).item() == 0);
  }

  TEST_CASE("zeros among the targets: 0 log 0 = 0 in both forms, and their gradient is 0, not -inf or NaN") {
    const Tensor z = matrix({1, 0, -1}, 1), t = matrix({1, 0, 0}, 1);
    for (const Form form : {Form::closed, Form::definition}) {
      const double log_p = value_at(log_softmax(z), 0);
      check_near(kl_div(z, t, {.form = form}).item(), -log_p, 1e-15);
      CHECK(js_div(z, t, {.form = form}).item() > 0);
      check_near(slopes(t, [&](const Tensor& x) { return kl_div(z, x, {.form = form}); }), {1 - log_p, 0, 0}, 1e-15);
    }
    for (const Divergence2 d : all) {
      for (const double v : slopes(t, [&](const Tensor& x) { return d(z, x, {}); })) CHECK(std::isfinite(v));
      // A logit of -inf where the target is 0 costs nothing.
      const Tensor gone = matrix({1, -inf, -1}, 1);
      CHECK(std::isfinite(d(gone, t, {}).item()));
      for (const double v : slopes(gone, [&](const Tensor& x) { return d(x, t, {}); })) CHECK(std::isfinite(v));
    }
  }

  TEST_CASE("at t = p the root of Hellinger has gradient 0 and total variation the subgradient of sign 0") {
    const Tensor z = zeros({1, 4}, DType::f64), t = full({1, 4}, .25, DType::f64);
    CHECK(hellinger(z, t).item() == 0);
    CHECK(slopes(z, [&](const Tensor& x) { return hellinger(x, t); }) == Values(4, 0));
    CHECK(slopes(t, [&](const Tensor& x) { return hellinger(z, x); }) == Values(4, 0));
    CHECK(slopes(z, [&](const Tensor& x) { return tv(x, t); }) == Values(4, 0));
    CHECK(slopes(t, [&](const Tensor& x) { return tv(z, x); }) == Values(4, 0));
  }

  TEST_CASE("the gradient of each row sums to 0, a shift of the logits changes nothing") {
    const Pair x = random_pair(10, 3, 4);
    for (const Divergence2 d : all) {
      const Values g = slopes(x.z, [&](const Tensor& z) { return d(z, x.t, {}); });
      for (const double s : sum(matrix(g, 3), {1}).to_vector()) CHECK(std::abs(s) < 1e-15);
      check_near(d(x.z + 500, x.t, {}).item(), d(x.z, x.t, {}).item(), 1e-12);
    }
  }

  TEST_CASE("targets that are a softmax too give what their probabilities give, in both gradients") {
    const Pair x = random_pair(11, 3, 4), y = random_pair(12, 3, 4);
    check_near(kl_div_logits(x.z, y.z).item(), kl_div(x.z, softmax(y.z)).item(), 1e-14);
    check_near(js_div_logits(x.z, y.z).item(), js_div(x.z, softmax(y.z)).item(), 1e-14);
    check_near(slopes(y.z, [&](const Tensor& v) { return kl_div_logits(x.z, v); }),
               slopes(y.z, [&](const Tensor& v) { return kl_div(x.z, softmax(v)); }), 1e-14);
    check_near(slopes(y.z, [&](const Tensor& v) { return js_div_logits(x.z, v); }),
               slopes(y.z, [&](const Tensor& v) { return js_div(x.z, softmax(v)); }), 1e-14);
    check_near(kl_div_logits(x.z, y.z, {.temperature = 3}).item(), kl_div_logits(x.z / 3, y.z / 3).item(), 1e-14);
    CHECK(kl_div_logits(x.z, x.z).item() == 0);
    CHECK(js_div_logits(x.z, x.z).item() == 0);
  }

  TEST_CASE("divergence: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3});
    CHECK_THROWS_WITH_AS(kl_div(z, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(js_div(zeros({3}), zeros({3})), doctest::Contains("needs logits [N,C] with C >= 1"), Error);
    CHECK_THROWS_WITH_AS(tv(z, zeros({3, 2})), doctest::Contains("target_probs need the shape of the logits"), Error);
    CHECK_THROWS_WITH_AS(hellinger(z, zeros({2, 3}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(js_div_logits(z, zeros({2, 2})), doctest::Contains("logits_q need the shape"), Error);
    CHECK_THROWS_WITH_AS(kl_div_logits(z, z, {.temperature = 0}), doctest::Contains("temperature must be above 0"),
                         Error);
  }
}
