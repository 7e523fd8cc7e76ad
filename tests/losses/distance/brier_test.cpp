// Brier score: the proof, numbers by hand, that it is proper and where it learns slowly, errors.
#include "losses/distance/brier.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/distance/regression.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/broadcast.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// Ten labels with frequencies 0.5, 0.3, 0.2.
Tensor ten_labels() { return labels({0, 0, 0, 0, 0, 1, 1, 1, 2, 2}); }

// The softmax of the logits [1,3] that are best for all ten labels.
Values best_probabilities(const std::function<Tensor(const Tensor&)>& loss_of_ten, int steps) {
  const auto f = [&](const Tensor& z) { return loss_of_ten(broadcast_to(z, {10, 3})); };
  return softmax(matrix(minimise(f, zeros({1, 3}), steps, 1), 1)).to_vector();
}

}  // namespace

TEST_SUITE("brier") {
  TEST_CASE("brier: definition, closed form and central differences agree") { check_losses(brier_losses()); }

  TEST_CASE("by hand: p = 1/4 and 3/4") {
    const Tensor z = matrix({0, std::log(3.0)}, 1);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(brier(z, labels({0}), {.form = form}).item() == doctest::Approx(9.0 / 8));
      CHECK(brier(z, labels({1}), {.form = form}).item() == doctest::Approx(1.0 / 8));
      // -2 p_t L at the label
      const auto f = [&](const Tensor& x) { return brier(x, labels({0}), {.form = form}); };
      check_near(slopes(z, f), {-9.0 / 16, 9.0 / 16}, 1e-15);
    }
  }

  TEST_CASE("B018 C46 squared error suits many classes: the optimum of the Brier score is the frequencies themselves") {
    const auto score = [](const Tensor& z) { return brier(z, ten_labels()); };
    check_near(best_probabilities(score, 2000), {0.5, 0.3, 0.2}, 1e-5);
    // mse of softmax against one-hot is the same up to the factor C.
    const Tensor t = one_hot(ten_labels(), 3, DType::f64), z = between(-2, 2, {10, 3}, 1);
    CHECK(3 * mse(softmax(z), t).item() == doctest::Approx(brier(z, ten_labels()).item()));
  }

  TEST_CASE("C46 absolute error is the one that does not: its optimum puts everything on the most frequent class") {
    const Tensor t = one_hot(ten_labels(), 3, DType::f64);
    const Values p = best_probabilities([&](const Tensor& z) { return mae(softmax(z), t); }, 400);
    check_near(p, {1, 0, 0}, 1e-3);
  }

  TEST_CASE("where p_t is nearly 0 the gradient vanishes, that of cross entropy does not") {
    const Tensor z = matrix({20, 0, 0}, 1), t = labels({1});
    CHECK(brier(z, t).item() == doctest::Approx(2));
    for (const double v : slopes(z, [&](const Tensor& x) { return brier(x, t); })) CHECK(std::abs(v) < 2e-8);
    CHECK(slopes(z, [&](const Tensor& x) { return cross_entropy(x, t); })[1] == doctest::Approx(-1));
  }

  TEST_CASE("0 to 2, a shift changes nothing, the gradient of a row sums to 0") {
    const Tensor z = between(-4, 4, {20, 5}, 1);
    std::vector<Index> t;
    for (Index r = 0; r < 20; ++r) t.push_back(r * 3 % 5);
    for (const double v : brier(z, labels(t), {.reduction = Reduction::none}).to_vector()) CHECK((v >= 0 && v <= 2));
    CHECK(brier(z + 50.0, labels(t)).item() == doctest::Approx(brier(z, labels(t)).item()).epsilon(1e-13));
    const Values g = slopes(z, [&](const Tensor& x) { return brier(x, labels(t)); });
    for (const double s : sum(matrix(g, 20), {1}).to_vector()) CHECK(std::abs(s) < 1e-15);
  }

  TEST_CASE("brier: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3});
    CHECK_THROWS_WITH_AS(brier(zeros({3}), labels({0})), doctest::Contains("needs logits [N,C]"), Error);
    CHECK_THROWS_WITH_AS(brier(z, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(brier(z, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(brier(z, labels({0, 3})), doctest::Contains("label 3 at [1]"), Error);
  }
}
