// Losses of language models: both forms, what the sources' formulas get wrong, nothing masked, overflow of perplexity.
#include "losses/softmax/language_model.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor positions(const Values& labels, Index rows) {
  return tensor(labels, {rows, Index(labels.size()) / rows}, DType::i64);
}

Tensor answer(double p1) { return matrix({std::log1p(-p1), std::log(p1)}, 1); }  // logits of P(y = 1) = p1

}  // namespace

TEST_SUITE("language_model") {
  TEST_CASE("language_model: definition, closed form and central differences agree") {
    check_losses(language_model_losses());
  }

  TEST_CASE("B137 mlm is cross entropy over the masked positions, mean over them or their sum") {
    const Tensor z = distinct({2, 3, 4}), y = positions({-100, 2, 0, 3, -100, -100}, 2);
    const Tensor flat = z.reshape({6, 4}), masked = labels({-100, 2, 0, 3, -100, -100});
    CHECK(mlm(z, y).item() == cross_entropy(flat, masked).item());
    CHECK(mlm(z, y, {.reduction = Reduction::sum}).item() == doctest::Approx(3 * mlm(z, y).item()));
    const Tensor rows = mlm(z, y, {.reduction = Reduction::none});
    CHECK(rows.shape() == Shape{2, 3});
    CHECK(rows.at({0, 0}) == 0);
    CHECK(slopes(z, [&](const Tensor& x) { return mlm(x, y); }) ==
          slopes(flat, [&](const Tensor& x) { return cross_entropy(x, masked); }));
  }

  TEST_CASE(
      "B137 C89 two words that determine each other: the source's formula 0, jointly log 2, masked together 2 log 2") {
    // Each word is a or b with probability 1/2, and the other is the same. The best model of a word given ..
    const double sure = 40;
    const Tensor y = positions({1, 1}, 1);
    const Tensor the_other_word = tensor({-sure, sure, -sure, sure}, {1, 2, 2}, DType::f64);
    const Tensor nothing = zeros({1, 2, 2}, DType::f64);
    const MlmOptions total{.reduction = Reduction::sum};
    CHECK(mlm(the_other_word, y, total).item() < 1e-30);
    CHECK(mlm(nothing, y, total).item() == doctest::Approx(1.3863).epsilon(1e-4));
    const double joint = mlm(nothing.rows(0, 1), positions({1, -100}, 1), total).item() +
                         mlm(the_other_word, positions({-100, 1}, 1), total).item();
    CHECK(joint == doctest::Approx(.6931).epsilon(1e-4));
  }

  TEST_CASE("nothing masked, or NaN where nothing is masked, gives 0 there, not NaN") {
    const Tensor z = tensor({NaN, inf, 0, 1}, {1, 2, 2}, DType::f64);
    for (const Form form : {Form::closed, Form::definition}) {
      const auto loss = [&](const Tensor& x) { return mlm(x, positions({-100, -100}, 1), {.form = form}); };
      CHECK(loss(z).item() == 0);
      CHECK(slopes(z, loss) == Values(4, 0));
      CHECK(mlm(z, positions({-100, 1}, 1), {.form = form}).item() == doctest::Approx(.3132616875));
    }
  }

  TEST_CASE("B138 C88 without brackets a wrong no is a reward of -2.3026, unbounded, with them it costs as much") {
    const auto source = [](double y, double P) { return -y * std::log(P) + (1 - y) * std::log(1 - P); };
    CHECK(source(0, .9) == doctest::Approx(-2.3026).epsilon(1e-4));
    CHECK(source(0, 1 - 1e-6) == doctest::Approx(-13.8).epsilon(1e-2));
    CHECK(nsp(answer(.9), labels({0})).item() == doctest::Approx(2.3026).epsilon(1e-4));
    CHECK(nsp(answer(.9), labels({1})).item() == doctest::Approx(-std::log(.9)));
    // Read with P(y_i) as the probability of the true label, a right "no" at .9 costs -log(1 - .9).
    const double right_no = -std::log(1 - .9);
    CHECK(right_no == doctest::Approx(2.3026).epsilon(1e-4));
    CHECK(nsp(answer(.1), labels({0})).item() == doctest::Approx(.10536).epsilon(1e-4));
  }

  TEST_CASE("B138 nsp is never negative") {
    const Tensor z = distinct({6, 2});
    for (const double v : nsp(z, labels({0, 1, 0, 1, 1, 0}), {.reduction = Reduction::none}).to_vector()) CHECK(v >= 0);
  }

  TEST_CASE("A020 perplexity is the number of equal choices, and its gradient is that of CE times itself") {
    CHECK(perplexity(zeros({3, 50}, DType::f64), labels({1, 7, 49})).item() == doctest::Approx(50));
    CHECK(perplexity(matrix({1e4, 0}, 1), labels({0})).item() == 1);
    const Tensor z = distinct({3, 4}), t = labels({2, 0, -100});
    const double ppl = perplexity(z, t).item();
    CHECK(std::log(ppl) == doctest::Approx(cross_entropy(z, t).item()));
    Values wanted = slopes(z, [&](const Tensor& x) { return cross_entropy(x, t); });
    for (double& v : wanted) v *= ppl;
    check_near(slopes(z, [&](const Tensor& x) { return perplexity(x, t); }), wanted, 1e-14);
  }

  TEST_CASE("perplexity of nothing is 1 with gradient 0, and it overflows only where the true value does") {
    const auto none = [](const Tensor& x) { return perplexity(x, labels({-100, -100})); };
    CHECK(none(distinct({2, 3})).item() == 1);
    CHECK(slopes(distinct({2, 3}), none) == Values(6, 0));
    const Tensor z = matrix({0, 88}, 1), far = matrix({0, 90}, 1);
    CHECK(perplexity(z.to(DType::f32), labels({0})).item() == doctest::Approx(std::exp(88.)).epsilon(2e-5));
    CHECK(perplexity(far.to(DType::f32), labels({0})).item() == inf);
    CHECK(perplexity(far, labels({0})).item() == doctest::Approx(std::exp(90.)));
  }

  TEST_CASE("language_model: what does not fit is an error that names it") {
    const Tensor z = zeros({1, 2, 3});
    CHECK_THROWS_WITH_AS(mlm(Tensor(), labels({0})), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(mlm(zeros({2, 3}), labels({0, 1})), doctest::Contains("needs logits [B,T,V]"), Error);
    CHECK_THROWS_WITH_AS(mlm(z, labels({0, 1})), doctest::Contains("a label for each position"), Error);
    CHECK_THROWS_WITH_AS(mlm(z, positions({0, 3}, 1)), doctest::Contains("label 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(nsp(zeros({2, 3}), labels({0, 1})), doctest::Contains("needs logits [N,2]"), Error);
    CHECK_THROWS_WITH_AS(nsp(zeros({2, 2}), labels({0, 2})), doctest::Contains("[nsp] label 2"), Error);
    CHECK_THROWS_WITH_AS(perplexity(zeros({2, 2}), labels({0})), doctest::Contains("one label for each row"), Error);
  }
}
