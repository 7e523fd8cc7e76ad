// Cross entropy: two forms and central differences agree, numbers by hand and from tests/golden, and what its head promises.
#include "losses/softmax/cross_entropy.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "engine/backward.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values gradient(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o = {}) {
  return slopes(logits, [&](const Tensor& z) { return cross_entropy(z, target, o); });
}

// ---- tests/golden/cross_entropy.txt: lines "key value value ...", cases separated by an empty line

using Golden = std::map<std::string, std::string>;

std::vector<Golden> golden_cases() {
  std::ifstream file(std::string(GRADUS_SOURCE_DIR) + "/tests/golden/cross_entropy.txt");
  std::vector<Golden> cases(1);
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) {
      cases.emplace_back();
    } else {
      const auto space = line.find(' ');
      cases.back()[line.substr(0, space)] = line.substr(space + 1);
    }
  }
  if (cases.back().empty()) cases.pop_back();
  return cases;
}

Values numbers(const Golden& g, const std::string& key) {
  std::istringstream text(g.at(key));
  Values out;
  for (double v; text >> v;) out.push_back(v);
  return out;
}

void check_golden(const Golden& g, Form form) {
  INFO(g.at("case"));
  const Index N = Index(numbers(g, "shape")[0]);
  const bool hard = g.contains("labels");
  CrossEntropyOptions o{
      .ignore_index = Index(numbers(g, "ignore")[0]), .label_smoothing = numbers(g, "smoothing")[0], .form = form};
  if (g.at("reduction") != "mean") o.reduction = g.at("reduction") == "sum" ? Reduction::sum : Reduction::none;
  if (g.contains("weight")) o.weight = tensor(numbers(g, "weight"), DType::f64);
  Tensor z = matrix(numbers(g, "logits"), N).requires_grad_();
  Tensor t = hard ? tensor(numbers(g, "labels"), DType::i64) : matrix(numbers(g, "soft"), N).requires_grad_();

  Tape tape;
  const Tensor loss = cross_entropy(z, t, o);
  check_near(loss.to_vector(), numbers(g, "loss"), 1e-14);
  BackwardPass pass(tape);
  pass.seed(loss, tensor(numbers(g, "upstream"), loss.shape(), DType::f64));
  pass.finish();
  check_near(z.grad().to_vector(), numbers(g, "gradient"), 1e-14);
  if (!hard) check_near(t.grad().to_vector(), numbers(g, "target_gradient"), 1e-13);
}

}  // namespace

TEST_SUITE("cross_entropy") {
  TEST_CASE("cross_entropy: definition, closed form and central differences agree") {
    check_losses(cross_entropy_losses());
  }

  TEST_CASE("values and gradients are those of PyTorch's formulas in 90 digits") {
    const std::vector<Golden> cases = golden_cases();
    CHECK(cases.size() == 17);
    for (const Golden& g : cases) {
      for (const Form form : {Form::closed, Form::definition}) check_golden(g, form);
    }
  }

  TEST_CASE("by hand: logits 0 and log 3 have p = 1/4 and 3/4") {
    const Tensor z = matrix({0, std::log(3.0)}, 1);
    CHECK(cross_entropy(z, labels({0})).item() == doctest::Approx(std::log(4.0)));
    check_near(gradient(z, labels({0})), {-0.75, 0.75}, 1e-15);
    // Smoothing 0.2: q = 0.9 and 0.1.
    CHECK(cross_entropy(z, labels({0}), {.label_smoothing = 0.2}).item() ==
          doctest::Approx(0.9 * std::log(4.0) + 0.1 * std::log(4.0 / 3)));
    check_near(gradient(z, labels({0}), {.label_smoothing = 0.2}), {-0.65, 0.65}, 1e-15);
    // Equal logits: log C, whatever the label.
    CHECK(cross_entropy(zeros({2, 10}, DType::f64), labels({3, 9})).item() == doctest::Approx(std::log(10.0)));
  }

  TEST_CASE("a shift of a row's logits changes nothing, a permutation of classes only permutes the gradient") {
    const Tensor z = distinct({3, 4}), t = labels({2, 0, 3}), shift = distinct({3, 1}, 2);
    check_near(gradient(z + 100 * shift, t), gradient(z, t), 1e-13);
    const Tensor swapped = cat({slice(z, 1, 2, 4), slice(z, 1, 0, 2)}, 1), moved = labels({0, 2, 1});
    CHECK(cross_entropy(swapped, moved).item() == doctest::Approx(cross_entropy(z, t).item()).epsilon(1e-14));
    const Values g = gradient(z, t), h = gradient(swapped, moved);
    for (const std::size_t r : {0, 1, 2}) CHECK(h[4 * r] == doctest::Approx(g[4 * r + 2]).epsilon(1e-13));
  }

  TEST_CASE("the gradient of each row sums to 0: hard, smoothed, weighted, soft") {
    const Tensor z = distinct({3, 4}), weight = tensor({0.5, 2, 1, 3}, DType::f64);
    const Tensor soft = softmax(distinct({3, 4}, 2)), hard = labels({2, 0, 3});
    for (const Tensor& t : {hard, soft}) {
      for (const double smoothing : {0.0, 0.3}) {
        const Values g = gradient(z, t, {.weight = weight, .label_smoothing = smoothing});
        for (const double s : sum(matrix(g, 3), {1}).to_vector()) CHECK(std::abs(s) < 1e-15);
      }
    }
  }

  TEST_CASE("mean divides by the weights of the labels that count, by N for soft targets") {
    const Tensor z = distinct({3, 2}), weight = tensor({1, 4}, DType::f64), t = labels({1, 0, -100});
    const double total = cross_entropy(z, t, {.weight = weight, .reduction = Reduction::sum}).item();
    CHECK(cross_entropy(z, t, {.weight = weight}).item() == doctest::Approx(total / 5).epsilon(1e-15));
    const Tensor soft = softmax(z);
    CHECK(3 * cross_entropy(z, soft, {.weight = weight}).item() ==
          doctest::Approx(cross_entropy(z, soft, {.weight = weight, .reduction = Reduction::sum}).item()));
  }

  TEST_CASE("weights are applied after smoothing, which moves the optimum: the numbers of pytorch#104776") {
    const Tensor weight = tensor({0.1, 0.9}, DType::f64), target = matrix({1, 0}, 1);
    const CrossEntropyOptions o{.weight = weight, .label_smoothing = 0.1};
    CHECK(10 * cross_entropy(matrix({0, 1}, 1), target, o).item() == doctest::Approx(1.38857).epsilon(1e-5));
    CHECK(10 * cross_entropy(matrix({0.5, 0.5}, 1), target, o).item() == doctest::Approx(0.97041).epsilon(1e-5));
    CHECK(10 * cross_entropy(matrix({1, 0}, 1), target, o).item() == doctest::Approx(0.88857).epsilon(1e-5));
  }

  TEST_CASE("all rows ignored, no rows at all, all weights 0: the loss is 0 and so is its gradient") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor z = distinct({2, 3}), none = labels({-100, -100});
      CHECK(cross_entropy(z, none, {.form = form}).item() == 0);
      CHECK(gradient(z, none, {.form = form}) == Values(6, 0));
      CHECK(cross_entropy(zeros({0, 3}), labels({}), {.form = form}).item() == 0);
      CHECK(cross_entropy(zeros({0, 3}), zeros({0, 3}), {.form = form}).item() == 0);
      const Tensor no_weight = zeros({3}, DType::f64);
      CHECK(gradient(z, labels({1, 2}), {.weight = no_weight, .form = form}) == Values(6, 0));
    }
  }

  TEST_CASE("one class: the loss is 0, for there is nothing to choose") {
    CHECK(cross_entropy(distinct({3, 1}), labels({0, 0, 0})).item() == 0);
    CHECK(gradient(distinct({3, 1}), labels({0, 0, 0})) == Values(3, 0));
  }

  TEST_CASE("NaN in an ignored row reaches neither the loss nor the gradient, elsewhere it reaches both") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor z = matrix({NaN, 1, inf, 0, 2, 1}, 2);
      const CrossEntropyOptions o{.ignore_index = 1, .form = form};
      CHECK(cross_entropy(z, labels({1, 2}), o).item() == doctest::Approx(1.40760596444438));
      const Values g = gradient(z, labels({1, 2}), o);
      CHECK(Values(g.begin(), g.begin() + 3) == Values(3, 0));
      CHECK(std::isnan(cross_entropy(z, labels({0, 2}), o).item()));
    }
  }

  TEST_CASE("a logit of -inf whose target is 0 costs nothing, the loss of an impossible label is infinite") {
    for (const Form form : {Form::closed, Form::definition}) {
      const CrossEntropyOptions o{.form = form};
      const Tensor z = matrix({0, -inf, 0}, 1), soft = matrix({0.5, 0, 0.5}, 1);
      CHECK(cross_entropy(z, labels({2}), o).item() == doctest::Approx(std::log(2.0)));
      CHECK(gradient(z, labels({2}), o) == Values{0.5, 0, -0.5});
      CHECK(cross_entropy(z, soft, o).item() == doctest::Approx(std::log(2.0)));
      check_near(gradient(z, soft, o), {0, 0, 0}, 1e-15);
      CHECK(cross_entropy(z, labels({1}), o).item() == inf);
      for (const double v : slopes(soft, [&](const Tensor& t) { return cross_entropy(z, t, o); })) {
        CHECK(std::isfinite(v));
      }
    }
  }

  TEST_CASE("f32 stays within 2e-5 of f64 at logits of +-1e4 and where p_t is 1 - 1e-20") {
    const Tensor z = matrix({1e4, -1e4, 0.5, -1e4, 1e4, 9990, 46, 0, -1, 0, 12, -3}, 4);
    const Tensor t = labels({1, 2, 0, 1});
    const CrossEntropyOptions rows{.reduction = Reduction::none};
    const Values wide = cross_entropy(z, t, rows).to_vector();
    const Values narrow = cross_entropy(z.to(DType::f32), t, rows).to_vector();
    for (std::size_t i = 0; i < wide.size(); ++i) CHECK(narrow[i] == doctest::Approx(wide[i]).epsilon(2e-5));
    CHECK(wide[2] > 1e-20);
    const Values g = gradient(z, t, rows), g32 = gradient(z.to(DType::f32), t, rows);
    for (std::size_t i = 0; i < g.size(); ++i) CHECK(std::abs(g32[i] - g[i]) <= 2e-5 * std::abs(g[i]) + 1e-37);
    CHECK(g32[6] < 0);  // p_t - 1 rounds to 0 if it is computed like that
  }

  TEST_CASE("labels may be i32, and class weights take no gradient") {
    const Tensor z = distinct({3, 4}), t = labels({2, 0, 3});
    CHECK(gradient(z, t.to(DType::i32)) == gradient(z, t));
    Tape tape;
    Tensor w = ones({4}, DType::f64).requires_grad_(), leaf = z.clone().requires_grad_();
    backward(cross_entropy(leaf, t, {.weight = w}));
    CHECK(!w.grad());
    CHECK(leaf.grad());
  }

  TEST_CASE("labels that were written between the forward and the backward pass are noticed") {
    const Tensor z = zeros({2, 3}).requires_grad_();
    Tensor t = labels({0, 1});
    Tape tape;
    const Tensor loss = cross_entropy(z, t);
    set_value(t, 0, 2);
    CHECK_THROWS_WITH_AS(backward(loss), doctest::Contains("written since"), Error);
  }

  TEST_CASE("cross_entropy: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), t = labels({0, 2});
    const auto f = [](const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o = {}) {
      return cross_entropy(logits, target, o);
    };
    CHECK_THROWS_WITH_AS(f(Tensor(), t), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(f(z, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(f(zeros({2, 3, 4}), t), doctest::Contains("needs logits [N,C] with C >= 1"), Error);
    CHECK_THROWS_WITH_AS(f(zeros({2, 0}), t), doctest::Contains("needs logits [N,C] with C >= 1"), Error);
    CHECK_THROWS_WITH_AS(f(z, labels({0})), doctest::Contains("one label for each row: logits f32 [2,3]"), Error);
    CHECK_THROWS_WITH_AS(f(z, labels({0, 3})), "[cross_entropy] label 3 at [1] of i64 [2] is outside 0..2", Error);
    CHECK_THROWS_WITH_AS(f(z, labels({0, -1})), doctest::Contains("label -1 at [1]"), Error);
    CHECK_THROWS_WITH_AS(f(z, tensor({0, 1}, DType::u8)), doctest::Contains("i32 or i64, got u8"), Error);
    CHECK_THROWS_WITH_AS(f(z, zeros({3, 2})), doctest::Contains("soft targets need the shape of the logits"), Error);
    CHECK_THROWS_WITH_AS(f(z, zeros({2, 3}, DType::f64)), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, {.weight = ones({2})}), doctest::Contains("a weight for each class, [3]"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, {.weight = ones({3}, DType::f64)}), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, {.label_smoothing = 1.5}), doctest::Contains("must lie in [0,1], got 1.5"), Error);
    CHECK_THROWS_WITH_AS(f(z, t, {.label_smoothing = NaN}), doctest::Contains("must lie in [0,1]"), Error);
    CHECK_THROWS_WITH_AS(f(labels({1, 2}).reshape({1, 2}), labels({0})), doctest::Contains("needs f32 or f64"), Error);
  }
}
