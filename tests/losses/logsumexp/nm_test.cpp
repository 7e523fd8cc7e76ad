// n classifications of m classes: what nm_eq1 and nm_eq3 reduce to, their optima, and how classes share a logarithm.
#include "losses/logsumexp/nm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/logsumexp/multilabel_soft.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

using Loss = Tensor (*)(const Tensor& s, const Tensor& t);
Tensor eq1(const Tensor& s, const Tensor& t) { return nm_eq1(s, t); }
Tensor eq3(const Tensor& s, const Tensor& t) { return nm_eq3(s, t); }
Tensor ce(const Tensor& s, const Tensor& t) { return cross_entropy(s, t, {.reduction = Reduction::sum}); }

Values gradient(Loss loss, const Tensor& s, const Tensor& t) {
  return slopes(s, [&](const Tensor& x) { return loss(x, t); });
}
Tensor hard(Index n, Index m, Rng& rng) {
  Tensor t = zeros({n, m}, DType::f64);
  for (Index i = 0; i < n; ++i) set_value(t, i * m + rng.index(m), 1);
  return t;
}
Tensor soft(Index n, Index m, Rng& rng) { return softmax(randn({n, m}, rng, DType::f64)); }
Tensor normal(Index n, Index m, Rng& rng) { return 2 * randn({n, m}, rng, DType::f64); }
double norm(const Values& v) {
  double s = 0;
  for (const double x : v) s += x * x;
  return std::sqrt(s);
}
// The optimum as probabilities of its first row.
Values best_first_row(Loss loss, const Tensor& t) {
  const Tensor start = zeros(t.shape(), DType::f64);
  const Values s = minimise([&](const Tensor& x) { return loss(x, t); }, start, 3000);
  const Values p = softmax(matrix(s, t.size(0))).to_vector();
  return Values(p.begin(), p.begin() + t.size(1));
}

}  // namespace

TEST_SUITE("nm") {
  TEST_CASE("nm: definition, closed form and central differences agree") { check_losses(nm_losses()); }

  TEST_CASE("by hand: equal scores, two tasks of three classes") {
    const Tensor s = zeros({2, 3}, DType::f64), t = matrix({1, 0, 0, .5, .5, 0}, 2);
    CHECK(nm_eq1(s, t).item() == doctest::Approx(std::log(1 + 1.5 * 2) + std::log(1 + .5 * 2)));
    CHECK(nm_eq3(s, t).item() == doctest::Approx(std::log(2.5) + std::log(1.5)));
  }

  TEST_CASE("B100 B101 the starting point: cross entropy is sum t log(1 + x) and the log of a product of powers") {
    Rng rng(1);
    const Tensor s = normal(4, 3, rng), t = soft(4, 3, rng);
    double sum_form = 0, log_of_product = 0;
    for (Index j = 0; j < 3; ++j) {
      double product = 1;
      for (Index i = 0; i < 4; ++i) {
        double x = 0;
        for (Index k = 0; k < 3; ++k) x += k == j ? 0 : std::exp(s.at({i, k}) - s.at({i, j}));
        sum_form += t.at({i, j}) * std::log1p(x);
        product *= std::pow(1 + x, t.at({i, j}));
      }
      log_of_product += std::log(product);
    }
    check_near({sum_form, log_of_product}, {ce(s, t).item(), ce(s, t).item()}, 1e-12);
  }

  TEST_CASE("B102 D12 the gradient of nm_eq1 is the source's equation 3") {
    Rng rng(2);
    const Index n = 4, m = 3;
    const Tensor s = normal(n, m, rng), t = soft(n, m, rng);
    const auto e = [&](Index i, Index j) { return std::exp(s.at({i, j})); };
    const auto x = [&](Index i, Index j) {  // sum_{k != j} e^{s_ik - s_ij}
      double v = 0;
      for (Index k = 0; k < m; ++k) v += k == j ? 0 : e(i, k) / e(i, j);
      return v;
    };
    const auto below = [&](Index j) {
      double v = 1;
      for (Index i = 0; i < n; ++i) v += t.at({i, j}) * x(i, j);
      return v;
    };
    Values expected;
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < m; ++j) {
        double g = -t.at({i, j}) * x(i, j) / below(j);
        for (Index h = 0; h < m; ++h) g += h == j ? 0 : t.at({i, h}) * e(i, j) / e(i, h) / below(h);
        expected.push_back(g);
      }
    }
    check_near(gradient(eq1, s, t), expected, 1e-13);
  }

  TEST_CASE(
      "B103 C83 nm_eq1 is the template with f the logit of softmax, so the template does contain the sum over "
      "classes") {
    Rng rng(3);
    const Tensor s = normal(4, 3, rng), t = soft(4, 3, rng);
    const auto logit = [](const Tensor& x) {
      const Tensor p = softmax(x);
      return log(p) - log1p(-p);
    };
    check_near(nm_eq2(s, t, logit).item(), nm_eq1(s, t).item(), 1e-12);
    check_near(nm_eq2(s, t, NmScore::log_odds).item(), nm_eq1(s, t).item(), 1e-15);
    check_near(nm_eq2(s, t, NmScore::centred).item(), nm_eq3(s, t).item(), 1e-15);
    check_near(nm_eq2(s, t, NmScore::score).item(), sum(log1p(sum(t * exp(-s), {0}))).item(), 1e-13);
    // n = 1 and a hard label: cross entropy, not log(1 + e^{-f(s_t)}) with a sum missing.
    const Tensor row = normal(1, 4, rng), one = matrix({0, 0, 1, 0}, 1);
    check_near(nm_eq2(row, one, logit).item(), ce(row, one).item(), 1e-12);
  }

  TEST_CASE("B104 D12 hard labels: n = 1 is cross entropy, any n is at most the sum of cross entropies") {
    Rng rng(4);
    for (int draw = 0; draw < 300; ++draw) {
      const Tensor row = normal(1, 3, rng), label = hard(1, 3, rng);
      check_near(nm_eq1(row, label).item(), ce(row, label).item(), 1e-12);
      const Tensor s = normal(4, 3, rng), t = hard(4, 3, rng);
      CHECK(nm_eq1(s, t).item() <= ce(s, t).item() + 1e-9);
    }
  }

  TEST_CASE(
      "C78 D12 soft labels: the cut series is an upper bound and does not converge, so nm_eq1 has no order with the "
      "sum") {
    const double x = 3, t = .5;
    CHECK(std::pow(1 + x, t) == 2);
    CHECK(1 + t * x == 2.5);
    const Values partial{2.5, 1.375, 3.0625, -0.1015625};
    double term = 1, series = 1;
    for (int k = 0; k < 4; ++k) {
      term *= (t - k) / (k + 1) * x;
      series += term;
      CHECK(series == doctest::Approx(partial[std::size_t(k)]));
    }
    Rng rng(5);
    int above = 0;
    for (int draw = 0; draw < 300; ++draw) {
      const Tensor row = normal(1, 3, rng), one = soft(1, 3, rng);
      CHECK(nm_eq1(row, one).item() >= ce(row, one).item() - 1e-9);
      const Tensor s = normal(4, 3, rng), four = soft(4, 3, rng);
      above += nm_eq1(s, four).item() > ce(s, four).item();
    }
    CHECK(above > 30);
    CHECK(above < 300);
  }

  TEST_CASE("B105 C76 D13 at m = 2 nm_eq1 is the multi-label loss of s1 - s2, nm_eq3 that of half of it") {
    Rng rng(6);
    const Tensor d = normal(6, 1, rng), p = sigmoid(normal(6, 1, rng)), t = cat({p, 1 - p}, 1);
    const auto ml = [&](const Tensor& x) { return multilabel_ce_soft(x.reshape({1, 6}), p.reshape({1, 6})).item(); };
    const Tensor zero = zeros({6, 1}, DType::f64);
    const Tensor with_zero = cat({d, zero}, 1), opposite = cat({d, -d}, 1), halves = cat({d / 2, d / -2}, 1);
    check_near(nm_eq1(with_zero, t).item(), ml(d), 1e-12);
    check_near(nm_eq3(with_zero, t).item(), ml(d / 2), 1e-12);
    check_near(nm_eq1(opposite, t).item(), ml(2 * d), 1e-12);
    check_near(nm_eq3(opposite, t).item(), ml(d), 1e-12);
    check_near(nm_eq1(halves, t).item(), ml(d), 1e-12);
    check_near(nm_eq1(with_zero, t).item(), nm_eq3(2 * with_zero, t).item(), 1e-12);
    CHECK(std::abs(ml(d) - ml(d / 2)) > 0.05);
    const Tensor s = normal(6, 3, rng), three = soft(6, 3, rng);
    CHECK(std::abs(nm_eq1(s, three).item() - nm_eq3(2 * s, three).item()) > 0.1);
  }

  TEST_CASE("B106 C77 the soft optimum of nm_eq1 is not softmax(s) = t, and rows are coupled") {
    const double root = std::sqrt(.7) / (std::sqrt(.7) + std::sqrt(.3));
    CHECK(root == doctest::Approx(.604356).epsilon(1e-5));
    check_near(best_first_row(eq1, matrix({.7, .3}, 1)), {root, 1 - root}, 1e-5);
    check_near(best_first_row(eq1, matrix({.6, .3, .1}, 1)), {.4572, .3349, .2078}, 1e-3);
    check_near(best_first_row(eq1, matrix({.9, .05, .05}, 1)), {.662, .169, .169}, 1e-3);
    const Values beside_one = best_first_row(eq1, matrix({.6, .3, .1, .9, .05, .05}, 2)),
                 beside_other = best_first_row(eq1, matrix({.6, .3, .1, .05, .05, .9}, 2));
    CHECK(std::abs(beside_one[0] - beside_other[0]) > 5e-3);
  }

  TEST_CASE("B107 D14 the soft optimum of nm_eq3 is softmax(s) = t, its value sum_j log(1 + sum_i 1/Z_i)") {
    Rng rng(7);
    const Index n = 5, m = 4;
    const Tensor t = soft(n, m, rng), best = log(t);
    for (const double g : gradient(eq3, best, t)) CHECK(std::abs(g) < 1e-14);
    double inverse = 0;
    const Tensor f = best - mean(best, {1}, true);
    for (const double Z : sum(exp(f), {1}).to_vector()) inverse += 1 / Z;
    check_near(nm_eq3(best, t).item(), double(m) * std::log1p(inverse), 1e-12);
    const Tensor small = matrix({.6, .3, .1, .2, .2, .6}, 2);
    check_near(best_first_row(eq3, small), {.6, .3, .1}, 1e-5);
  }

  TEST_CASE(
      "D14 at the optimum of nm_eq3 the Hessian has exactly the n row shifts as zero modes and is positive else") {
    Rng rng(8);
    const Index n = 3, m = 3, size = n * m;
    const Tensor t = soft(n, m, rng), best = log(t);
    std::vector<Values> H;
    for (Index k = 0; k < size; ++k) {
      Tensor up = best.clone(), down = best.clone();
      set_value(up, k, value_at(best, k) + 1e-5);
      set_value(down, k, value_at(best, k) - 1e-5);
      const Values a = gradient(eq3, up, t), b = gradient(eq3, down, t);
      Values row;
      for (std::size_t c = 0; c < a.size(); ++c) row.push_back((a[c] - b[c]) / 2e-5);
      H.push_back(row);
    }
    for (const Values& row : H) {  // H times the shift of row i is 0
      for (Index i = 0; i < n; ++i) {
        double s = 0;
        for (Index j = 0; j < m; ++j) s += row[std::size_t(i * m + j)];
        CHECK(std::abs(s) < 1e-9);
      }
    }
    // H plus the projections on the shifts is positive definite: its Cholesky pivots are positive.
    for (Index a = 0; a < size; ++a) {
      for (Index b = 0; b < size; ++b) H[std::size_t(a)][std::size_t(b)] += a / m == b / m ? 1.0 / double(m) : 0;
    }
    for (std::size_t k = 0; k < H.size(); ++k) {
      CHECK(H[k][k] > 1e-3);
      for (std::size_t r = k + 1; r < H.size(); ++r) {
        const double factor = H[r][k] / H[k][k];
        for (std::size_t c = k; c < H.size(); ++c) H[r][c] -= factor * H[k][c];
      }
    }
  }

  TEST_CASE("B108 C79 it is enough that sum_j f does not depend on s: constants per row keep the optimum") {
    Rng rng(9);
    const Tensor t = soft(5, 4, rng), c = tensor({.3, -1, 2, 0, .5}, {5, 1}, DType::f64);
    const auto f = [&](const Tensor& x) { return x - mean(x, {1}, true) + c; };
    const Values g = slopes(log(t), [&](const Tensor& x) { return nm_eq2(x, t, f); });
    CHECK(norm(g) < 1e-14);
  }

  TEST_CASE("B109 C80 D14 nm_eq3 fails on hard labels: (10, 11, -21) costs 4.5e-5 for class 0 while class 1 wins") {
    const Tensor s = matrix({10, 11, -21}, 1), t = matrix({1, 0, 0}, 1);
    CHECK(nm_eq3(s, t).item() == doctest::Approx(4.5399e-5).epsilon(1e-4));
    CHECK(ce(s, t).item() == doctest::Approx(1.3133).epsilon(1e-4));
    CHECK(nm_eq1(s, t).item() == doctest::Approx(ce(s, t).item()));
    const Values g3 = gradient(eq3, s, t), g1 = gradient(eq1, s, t);
    CHECK(norm(g3) < 1e-4);
    CHECK(norm(g1) > 0.5);
  }

  TEST_CASE("B110 C81 at s = 0 a class with n_j tasks weighs log(1 + n_j (m - 1)), in cross entropy n_j") {
    const Values shares{.647, .259, .094};
    Values losses;
    for (const Index count : {1000, 10, 1}) {
      Tensor t = zeros({count, 3}, DType::f64);
      for (Index i = 0; i < count; ++i) set_value(t, 3 * i, 1);
      losses.push_back(nm_eq1(zeros({count, 3}, DType::f64), t).item());
      CHECK(losses.back() == doctest::Approx(std::log1p(2 * double(count))));
      CHECK(ce(zeros({count, 3}, DType::f64), t).item() == doctest::Approx(double(count) * std::log(3.0)));
    }
    const double total = losses[0] + losses[1] + losses[2];
    for (std::size_t j = 0; j < 3; ++j) CHECK(losses[j] / total == doctest::Approx(shares[j]).epsilon(5e-3));
  }

  TEST_CASE(
      "B111 C82 D15 permuting the classes of one task moves nm_eq1 and nm_eq3 but not cross entropy, of all tasks "
      "nothing") {
    Rng rng(10);
    const Tensor s = normal(4, 3, rng), t = hard(4, 3, rng);
    const auto turned = [](const Tensor& x, Index rows) {  // the first `rows` rows, their classes turned by one
      const Tensor first = x.rows(0, rows), rest = x.rows(rows, x.size(0));
      const Tensor turn = cat({slice(first, 1, 1, 3), slice(first, 1, 0, 1)}, 1);
      return cat({turn, rest}, 0);
    };
    check_near(ce(turned(s, 1), turned(t, 1)).item(), ce(s, t).item(), 1e-12);
    for (const Loss loss : {eq1, eq3}) {
      CHECK(std::abs(loss(turned(s, 1), turned(t, 1)).item() - loss(s, t).item()) > 1e-2);
      check_near(loss(turned(s, 4), turned(t, 4)).item(), loss(s, t).item(), 1e-12);
    }
  }

  TEST_CASE("D15 the optimum of nm_eq3 for one task ignores the labels of the others, that of nm_eq1 does not") {
    const Tensor one = matrix({.6, .3, .1, .9, .05, .05}, 2), other = matrix({.6, .3, .1, .05, .05, .9}, 2);
    check_near(best_first_row(eq3, one), best_first_row(eq3, other), 1e-5);
    CHECK(std::abs(best_first_row(eq1, one)[0] - best_first_row(eq1, other)[0]) > 5e-3);
  }

  TEST_CASE("B112 a shift of a row changes neither nm_eq1 nor nm_eq3") {
    Rng rng(11);
    const Tensor s = normal(4, 3, rng), t = soft(4, 3, rng), shift = 100 * randn({4, 1}, rng, DType::f64);
    for (const Loss loss : {eq1, eq3}) {
      check_near(loss(s + shift, t).item(), loss(s, t).item(), 1e-12);
      for (const double g : sum(matrix(gradient(loss, s, t), 4), {1}).to_vector()) CHECK(std::abs(g) < 1e-14);
    }
  }

  TEST_CASE("one class, no task, no label") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor one = matrix({3, -1}, 2), t = matrix({1, 1}, 2);
      CHECK(nm_eq1(one, t, {.form = form}).item() == 0);
      CHECK(slopes(one, [&](const Tensor& x) { return nm_eq1(x, t, {.form = form}); }) == Values{0, 0});
      CHECK(nm_eq3(one, t, {.form = form}).item() == doctest::Approx(std::log(3.0)));
      for (const Shape shape : {Shape{0, 3}, Shape{3, 0}}) {
        CHECK(nm_eq1(zeros(shape), zeros(shape), {.form = form}).item() == 0);
        CHECK(nm_eq3(zeros(shape), zeros(shape), {.form = form}).item() == 0);
      }
      CHECK(nm_eq1(distinct({2, 3}), zeros({2, 3}, DType::f64), {.form = form}).item() == 0);
    }
  }

  TEST_CASE("log-odds keep their digits: a probability of 1 - 1e-30 has odds of 1e30") {
    const Tensor f = log_odds(matrix({69, 0, -1, 1e4, 1e4, -1e4}, 2));
    CHECK(f.at({0, 0}) == doctest::Approx(69 - std::log1p(std::exp(-1.0))));
    CHECK(f.at({0, 1}) == doctest::Approx(-69.0));
    CHECK(f.at({1, 0}) == 0);
    const Tensor t = matrix({1, 0, 0, 1, 0, 0}, 2);
    CHECK(nm_eq1(matrix({69, 0, -1, 69, 0, -1}, 2), t).item() ==
          doctest::Approx(2 * (std::exp(-69.0) + std::exp(-70.0))).epsilon(1e-9));
  }

  TEST_CASE("what does not fit an n by m loss is an error that names it") {
    const Tensor s = zeros({2, 3}), t = zeros({2, 3});
    CHECK_THROWS_WITH_AS(nm_eq1(s, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(nm_eq1(s, zeros({3, 2})), doctest::Contains("needs scores [n,m]"), Error);
    CHECK_THROWS_WITH_AS(nm_eq3(zeros({3}), zeros({3})), doctest::Contains("needs scores [n,m]"), Error);
    CHECK_THROWS_WITH_AS(nm_eq3(s, full({2, 3}, -1)), doctest::Contains("at [0,0] is negative or NaN"), Error);
    CHECK_THROWS_WITH_AS(nm_eq2(s, t.to(DType::f64), NmScore::score), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(log_odds(zeros({3})), doctest::Contains("needs scores [n,m]"), Error);
  }
}
