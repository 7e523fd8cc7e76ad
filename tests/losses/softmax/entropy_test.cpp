// Entropy of predictions: its two forms, its bounds, its gradient by hand.
#include "losses/softmax/entropy.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("entropy") {
  TEST_CASE("entropy: definition, closed form and central differences agree") { check_losses(entropy_losses()); }

  TEST_CASE("A001 by hand: log C at equal logits, 0 where one class is certain, .562335 at 1/4 and 3/4") {
    check_near(entropy(zeros({2, 10}, DType::f64)).to_vector(), Values(2, std::log(10.0)), 1e-15);
    check_near(entropy(matrix({0, std::log(3.0)}, 1)).to_vector(), {0.5623351446188083}, 1e-15);
    CHECK(entropy(matrix({0, -inf, -inf}, 1)).item() == 0);
    CHECK(slopes(matrix({0, -inf, -inf}, 1), [](const Tensor& z) { return entropy(z); }) == Values(3, 0));
    CHECK(entropy(matrix({3, -2}, 2)).to_vector() == Values{0, 0});
  }

  TEST_CASE("the gradient is -p_j (log p_j + H) and sums to 0") {
    const Tensor z = distinct({1, 5});
    const Values p = softmax(z).to_vector(), g = slopes(z, [](const Tensor&x) { return entropy(x); });
    const double H = entropy(z).item();
    double total = 0;
    for (std::size_t j = 0; j < 5; ++j) {
      check_near(g[j], -p[j] * (std::log(p[j]) + H), 1e-15);
      total += g[j];
    }
    CHECK(std::abs(total) < 1e-15);
  }

  TEST_CASE("entropy is the cross entropy of a prediction with itself, 0 <= H <= log C, a shift changes nothing") {
    const Tensor z = 3 * distinct({40, 7});
    const Values h = entropy(z).to_vector();
    check_near(h, cross_entropy(z, softmax(z), {.reduction = Reduction::none}).to_vector(), 1e-14);
    check_near(entropy(z + 1000).to_vector(), h, 1e-12);
    for (const double v : h) CHECK((v >= 0 && v <= std::log(7.0)));
    check_near(entropy(z, {.reduction = Reduction::mean}).item(), mean(vec(h)).item(), 1e-15);
  }

  TEST_CASE("f32 at logits of 1e4 is 0 and not NaN, and at a gap of 46 still about 5e-19") {
    const Tensor z = tensor({1e4, -1e4, 46, 0}, {2, 2});
    const Values h = entropy(z).to_vector();
    CHECK(h[0] == 0);
    CHECK(h[1] == doctest::Approx(std::exp(-46.0) * 47).epsilon(2e-5));
    for (const double v : slopes(z, [](const Tensor& x) { return entropy(x); })) CHECK(std::isfinite(v));
  }

  TEST_CASE("no rows give an empty tensor, what does not fit is an error") {
    CHECK(entropy(zeros({0, 3})).numel() == 0);
    CHECK_THROWS_WITH_AS(entropy(zeros({3})), doctest::Contains("needs logits [N,C] with C >= 1"), Error);
    CHECK_THROWS_WITH_AS(entropy(zeros({3, 0})), doctest::Contains("needs logits [N,C] with C >= 1"), Error);
    CHECK_THROWS_WITH_AS(entropy(Tensor()), doctest::Contains("undefined"), Error);
  }
}
