// Temperature and calibration: the temperature that made the labels is found again, its limits, and ECE by hand.
#include "losses/schemes/temperature.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/schemes/calibration.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/softmax.h"
#include "ops/sort.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

struct Data {
  Tensor logits, target;  // logits = 2 true ones: over-confident
};

// Labels drawn from softmax(true logits).
Data overconfident(Index N, Index C, std::uint64_t seed) {
  Rng rng(seed);
  const Tensor z = 1.5 * randn({N, C}, rng, DType::f64), p = softmax(z);
  std::vector<Index> y(static_cast<std::size_t>(N), C - 1);
  for (Index r = 0; r < N; ++r) {
    double u = rng.uniform();
    for (Index c = 0; c < C - 1; ++c) {
      u -= value_at(p, r * C + c);
      if (u < 0) {
        y[std::size_t(r)] = c;
        break;
      }
    }
  }
  return {2 * z, labels(y)};
}

double temperature(const Tensor& z, const Tensor& y) { return optimal_temperature(z, y).item(); }
double nll(const Data& d, double T) { return cross_entropy(d.logits / T, d.target).item(); }

// The source's grid: T in linspace(0.5, 5, 50).
double grid_temperature(int i) { return 0.5 + 4.5 * i / 49; }

}  // namespace

TEST_SUITE("temperature") {
  TEST_CASE("definition and closed form of the temperature agree") { check_losses(temperature_losses()); }

  TEST_CASE("B039 D25 logits that are twice the true ones have T = 2, and T = 2 mends the calibration") {
    const Data d = overconfident(20000, 10, 1);
    const double T = temperature(d.logits, d.target);
    CHECK(std::abs(T - 2) < 0.02);  // for this seed; the estimate's own scatter at n = 20000 is 0.02
    CHECK(ece(d.logits, d.target).item() > 0.17);
    CHECK(ece(d.logits / T, d.target).item() < 0.007);  // of which sampling alone makes 0.005
    // The minimum, to the last digits: neither neighbour is lower.
    CHECK(nll(d, T) <= nll(d, T * 1.001));
    CHECK(nll(d, T) <= nll(d, T * 0.999));
  }

  TEST_CASE("B038 a temperature keeps the order of the logits, so the accuracy") {
    const Data d = overconfident(500, 7, 2);
    const Values best = argmax(d.logits, 1).to_vector();
    for (const double T : {0.1, 0.5, 2.0, 5.0, 1000.0}) CHECK(argmax(softmax(d.logits / T), 1).to_vector() == best);
  }

  TEST_CASE("B040 C40 D25 the source's grid never tries T = 1 and worsens a calibrated model") {
    double nearest = 10;
    for (int i = 0; i < 50; ++i) nearest = std::min(nearest, std::abs(grid_temperature(i) - 1));
    CHECK(nearest == doctest::Approx(0.04082).epsilon(1e-3));  // 0.95918; the next is 1.05102
    const Data d = overconfident(20000, 10, 1);
    const Tensor calibrated = d.logits / 2;
    double lowest = 10, chosen = 0;
    for (int i = 3; i <= 8; ++i) {  // further out the error only grows
      const double T = grid_temperature(i), error = ece(calibrated / T, d.target).item();
      if (error < lowest) lowest = error, chosen = T;
    }
    CHECK(chosen == doctest::Approx(0.95918).epsilon(1e-4));
    CHECK(lowest > 1.5 * ece(calibrated, d.target).item());
    const double T = temperature(calibrated, d.target);
    CHECK(std::abs(T - 1) < 0.01);
    CHECK(ece(calibrated / T, d.target).item() < 0.7 * lowest);
  }

  TEST_CASE("C41 ECE over the temperature has several local minima where the likelihood has one") {
    const Data d = overconfident(500, 10, 4);
    int ece_minima = 0, nll_minima = 0;
    Values e, l;
    for (int i = 0; i < 50; ++i) {
      e.push_back(ece(d.logits / grid_temperature(i), d.target).item());
      l.push_back(nll(d, grid_temperature(i)));
    }
    for (std::size_t i = 1; i + 1 < e.size(); ++i) {
      ece_minima += e[i] < e[i - 1] && e[i] < e[i + 1];
      nll_minima += l[i] < l[i - 1] && l[i] < l[i + 1];
    }
    CHECK(ece_minima > 1);
    CHECK(nll_minima == 1);
    // And ECE is not proper: a constant predictor that knows the class frequencies has ECE 0 whatever the input says.
    const Tensor constant = matrix({std::log(0.6), std::log(0.4)}, 1);
    Tensor z = zeros({5, 2}, DType::f64);
    for (Index i = 0; i < 10; ++i) set_value(z, i, value_at(constant, i % 2));
    CHECK(ece(z, labels({0, 0, 0, 1, 1})).item() < 1e-15);
    CHECK(cross_entropy(z, labels({0, 0, 0, 1, 1})).item() == doctest::Approx(0.673).epsilon(1e-3));
  }

  TEST_CASE("C43 on separable data hard labels have no finite best scale: T falls to 0") {
    const Tensor z = matrix({3, 1, 0, 0, 2, -1}, 2), y = labels({0, 1});
    double last = 10;
    for (double T = 4; T > 0.01; T /= 2) {
      const double loss = cross_entropy(z / T, y).item();
      CHECK(loss < last);
      last = loss;
    }
    CHECK(temperature(z, y) == 0);
    // A smoothed label keeps a finite optimum; that is what the training labels decide, not the softmax.
    CHECK(cross_entropy(z / 0.01, y, {.label_smoothing = 0.1}).item() >
          cross_entropy(z, y, {.label_smoothing = 0.1}).item());
  }

  TEST_CASE("by hand: two classes at logits +-1, right 3 times of 4, want log 3 = 2 / T") {
    const Tensor z = matrix({1, -1, 1, -1, 1, -1, 1, -1}, 4), y = labels({0, 0, 1, 0});
    CHECK(temperature(z, y) == doctest::Approx(2 / std::log(3.0)).epsilon(1e-14));
    CHECK(temperature(1e-6 * z, y) == doctest::Approx(2e-6 / std::log(3.0)).epsilon(1e-14));
    CHECK(temperature(1e6 * z + 5e8, y) == doctest::Approx(2e6 / std::log(3.0)).epsilon(1e-9));
  }

  TEST_CASE(
      "the limits: worse than chance is infinity, constant rows or no rows leave T at 1, ties count as greatest") {
    CHECK(temperature(matrix({1, 0, 1, 0}, 2), labels({1, 1})) == inf);
    CHECK(temperature(matrix({1, 0, 1, 0}, 2), labels({0, 1})) == inf);
    CHECK(temperature(matrix({3, 3, 5, 5}, 2), labels({0, 1})) == 1);
    CHECK(temperature(zeros({0, 3}), labels({})) == 1);
    CHECK(temperature(matrix({4, 4, 0, 1, 1, 1}, 2), labels({1, 2})) == 0);
    CHECK(temperature(zeros({2, 1}), labels({0, 0})) == 1);
  }

  TEST_CASE("one mistake among many confident rows still has a finite positive answer") {
    Tensor z = zeros({1000, 2}, DType::f64);
    for (Index r = 0; r < 1000; ++r) set_value(z, 2 * r, 1e4);
    std::vector<Index> y(1000, 0);
    y[5] = 1;
    CHECK(temperature(z, labels(y)) == doctest::Approx(1e4 / std::log(999.0)).epsilon(1e-9));
  }

  TEST_CASE("a class at -inf cannot be, a label at -inf or a NaN has no answer") {
    const Tensor z = matrix({1, -1, -inf, 1, -1, -inf, 1, -1, -inf, 1, -1, -inf}, 4);
    CHECK(temperature(z, labels({0, 0, 1, 0})) == doctest::Approx(2 / std::log(3.0)).epsilon(1e-14));
    CHECK(std::isnan(temperature(z, labels({0, 0, 2, 0}))));
    CHECK(std::isnan(temperature(matrix({1, NaN}, 1), labels({0}))));
  }

  TEST_CASE("temperature: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(optimal_temperature(zeros({3}), labels({0})), doctest::Contains("needs logits [N,C]"), Error);
    CHECK_THROWS_WITH_AS(optimal_temperature(zeros({2, 3}), labels({0})), doctest::Contains("one label for each row"),
                         Error);
    CHECK_THROWS_WITH_AS(optimal_temperature(zeros({1, 3}), labels({-1})), doctest::Contains("label -1"), Error);
  }
}
