// Calibration error: by hand, its bins' edges, and the soft version's limit and gradient.
#include "losses/schemes/calibration.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/arithmetic.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// Rows of two classes with p_0 = conf, of which the first `hits` carry label 0.
struct Group {
  double conf;
  Index count, hits;
};
struct Table {
  Tensor logits, target;
};
Table table(const std::vector<Group>& groups) {
  Values z;
  std::vector<Index> y;
  for (const Group& g : groups) {
    for (Index i = 0; i < g.count; ++i) {
      z.insert(z.end(), {std::log(g.conf), std::log(1 - g.conf)});
      y.push_back(i < g.hits ? 0 : 1);
    }
  }
  return {matrix(z, Index(y.size())), labels(y)};
}

}  // namespace

TEST_SUITE("calibration") {
  TEST_CASE("calibration: definition, closed form and central differences agree") {
    check_losses(calibration_losses());
  }

  TEST_CASE("B037 C39 D25 the bins weigh by their counts: 17.0 percent, not the plain mean 16.67") {
    // Accuracy .7, .85, .6 where .9, .95, .8 is claimed.
    const Table unequal = table({{0.9, 120, 84}, {0.95, 60, 51}, {0.8, 20, 12}});
    CHECK(ece(unequal.logits, unequal.target).item() == doctest::Approx(0.17).epsilon(1e-12));
    const Table equal = table({{0.9, 20, 14}, {0.95, 20, 17}, {0.8, 20, 12}});
    CHECK(ece(equal.logits, equal.target).item() == doctest::Approx((0.2 + 0.1 + 0.2) / 3).epsilon(1e-12));
    // The source's plain mean over the bins of the first table:
    double mean = 0;
    int used = 0;
    for (const ReliabilityBin& b : reliability(unequal.logits, unequal.target)) {
      if (b.count) mean += std::abs(b.accuracy - b.confidence), ++used;
    }
    CHECK(used == 3);
    CHECK(mean / used == doctest::Approx(0.166667).epsilon(1e-5));
  }

  TEST_CASE("a confidence on an edge belongs to the bin below it") {
    // Equal logits: conf = 1/2 in (0, 1/2]. With conf .9 wrong in the other bin the gaps do not cancel.
    const Table t = table({{0.9, 1, 0}});
    const Tensor z = matrix({0, 0, value_at(t.logits, 0), value_at(t.logits, 1)}, 2);
    CHECK(ece(z, labels({0, 1}), {.bins = 2}).item() == doctest::Approx((0.5 + 0.9) / 2));
    CHECK(reliability(z, labels({0, 1}), 2)[0].count == 1);
    CHECK(reliability(zeros({1, 3}), labels({0}), 15)[4].count == 1);  // 1/3 in (4/15, 5/15]
    CHECK(reliability(zeros({1, 5}), labels({0}), 15)[2].count == 1);  // 1/5 in (2/15, 3/15]
    CHECK(reliability(zeros({1, 1}), labels({0}), 15)[14].count == 1);
    for (Index C = 1; C <= 100; ++C)
      CHECK(reliability(zeros({1, C}), labels({0}), 100)[std::size_t((100 + C - 1) / C - 1)].count == 1);
  }

  TEST_CASE("the first of equal logits is the prediction") {
    CHECK(ece(zeros({1, 2}), labels({0})).item() == 0.5);
    CHECK(ece(zeros({1, 4}), labels({0})).item() == 0.75);
    CHECK(ece(zeros({1, 4}), labels({3})).item() == 0.25);
  }

  TEST_CASE("right and sure is 0, wrong and sure is 1, no rows is 0, NaN stays NaN") {
    CHECK(ece(matrix({1e4, 0}, 1), labels({0})).item() == 0);
    CHECK(ece(matrix({1e4, 0}, 1), labels({1})).item() == 1);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(ece(zeros({0, 3}), labels({}), {.form = form}).item() == 0);
      CHECK(soft_ece(zeros({0, 3}), labels({}), {.form = form}).item() == 0);
    }
    CHECK(std::isnan(ece(matrix({NaN, 0, 1, 0}, 2), labels({0, 0})).item()));
  }

  TEST_CASE("soft ECE tends to ECE as its temperature falls, away from edges") {
    const Table t = table({{0.9, 10, 7}, {0.97, 10, 8}, {0.77, 5, 1}, {0.62, 3, 2}});
    const double hard = ece(t.logits, t.target).item();
    CHECK(soft_ece(t.logits, t.target, {.temperature = 1e-7}).item() == doctest::Approx(hard).epsilon(1e-6));
    // One bin: both are |accuracy - mean confidence|.
    CHECK(soft_ece(t.logits, t.target, {.bins = 1}).item() ==
          doctest::Approx(ece(t.logits, t.target, {.bins = 1}).item()).epsilon(1e-14));
  }

  TEST_CASE("training on soft ECE makes an over-confident model calibrated") {
    const Table t = table({{0.95, 20, 15}});
    const auto scaled = [&](const Tensor& s) { return soft_ece(s * t.logits, t.target); };
    const Values s = minimise(scaled, vec({1}).reshape({1, 1}), 300, 1);
    const double gap = std::log(0.95 / 0.05) * s[0];
    CHECK(1 / (1 + std::exp(-gap)) == doctest::Approx(0.75).epsilon(0.01));
  }

  TEST_CASE("calibration: what does not fit is an error that names it") {
    const Tensor z = zeros({1, 3}), y = labels({0});
    CHECK_THROWS_WITH_AS(ece(z, y, {.bins = 0}), doctest::Contains("bins must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(ece(z, labels({3})), doctest::Contains("label 3"), Error);
    CHECK_THROWS_WITH_AS(soft_ece(z, y, {.temperature = 0}), doctest::Contains("temperature must be positive"), Error);
    CHECK_THROWS_WITH_AS(soft_ece(z, labels({0, 1})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(reliability(matrix({NaN, 0}, 1), y), doctest::Contains("confidence is NaN"), Error);
  }
}
