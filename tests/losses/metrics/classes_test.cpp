// Metrics of a classifier: by hand, degenerate cases, and what each is blind to.
#include "losses/metrics/classes.h"

#include <doctest/doctest.h>

#include <cmath>

#include "ops/index.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// actual 0 0 0 1 1 2, predicted 0 0 1 1 2 2
const Tensor actual = labels({0, 0, 0, 1, 1, 2}), predicted = labels({0, 0, 1, 1, 2, 2});

}  // namespace

TEST_SUITE("classes") {
  TEST_CASE("counting class by class and in one pass agree") { check_losses(class_losses()); }

  TEST_CASE("by hand: hits 2 1 1, predicted 2 2 2, actual 3 2 1") {
    const ClassCounts n = class_counts(predicted, actual);
    CHECK(n.hit == std::vector<Index>{2, 1, 1});
    CHECK(n.predicted == std::vector<Index>{2, 2, 2});
    CHECK(n.actual == std::vector<Index>{3, 2, 1});
    CHECK(accuracy(predicted, actual) == doctest::Approx(4.0 / 6));
    CHECK(balanced_accuracy(predicted, actual) == doctest::Approx((2.0 / 3 + 1.0 / 2 + 1) / 3));
    CHECK(mean_iou(predicted, actual) == doctest::Approx((2.0 / 3 + 1.0 / 3 + 1.0 / 2) / 3));
    const PrecisionRecall macro = precision_recall(predicted, actual);
    CHECK(macro.precision == doctest::Approx((1 + 0.5 + 0.5) / 3));
    CHECK(macro.recall == doctest::Approx((2.0 / 3 + 1.0 / 2 + 1) / 3));
    CHECK(macro.f1 == doctest::Approx((0.8 + 0.5 + 2.0 / 3) / 3));
    // Not the f1 of the mean precision and the mean recall:
    CHECK(std::abs(macro.f1 - 2 * macro.precision * macro.recall / (macro.precision + macro.recall)) > 0.03);
    const PrecisionRecall micro = precision_recall(predicted, actual, ClassAverage::micro);
    CHECK(micro.precision == micro.recall);
    CHECK(micro.f1 == doctest::Approx(accuracy(predicted, actual)));
    const PrecisionRecall binary = precision_recall(predicted, actual, ClassAverage::binary);
    CHECK(binary.precision == 0.5);
    CHECK(binary.recall == 0.5);
  }

  TEST_CASE("logits and classes give the same, the first of equal logits is the prediction") {
    const Tensor z = one_hot(predicted, 3);
    CHECK(accuracy(z, actual) == accuracy(predicted, actual));
    CHECK(precision_recall(z, actual).f1 == precision_recall(predicted, actual).f1);
    CHECK(accuracy(zeros({2, 3}), labels({0, 1})) == 0.5);
  }

  TEST_CASE("always the majority: 95 percent accuracy, balanced accuracy 1/2, positive recall 0") {
    std::vector<Index> y(100, 0);
    for (std::size_t i = 0; i < 5; ++i) y[i] = 1;
    const Tensor t = labels(y), majority = zeros({100}, DType::i64);
    CHECK(accuracy(majority, t) == 0.95);
    CHECK(balanced_accuracy(majority, t) == 0.5);
    CHECK(precision_recall(majority, t, ClassAverage::binary).recall == 0);
    CHECK(precision_recall(majority, t, ClassAverage::binary).precision == 0);
  }

  TEST_CASE("classes that do not occur count nowhere, a class that is only predicted counts in precision and f1") {
    const Tensor z = one_hot(labels({0, 1}), 5);
    CHECK(balanced_accuracy(z, labels({0, 0})) == 0.5);
    CHECK(precision_recall(z, labels({0, 0})).precision == doctest::Approx(0.5));  // 1 and 0
    CHECK(mean_iou(z, labels({0, 1})) == 1);
  }

  TEST_CASE("no rows, all ignored, one class") {
    const Tensor z = zeros({2, 3});
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(accuracy(zeros({0, 3}), labels({}), {.form = form}) == 0);
      CHECK(precision_recall(zeros({0, 3}), labels({}), ClassAverage::macro, {.form = form}).f1 == 0);
      CHECK(accuracy(z, labels({-100, -100}), {.form = form}) == 0);
      CHECK(accuracy(z, labels({-100, 0}), {.form = form}) == 1);
      CHECK(balanced_accuracy(z, labels({-1, 0}), {.ignore_index = -1, .form = form}) == 1);
    }
    CHECK(accuracy(labels({}), labels({})) == 0);
    CHECK(precision_recall(zeros({2, 1}), labels({0, 0}), ClassAverage::binary).f1 == 0);
  }

  TEST_CASE("accuracy by group: many, medium, few") {
    // Classes with 500, 100, 20, 19 rows in training: many, medium, medium, few.
    const Tensor t = labels({0, 0, 1, 1, 2, 3, 3, 3}), p = labels({0, 0, 1, 0, 2, 0, 0, 3});
    const GroupAccuracy g = group_accuracy(p, t, vec({500, 100, 20, 19}));
    CHECK(g.many == 1);
    CHECK(g.medium == doctest::Approx((0.5 + 1) / 2));
    CHECK(g.few == doctest::Approx(1.0 / 3));
    CHECK(group_accuracy(p, t, vec({1, 1, 1, 1})).many == 0);
  }

  TEST_CASE("classes: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(accuracy(Tensor(), t), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(accuracy(zeros({2}), t), doctest::Contains("needs logits [N,C]"), Error);
    CHECK_THROWS_WITH_AS(accuracy(zeros({2, 0}), t), doctest::Contains("C >= 1"), Error);
    CHECK_THROWS_WITH_AS(accuracy(z, labels({1})), doctest::Contains("a target for each row"), Error);
    CHECK_THROWS_WITH_AS(accuracy(z, labels({1, 3})), doctest::Contains("target 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(accuracy(labels({0, -2}), t), doctest::Contains("predicted class -2"), Error);
    CHECK_THROWS_WITH_AS(group_accuracy(z, t, vec({1})), doctest::Contains("the training rows of each class"), Error);
    CHECK_THROWS_WITH_AS(group_accuracy(z, t, vec({1, 2, 3}), {.many = 1, .few = 2}),
                         doctest::Contains("few must not exceed many"), Error);
  }
}
