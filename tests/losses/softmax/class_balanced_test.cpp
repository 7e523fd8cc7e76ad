// Class-balanced weights: both forms, both ends of beta, empty classes; re-weighting against re-sampling.
#include "losses/softmax/class_balanced.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values weights(const std::vector<Index>& counts, const ClassBalancedWeightsOptions& o = {}) {
  return class_balanced_weights(labels(counts), o).to_vector();
}

}  // namespace

TEST_SUITE("class_balanced") {
  TEST_CASE("class_balanced: definition, closed form and central differences agree") {
    check_losses(class_balanced_losses());
  }

  TEST_CASE("A037 by hand: beta 1/2 and counts 1 and 2 have effective numbers 1 and 1.5") {
    check_near(weights({1, 2}, {.beta = .5, .normalise = false}), {1, 2 / 3.}, 1e-15);
    check_near(weights({1, 2}, {.beta = .5}), {1.2, .8}, 1e-15);
  }

  TEST_CASE("beta 0 weighs all alike, beta 1 by 1/n, and the way there keeps its digits") {
    check_near(weights({3, 50, 7}, {.beta = 0}), {1, 1, 1}, 0);
    check_near(weights({1, 2, 4}, {.beta = 1, .normalise = false}), {1, .5, .25}, 0);
    const double n = 1e6, beta = 1 - 1e-15;
    CHECK(weights({1000000}, {.beta = beta, .normalise = false})[0] * n == doctest::Approx(1).epsilon(1e-8));
    // With the textbook formula a count of 1 need not weigh exactly 1.
    CHECK(weights({1}, {.beta = .9999, .normalise = false})[0] == doctest::Approx(1).epsilon(1e-15));
  }

  TEST_CASE("rarer classes weigh more, the weights sum to C, f32 counts give f32 weights") {
    const Values w = weights({5000, 300, 20, 1});
    for (const std::size_t c : {1, 2, 3}) CHECK(w[c] > w[c - 1]);
    CHECK(w[0] + w[1] + w[2] + w[3] == doctest::Approx(4).epsilon(1e-14));
    const Tensor narrow = class_balanced_weights(tensor({5000, 300, 20, 1}));
    CHECK(narrow.dtype() == DType::f32);
    check_near(narrow.to_vector(), w, 1e-6);
  }

  TEST_CASE("an empty class weighs 0 and takes no share of the scale, and only empty classes give a loss of 0") {
    const Values some = weights({3, 0, 7}), without = weights({3, 7});
    CHECK(some[1] == 0);
    check_near({some[0] * 2, some[2] * 2}, {without[0] * 3, without[1] * 3}, 1e-15);
    CHECK(weights({0, 0}) == Values{0, 0});
    const Tensor z = distinct({2, 2}).requires_grad_();
    for (const Average average : {Average::plain, Average::weighted}) {
      const auto loss = [&](const Tensor& x) {
        return class_balanced_ce(x, labels({0, 1}), labels({0, 0}), {.average = average});
      };
      CHECK(loss(z).item() == 0);
      CHECK(slopes(z.detach(), loss) == Values(4, 0));
    }
  }

  TEST_CASE("A021 plain divides by the rows kept, weighted by their weights, which is cross_entropy with weights") {
    const Tensor z = distinct({3, 2}), t = labels({1, 0, -100}), counts = labels({90, 10});
    const Tensor w = class_balanced_weights(counts);
    const double total = cross_entropy(z, t, {.weight = w, .reduction = Reduction::sum}).item();
    CHECK(class_balanced_ce(z, t, counts).item() == doctest::Approx(total / 2).epsilon(1e-14));
    CHECK(class_balanced_ce(z, t, counts, {.average = Average::weighted}).item() ==
          doctest::Approx(cross_entropy(z, t, {.weight = w}).item()).epsilon(1e-14));
    CHECK(class_balanced_ce(z, t, counts, {.reduction = Reduction::sum}).item() ==
          doctest::Approx(total).epsilon(1e-14));
  }

  TEST_CASE("A039 a row drawn k times is a row of weight k: re-sampling is re-weighting") {
    const Tensor z = distinct({2, 3});
    const auto repeated = [](const Tensor& x) {  // the row of class 2 thrice
      return cross_entropy(cat({x, x.rows(1, 2), x.rows(1, 2)}), labels({0, 2, 2, 2}));
    };
    const auto weighted = [](const Tensor& x) { return cross_entropy(x, labels({0, 2}), {.weight = vec({1, 1, 3})}); };
    check_near(repeated(z).item(), weighted(z).item(), 1e-15);
    check_near(slopes(z, repeated), slopes(z, weighted), 1e-15);
    // Over-sampling 9 to 1 to balance has the class weights of beta 1, up to their scale.
    const Values w = weights({900, 100}, {.beta = 1});
    CHECK(w[1] / w[0] == doctest::Approx(9));
  }

  TEST_CASE("class_balanced: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2}), n = labels({1, 2, 3});
    const auto ce = [](const Tensor& logits, const Tensor& target, const Tensor& counts,
                       const ClassBalancedCeOptions& o = {}) { return class_balanced_ce(logits, target, counts, o); };
    CHECK_THROWS_WITH_AS(weights({1, -1}), doctest::Contains("must be >= 0, got -1.000000 at [1]"), Error);
    CHECK_THROWS_WITH_AS(class_balanced_weights(vec({NaN})), doctest::Contains("must be >= 0"), Error);
    CHECK_THROWS_WITH_AS(class_balanced_weights(Tensor()), doctest::Contains("is undefined"), Error);
    CHECK_THROWS_WITH_AS(class_balanced_weights(zeros({2, 3})), doctest::Contains("count for each class, [C]"), Error);
    CHECK_THROWS_WITH_AS(weights({1}, {.beta = 1.5}), doctest::Contains("beta must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(ce(z, t, n, {.beta = NaN}), doctest::Contains("[class_balanced_ce] beta must lie"), Error);
    CHECK_THROWS_WITH_AS(ce(z, t, labels({1, 2})), doctest::Contains("count for each class, [3]"), Error);
    CHECK_THROWS_WITH_AS(ce(z, labels({0}), n), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(ce(z, labels({0, 3}), n), doctest::Contains("[class_balanced_ce] label 3"), Error);
  }
}
