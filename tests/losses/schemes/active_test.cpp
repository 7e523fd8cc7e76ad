// Active learning: BALD against entropy, expected gradient length by hand, uncertainty scores, k-center.
#include "losses/schemes/active.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/schemes/bald.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor samples_of(const Values& p, Index K, Index N) {
  return tensor(p, {K, N, Index(p.size()) / (K * N)}, DType::f64);
}

Values log_of(Values p) {
  for (double& v : p) v = std::log(v);
  return p;
}

}  // namespace

TEST_SUITE("active") {
  TEST_CASE("BALD: definition, closed form and central differences agree") { check_losses(bald_losses()); }
  TEST_CASE("scores: definition and closed form agree") { check_losses(active_losses()); }

  TEST_CASE("B043 B044 BALD tells disagreement from agreed doubt, the entropy of the mean is log 2 for both") {
    // Row 0: one sample says (.9,.1), the other (.1,.9). Row 1: both say (.5,.5).
    const Tensor p = samples_of({0.9, 0.1, 0.5, 0.5, 0.1, 0.9, 0.5, 0.5}, 2, 2);
    check_near(bald(p).to_vector(), {0.368064, 0}, 1e-6);
    const Values m = mean(p, {0}).to_vector();
    for (const std::size_t r : {0, 1}) {
      const double entropy = -m[2 * r] * std::log(m[2 * r]) - m[2 * r + 1] * std::log(m[2 * r + 1]);
      CHECK(entropy == doctest::Approx(0.69315).epsilon(1e-5));
    }
  }

  TEST_CASE("BALD lies between 0 and the lesser of log K and log C, and reaches it") {
    const Tensor p = softmax(5 * distinct({3, 20, 4}));
    for (const double v : bald(p).to_vector()) CHECK_UNARY(v >= 0 && v <= std::log(3.0) + 1e-15);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(bald(samples_of({1, 0, 0, 1}, 2, 1), {.form = form}).to_vector()[0] == doctest::Approx(std::log(2.0)));
      CHECK(bald(samples_of({1, 0, 0, 1, 0, 0}, 2, 1), {.form = form}).to_vector()[0] == 0);
    }
  }

  TEST_CASE("BALD is 0 when samples agree, finite in value and gradient where p is 0, and blind to their order") {
    CHECK(bald(samples_of({0.3, 0.7}, 1, 1)).to_vector()[0] == 0);
    const Tensor p = samples_of({1, 0, 0.25, 0.75}, 2, 1), q = samples_of({0.25, 0.75, 1, 0}, 2, 1);
    CHECK(bald(p).to_vector() == bald(q).to_vector());
    const Values g = slopes(p, [](const Tensor& x) { return bald(x); });
    check_near(g, {std::log(1 / 0.625) / 2, 0, std::log(0.25 / 0.625) / 2, std::log(0.75 / 0.375) / 2}, 1e-14);
    for (const double v : slopes(p, [](const Tensor& x) { return bald(x, {.form = Form::definition}); })) {
      CHECK(std::isfinite(v));
    }
  }

  TEST_CASE("BALD of samples that nearly agree is d^2 / 2 / p / (1 - p), also at d = 1e-7") {
    const double d = 1e-7;  // the entropies agree in 14 digits there
    const double value = bald(samples_of({0.5 + d, 0.5 - d, 0.5 - d, 0.5 + d}, 2, 1)).to_vector()[0];
    CHECK(value == doctest::Approx(2 * d * d).epsilon(1e-2));
  }

  TEST_CASE("C93 at p = (.9, .1) the gradient length is .1414 or 1.2728, its expectation .2546") {
    const Tensor z = matrix(log_of({0.9, 0.1}), 1);
    Values length;
    for (const Index y : {0, 1}) {
      const Values g = slopes(z, [&](const Tensor& x) { return cross_entropy(x, labels({y})); });
      length.push_back(std::hypot(g[0], g[1]));
    }
    check_near(length, {0.141421, 1.272792}, 1e-6);
    CHECK(egl(z).item() == doctest::Approx(0.254558).epsilon(1e-6));
    CHECK(egl(z).item() == doctest::Approx(0.9 * length[0] + 0.1 * length[1]).epsilon(1e-14));
    // The source's score needs the label: with the likeliest one it is too small by 45 percent.
    CHECK(length[0] < 0.6 * egl(z).item());
  }

  TEST_CASE("for a last layer z = W h the expected gradient length has the factor |h|") {
    const Tensor h = matrix({3, 4}, 1), z = matrix({0.2, -0.4, 0.1}, 1);
    CHECK(egl(z, h).item() == doctest::Approx(5 * egl(z).item()).epsilon(1e-15));
    CHECK(egl(z, zeros({1, 2}, DType::f64)).item() == 0);
  }

  TEST_CASE("by hand: p = (.6, .3, .1)") {
    const Tensor z = matrix(log_of({0.6, 0.3, 0.1}), 1);
    CHECK(least_confidence(z).item() == doctest::Approx(0.4).epsilon(1e-14));
    CHECK(margin_confidence(z).item() == doctest::Approx(0.3).epsilon(1e-14));
    CHECK(margin_confidence(zeros({1, 4})).item() == 0);
    CHECK(least_confidence(zeros({1, 4})).item() == 0.75);
  }

  TEST_CASE("very sure rows keep an order") {
    const Tensor z = matrix({60, 0, 70, 0}, 2);
    for (const Tensor& x : {z, z.to(DType::f32)}) {
      const Values doubt = least_confidence(x).to_vector(), length = egl(x).to_vector();
      CHECK(doubt[0] == doctest::Approx(std::exp(-60.0)).epsilon(1e-5));
      CHECK(doubt[1] == doctest::Approx(std::exp(-70.0)).epsilon(1e-5));
      CHECK(length[0] > length[1]);
      CHECK(length[1] > 0);
    }
  }

  TEST_CASE("k-center covers clusters before it repeats one, and leaves out what is labelled") {
    const Tensor x = matrix({0, 0, 0.1, 0, 10, 0, 10.1, 0, 0, 10, 0.1, 10}, 6);
    const std::vector<Index> three = k_center_greedy(x, 3);
    CHECK(three.size() == 3);
    CHECK(three[0] == 0);
    for (const Index i : three) CHECK((i == 0) == (i / 2 == 0));
    CHECK(three[1] / 2 != three[2] / 2);
    CHECK(k_center_greedy(x, 1, {0, 2}) == std::vector<Index>{5});
    CHECK(k_center_greedy(x, 100).size() == 6);
    CHECK(k_center_greedy(x, 100, {1, 3}).size() == 4);
    CHECK(k_center_greedy(zeros({3, 2}), 2) == std::vector<Index>{0, 1});
    CHECK(k_center_greedy(zeros({0, 2}), 2).empty());
  }

  TEST_CASE("active: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(bald(zeros({2, 3})), doctest::Contains("needs probabilities [K,N,C]"), Error);
    CHECK_THROWS_WITH_AS(bald(zeros({0, 2, 3})), doctest::Contains("K >= 1"), Error);
    CHECK_THROWS_WITH_AS(bald(Tensor()), doctest::Contains("needs probabilities [K,N,C]"), Error);
    CHECK_THROWS_WITH_AS(egl(zeros({2, 3}), zeros({3, 2})), doctest::Contains("needs features [N,D]"), Error);
    CHECK_THROWS_WITH_AS(egl(zeros({2})), doctest::Contains("needs logits [N,C]"), Error);
    CHECK_THROWS_WITH_AS(least_confidence(zeros({2, 0})), doctest::Contains("C >= 1"), Error);
    CHECK_THROWS_WITH_AS(margin_confidence(Tensor()), doctest::Contains("undefined"), Error);
    CHECK_THROWS_WITH_AS(k_center_greedy(zeros({2}), 1), doctest::Contains("needs points [N,D]"), Error);
    CHECK_THROWS_WITH_AS(k_center_greedy(zeros({2, 2}), -1), doctest::Contains("must not be negative"), Error);
    CHECK_THROWS_WITH_AS(k_center_greedy(zeros({2, 2}), 1, {2}), doctest::Contains("labelled row 2"), Error);
  }
}
