// Information theory and likelihood on small tables: entropy, KL, chain rule, mutual information, softmax, and
// where their textbook forms fail in floating point.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/divergence.h"
#include "losses/softmax/entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// KL and entropy of rows of probabilities, by the losses of this library: logits log p have softmax p.
double kl(const Values& p, const Values& q) { return kl_div(log(matrix(q, 1)), matrix(p, 1)).item(); }
double entropy_of(const Values& p) { return entropy(log(matrix(p, 1))).item(); }
double cross(const Values& p, const Values& q) { return cross_entropy(log(matrix(q, 1)), matrix(p, 1)).item(); }

// A joint distribution of X (rows) and Y (columns).
struct Table {
  std::size_t rows, columns;
  Values p;
  Table(std::size_t r, std::size_t c, Values v) : rows(r), columns(c), p(std::move(v)) {}
  double at(std::size_t x, std::size_t y) const { return p[x * columns + y]; }
  Values of_x() const {
    Values m(rows, 0);
    for (std::size_t i = 0; i < p.size(); ++i) m[i / columns] += p[i];
    return m;
  }
  Values of_y() const {
    Values m(columns, 0);
    for (std::size_t i = 0; i < p.size(); ++i) m[i % columns] += p[i];
    return m;
  }
  Values y_given(std::size_t x) const {
    Values row(p.begin() + std::ptrdiff_t(x * columns), p.begin() + std::ptrdiff_t((x + 1) * columns));
    const double total = std::accumulate(row.begin(), row.end(), 0.0);
    for (double& v : row) v /= total;
    return row;
  }
  Table transposed() const {
    Values v;
    for (std::size_t y = 0; y < columns; ++y) {
      for (std::size_t x = 0; x < rows; ++x) v.push_back(at(x, y));
    }
    return {columns, rows, v};
  }
  // Rows x and x + 1 made one: f(X) for an f that does not tell them apart.
  Table merged(std::size_t x) const {
    Values v;
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t y = 0; y < columns; ++y) {
        if (i == x + 1) {
          v[v.size() - columns + y] += at(i, y);
        } else {
          v.push_back(at(i, y));
        }
      }
    }
    return {rows - 1, columns, v};
  }
};

Table random_table(int seed, std::size_t rows, std::size_t columns) {
  Rng rng(std::uint64_t(seed) + 1);
  const Values p = softmax(randn({1, Index(rows * columns)}, rng, DType::f64)).to_vector();
  return {rows, columns, p};
}

double conditional_entropy(const Table& t) {  // H(Y | X)
  const Values px = t.of_x();
  double h = 0;
  for (std::size_t x = 0; x < t.rows; ++x) h += px[x] * entropy_of(t.y_given(x));
  return h;
}

double mutual_information(const Table& t) {  // KL(joint || product of marginals)
  const Values px = t.of_x(), py = t.of_y();
  Values product;
  for (const double a : px) {
    for (const double b : py) product.push_back(a * b);
  }
  return kl(t.p, product);
}

}  // namespace

TEST_SUITE("information") {
  // ---- entropy, KL, chain rule

  TEST_CASE("B005 A005 two joints with the same marginal of x: KL is the expected KL of the conditionals") {
    for (int k = 0; k < 20; ++k) {
      const Table data = random_table(k, 5, 4), other = random_table(k + 50, 5, 4);
      const Values px = data.of_x();
      Values model;  // p_data(x) p_model(y | x)
      double expected = 0;
      for (std::size_t x = 0; x < 5; ++x) {
        const Values conditional = other.y_given(x);
        for (const double v : conditional) model.push_back(px[x] * v);
        expected += px[x] * kl(data.y_given(x), conditional);
      }
      check_near(kl(data.p, model), expected, 1e-12);
      // With another marginal, its own KL comes on top: the chain rule.
      check_near(kl(data.p, other.p), expected + kl(px, other.of_x()), 1e-12);
    }
  }

  TEST_CASE("A006 the expected conditional KL is cross entropy minus H(Y given X)") {
    const Table data = random_table(1, 5, 4), model = random_table(2, 5, 4);
    const Values px = data.of_x();
    double expected_kl = 0, expected_ce = 0;
    for (std::size_t x = 0; x < 5; ++x) {
      expected_kl += px[x] * kl(data.y_given(x), model.y_given(x));
      expected_ce += px[x] * cross(data.y_given(x), model.y_given(x));
    }
    check_near(expected_kl, expected_ce - conditional_entropy(data), 1e-12);
  }

  TEST_CASE("A022 I(X,Y) = H(Y) - H(Y given X), symmetric, between 0 and both entropies, 0 for independent ones") {
    for (int k = 0; k < 20; ++k) {
      const Table t = random_table(k, 4, 3);
      const double I = mutual_information(t);
      check_near(I, entropy_of(t.of_y()) - conditional_entropy(t), 1e-12);
      check_near(entropy_of(t.p), entropy_of(t.of_x()) + conditional_entropy(t), 1e-12);
      CHECK(I >= 0);
      CHECK(I <= entropy_of(t.of_x()));
      CHECK(I <= entropy_of(t.of_y()));
      check_near(I, mutual_information(t.transposed()), 1e-15);
    }
    check_near(mutual_information({2, 3, {.06, .1, .04, .24, .4, .16}}), 0, 1e-15);
    check_near(mutual_information({2, 2, {.5, 0, 0, .5}}), std::log(2.0), 1e-12);
  }

  TEST_CASE("B022 A024 processing loses information: I(X,Y) >= I(f(X),Y) for every pair of rows merged") {
    for (int k = 0; k < 50; ++k) {
      const Table t = random_table(k, 4, 3);
      for (std::size_t x = 0; x < 3; ++x) CHECK(mutual_information(t) >= mutual_information(t.merged(x)) - 1e-15);
    }
    // Rows with the same conditional tell nothing apart: nothing is lost.
    const Table same{3, 2, {.1, .2, .2, .4, .05, .05}};
    check_near(mutual_information(same), mutual_information(same.merged(0)), 1e-15);
  }

  TEST_CASE("B021 A001 entropy is the least mean code length: H(P,Q) >= H(P), and rare events have long codes") {
    for (int k = 0; k < 200; ++k) {
      const Values p = random_table(k, 1, 5).p, q = random_table(k + 500, 1, 5).p;
      CHECK(cross(p, q) >= entropy_of(p));
    }
    const Tensor p = matrix({.13, .87, .001, .999}, 2);
    const Values bits =
        (cross_entropy(log(p), labels({0, 0}), {.reduction = Reduction::none}) / std::log(2.0)).to_vector();
    check_near(bits, {2.943, 9.966}, 1e-3);
  }

  // ---- likelihood

  TEST_CASE("B006 A009 cross entropy under the empirical distribution is the mean negative log-likelihood") {
    Rng rng(4);
    const Index N = 200, C = 4;
    const Tensor y = randint(C, {N}, rng), z = randn({1, C}, rng, DType::f64);  // one x, seen N times
    Values empirical(std::size_t(C), 0);
    for (const double v : y.to_vector()) empirical[std::size_t(v)] += 1.0 / N;
    const Tensor repeated = z + zeros({N, C}, DType::f64);
    check_near(cross_entropy(repeated, y).item(), cross_entropy(z, matrix(empirical, 1)).item(), 1e-13);
  }

  TEST_CASE("B007 A007 the parameter of greatest likelihood has the least NLL and the least cross entropy") {
    const Values coin = {1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1};  // 15 of 20
    double best_likelihood = -1, best_nll = inf, by_likelihood = 0, by_nll = 0;
    for (int k = 1; k < 100; ++k) {
      const double theta = k / 100.0;
      double likelihood = 1;
      std::vector<Index> y;
      for (const double v : coin) {
        likelihood *= v == 1 ? theta : 1 - theta;
        y.push_back(Index(v));
      }
      const Tensor z = log(matrix({1 - theta, theta}, 1)) + zeros({20, 2}, DType::f64);
      const double nll = cross_entropy(z, labels(y), {.reduction = Reduction::sum}).item();
      check_near(nll, -std::log(likelihood), 1e-12);
      if (likelihood > best_likelihood) best_likelihood = likelihood, by_likelihood = theta;
      if (nll < best_nll) best_nll = nll, by_nll = theta;
    }
    CHECK(by_likelihood == .75);
    CHECK(by_nll == .75);
  }

  TEST_CASE("C33 B007 D19 a product of 1000 factors .4 is 0 in f64, of 120 in f32, the sum of logs is 916.29") {
    double product = 1;
    float narrow = 1;
    for (int k = 0; k < 1000; ++k) product *= .4;
    for (int k = 0; k < 120; ++k) narrow *= .4f;
    CHECK(product == 0);
    CHECK(narrow == 0);
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Tensor z = (log(matrix({.4, .6}, 1)) + zeros({1000, 2}, DType::f64)).to(dtype);
      // Added up in double: a thousand equal terms one by one in f32 are off by 1.5e-5.
      const Tensor rows = cross_entropy(z, labels(std::vector<Index>(1000, 0)), {.reduction = Reduction::none});
      const double nll = sum(rows.to(DType::f64)).item();
      CHECK(nll == doctest::Approx(916.29).epsilon(1e-5));
    }
  }

  // ---- softmax and its cross entropy

  TEST_CASE("A010 softmax is positive, sums to 1 and keeps the order of the logits") {
    const Tensor z = distinct({5, 6}), p = softmax(z);
    check_near(sum(p, {1}).to_vector(), Values(5, 1), 1e-15);
    for (Index i = 0; i < 30; ++i) {
      CHECK(value_at(p, i) > 0);
      for (Index j = i / 6 * 6; j < i; ++j)
        CHECK((value_at(z, i) > value_at(z, j)) == (value_at(p, i) > value_at(p, j)));
    }
  }

  TEST_CASE("B008 C32 D19 -z_k + log sum e^z overflows as it is written, in f32 at 100 and at -104, ours does not") {
    const auto literal = [](std::vector<float> z) {
      float s = 0;
      for (const float v : z) s += std::exp(v);
      return -z[0] + std::log(s);
    };
    CHECK(std::isinf(literal({100, 0, 0})));
    CHECK(std::isinf(literal({-104, -104})));
    const auto ours = [](const Values& z) {
      return cross_entropy(tensor(z, {1, Index(z.size())}), labels({0})).item();
    };
    CHECK(ours({100, 0, 0}) == doctest::Approx(2 * std::exp(-100.0)).epsilon(1e-5));
    check_near(ours({-104, -104}), std::log(2.0), 1e-6);
    check_near(logsumexp(tensor({-104, -104}, {2}), 0).item(), -103.307, 1e-3);
    check_near(ours({-1e4, 1e4}), 2e4, 1e-6);
    check_near(ours({1e4, 0}), 0, 1e-6);
    check_near(ours({1, 2, 3}), literal({1, 2, 3}), 1e-6);
  }

  TEST_CASE("B009 the gradient is p - y, hard and soft: entries sum to 0, at most 2 in absolute sum, each at most 1") {
    const Tensor z = 3 * distinct({6, 5}), p = softmax(z), soft = softmax(distinct({6, 5}, 2));
    const CrossEntropyOptions all{.reduction = Reduction::sum};
    const Values hard = slopes(z, [&](const Tensor& x) { return cross_entropy(x, labels({4, 0, 1, 2, 3, 0}), all); });
    const Values g = slopes(z, [&](const Tensor& x) { return cross_entropy(x, soft, all); });
    check_near(g, (p - soft).to_vector(), 1e-14);
    for (std::size_t r = 0; r < 6; ++r) {
      double total = 0, length = 0;
      for (std::size_t c = 5 * r; c < 5 * r + 5; ++c) {
        total += hard[c];
        length += std::abs(hard[c]);
        CHECK(std::abs(hard[c]) <= 1);
      }
      CHECK(std::abs(total) < 1e-14);
      CHECK(length <= 2);
    }
  }

  TEST_CASE("C31 D19 for targets that sum to 4.29 the gradient is 4.29 p - y, and p - y is wrong by more than 1") {
    const Tensor z = matrix({.5, -1, 1, .2}, 1), y = matrix({1.2, .09, 2, 1}, 1), p = softmax(z);
    const Values g = slopes(z, [&](const Tensor& x) { return cross_entropy(x, y); });
    check_near(g, (4.29 * p - y).to_vector(), 1e-14);
    const Values wrong = (p - y).to_vector();
    double gap = 0;
    for (std::size_t c = 0; c < 4; ++c) gap = std::max(gap, std::abs(g[c] - wrong[c]));
    CHECK(gap > 1);
  }

  TEST_CASE("D19 a constant added to the logits changes nothing, in f32 at (1e4, 0) and (-1e4, -1e4) nothing is NaN") {
    const Tensor z = distinct({3, 4}), t = labels({0, 3, 1});
    check_near(cross_entropy(z + 1234, t).item(), cross_entropy(z, t).item(), 1e-12);
    const Tensor far = tensor({1e4, 0, -1e4, -1e4}, {2, 2});
    const CrossEntropyOptions each{.reduction = Reduction::none};
    check_near(cross_entropy(far, labels({0, 0}), each).to_vector(), {0, std::log(2.0)}, 1e-6);
    check_near(cross_entropy(far, labels({1, 1}), each).to_vector(), {1e4, std::log(2.0)}, 1e-6);
    check_near(slopes(far,
                      [&](const Tensor& x) {
                        return cross_entropy(x, labels({1, 1}), each);
                      }),
               {1, -1, .5, -.5}, 1e-6);
  }

  TEST_CASE("B013 ten equal classes cost log 10 = 2.302585, the 2.3 of the source") {
    check_near(cross_entropy(zeros({1, 10}, DType::f64), labels({4})).item(), 2.302585, 1e-6);
  }

  TEST_CASE("B019 C44 C45 cross entropy is not insensitive to outliers: 13.8 at 1e-6, 27.6 at 1e-12, gradient near 1") {
    for (const auto& [p, loss] : {std::pair{1e-6, 13.8155}, {1e-12, 27.6310}}) {
      const Tensor z = log(matrix({p, 1 - p}, 1));
      check_near(cross_entropy(z, labels({0})).item(), loss, 1e-4);
      check_near(slopes(z, [](const Tensor& x) { return cross_entropy(x, labels({0})); }), {p - 1, 1 - p}, 1e-12);
    }
    CHECK(cross_entropy(log(matrix({1e-12, 1}, 1)), labels({0})).item() > 27);
  }
}
