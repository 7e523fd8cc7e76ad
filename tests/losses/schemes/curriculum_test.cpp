// Curriculum: something is learnt at every epoch, everything in the end, and the source's threshold fails at both.
#include "losses/schemes/curriculum.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

double source_threshold(double epoch) { return 1 - std::exp(-epoch / 10); }

// (weights * losses).mean() with weights = difficulty < threshold
Tensor source_loss(const Tensor& losses, const Tensor& difficulty, double epoch) {
  return mean(less(difficulty, full({}, source_threshold(epoch), DType::f64)).to(DType::f64) * losses);
}

}  // namespace

TEST_SUITE("curriculum") {
  TEST_CASE("curriculum: definition, closed form and central differences agree") { check_losses(curriculum_losses()); }

  TEST_CASE("B042 C92 the source's threshold is 0 at epoch 0, so nothing is learnt, ours starts with a share") {
    const Values printed = {0, .0952, .3935, .6321, .8647, .9933};
    std::size_t i = 0;
    for (const double epoch : {0, 1, 5, 10, 20, 50}) {
      CHECK(std::abs(source_threshold(epoch) - printed[i++]) < 5e-5);
      // Ours with start 0 is the same curve; what it means is a share of the rows.
      CHECK(curriculum_pace({.epoch = epoch, .start = 0}) == doctest::Approx(source_threshold(epoch)));
    }
    const Tensor l = vec({0.1, 0.4, 1.2, 2, 3}), d = l;
    CHECK(source_loss(l, d, 0).item() == 0);
    CHECK(slopes(l, [&](const Tensor& x) { return source_loss(x, d, 0); }) == Values(5, 0));
    CHECK(curriculum(l, d).item() == doctest::Approx(0.1));
    CHECK(slopes(l, [&](const Tensor& x) { return curriculum(x, d); }) == Values{1, 0, 0, 0, 0});
    CHECK(curriculum(l, d, {.start = 0}).item() == doctest::Approx(0.1));
  }

  TEST_CASE("C92 a loss of 1 or more is never under the source's threshold, ours takes all rows in the end") {
    const Tensor l = vec({0.1, 0.4, 1.2, 2, 3}), d = l;
    const Values late = slopes(l, [&](const Tensor& x) { return source_loss(x, d, 1000); });
    CHECK(late == Values{0.2, 0.2, 0, 0, 0});  // two of five for ever
    for (const double g : slopes(l, [&](const Tensor& x) { return curriculum(x, d, {.epoch = 50}); })) {
      CHECK(g == doctest::Approx(0.2));
    }
  }

  TEST_CASE("C92 the source divides by the batch, which shrinks the step, ours by the rows learnt from") {
    const Tensor l = vec({0.1, 0.3, 0.5, 0.8, 0.9}), d = l;
    // Epoch 5: the threshold .39 lets two of five in.
    double source = 0, ours = 0;
    for (const double g : slopes(l, [&](const Tensor& x) { return source_loss(x, d, 5); })) source += g;
    for (const double g : slopes(l, [&](const Tensor& x) { return curriculum(x, d, {.epoch = 5}); })) ours += g;
    CHECK(source == doctest::Approx(0.4));
    CHECK(ours == doctest::Approx(1));
  }

  TEST_CASE("rows enter one by one as epochs pass, the easiest first") {
    Index last = 0;
    for (double t = 0; t < 60; t += 0.5) {
      const Index k = curriculum_rows(64, {.epoch = t});
      CHECK(k >= last);
      CHECK(k - last <= (t == 0 ? 13 : 3));
      last = k;
    }
    CHECK(curriculum_rows(64, {}) == 13);
    CHECK(last == 64);
    CHECK(curriculum_rows(5, {.start = 0.2}) == 1);
    CHECK(curriculum_rows(10, {.start = 0.7}) == 7);
    CHECK(curriculum_rows(0, {}) == 0);
    CHECK(curriculum(vec({5, 6, 7, 8}), vec({3, 1, 2, 4}), {.start = 0.5}).item() == doctest::Approx(6.5));
  }

  TEST_CASE("only the order of the difficulties counts, ties go to the lower row, what is left out costs nothing") {
    const Tensor l = vec({5, 6, 7, inf}), d = vec({-1, 0, 2, 9});
    const CurriculumOptions half{.start = 0.5};
    CHECK(curriculum(l, d, half).item() == curriculum(l, exp(d), half).item());
    CHECK(curriculum(l, ones({4}, DType::f64), half).item() == doctest::Approx(5.5));
    CHECK(curriculum(l, vec({NaN, 0, 0, 1}), half).item() == doctest::Approx(6.5));
    CHECK(slopes(l, [&](const Tensor& x) { return curriculum(x, d, half); }) == Values{0.5, 0.5, 0, 0});
  }

  TEST_CASE("start 1 is the plain mean") {
    CHECK(curriculum(vec({1, 2, 6}), vec({0, 5, 1}), {.start = 1}).item() == doctest::Approx(3));
  }

  TEST_CASE("curriculum: what does not fit is an error that names it") {
    const Tensor l = vec({1, 2});
    CHECK_THROWS_WITH_AS(curriculum(l, vec({1})), doctest::Contains("a difficulty for each"), Error);
    CHECK_THROWS_WITH_AS(curriculum(l, Tensor()), doctest::Contains("a difficulty for each"), Error);
    CHECK_THROWS_WITH_AS(curriculum(l, zeros({2})), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(curriculum(l, l, {.epoch = -1}), doctest::Contains("epoch must not be negative"), Error);
    CHECK_THROWS_WITH_AS(curriculum(l, l, {.epoch = NaN}), doctest::Contains("epoch must not be negative"), Error);
    CHECK_THROWS_WITH_AS(curriculum(l, l, {.start = 2}), doctest::Contains("start must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(curriculum(l, l, {.time_constant = 0}), doctest::Contains("must be positive"), Error);
  }
}
