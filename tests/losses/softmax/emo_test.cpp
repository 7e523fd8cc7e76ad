// EMO: its forms, the two formulas of the source that are not the same, where its gradient points, where it vanishes.
#include "losses/softmax/emo.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/emo_cost.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/normalize.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Values logs(const Values& p) {
  Values z;
  for (const double v : p) z.push_back(v > 0 ? std::log(v) : -inf);
  return z;
}

// One row with the given costs.
double cost(const Values& z, const Values& c) { return expected_cost(matrix(z, 1), matrix(c, 1)).item(); }
Values cost_slope(const Values& z, const Values& c) {
  return slopes(matrix(z, 1), [&](const Tensor& x) { return expected_cost(x, matrix(c, 1)); });
}

// 1 - cos(mean unit embedding, e_t): the source's second form.
Tensor cosine_form(const Tensor& logits, const Tensor& emb, const Tensor& target) {
  const Tensor mean_unit = matmul(softmax(logits), l2_normalize(emb));  // [N,D]
  std::vector<Tensor> rows;
  for (Index r = 0; r < target.numel(); ++r) rows.push_back(emb[Index(value_at(target, r))]);
  return 1 - mean(cosine_similarity(mean_unit, stack(rows)));
}

Values ce_slope(const Values& z, Index t) {
  return slopes(matrix(z, 1), [&](const Tensor& x) { return cross_entropy(x, labels({t})); });
}

double largest(const Values& v) {
  double m = 0;
  for (const double x : v) m = std::max(m, std::abs(x));
  return m;
}

// Steps of size 1 along emo_part EMO + (1 - emo_part) CE, label 0, until the label has the greatest logit.
int steps_until_right(Values z, const Values& c, double emo_part) {
  for (int k = 0; k < 20000; ++k) {
    if (z[0] > z[1] && z[0] > z[2]) return k;
    const Values emo = emo_part > 0 ? cost_slope(z, c) : Values(3, 0),
                 ce = emo_part < 1 ? ce_slope(z, 0) : Values(3, 0);
    for (std::size_t j = 0; j < 3; ++j) z[j] -= emo_part * emo[j] + (1 - emo_part) * ce[j];
  }
  return -1;
}

const double root3 = std::sqrt(3.0);
// Unit vectors at +60, -60 and 0 degrees.
Tensor fan() { return matrix({.5, root3 / 2, .5, -root3 / 2, 1, 0}, 3); }

}  // namespace

TEST_SUITE("emo") {
  TEST_CASE("emo: definition, closed form and central differences agree") {
    check_losses(emo_losses());
    check_losses(emo_expected_cost_losses());
  }

  TEST_CASE("B051 the source's example: .6 * .2 + .3 * 0 + .1 * .8 = .20") {
    CHECK(cost(logs({.6, .3, .1}), {.2, 0, .8}) == doctest::Approx(.2).epsilon(1e-14));
  }

  TEST_CASE("A044 A046 B047 the sum of costs, 1 - sum of cosines and 1 - inner product are one number") {
    Rng rng(3);
    for (int k = 0; k < 20; ++k) {
      const Tensor z = randn({1, 6}, rng, DType::f64), e = randn({6, 4}, rng, DType::f64), p = softmax(z);
      const Tensor cosines = cosine_matrix(e, slice(e, 0, 2, 3)).reshape({1, 6}), unit = l2_normalize(e);
      const double L = emo(z, e, labels({2})).item();
      check_near(L, sum(p * (1 - cosines)).item(), 1e-14);
      check_near(L, 1 - sum(p * cosines).item(), 1e-14);
      check_near(L, 1 - sum(matmul(p, unit) * slice(unit, 0, 2, 3)).item(), 1e-14);
    }
  }

  TEST_CASE(
      "B048 C01 D01 A047 EMO is an inner product and not 1 - cos of the mean: .5 against 0 on three unit vectors") {
    const Tensor z = matrix({0, 0, -1000}, 1), t = labels({2});
    check_near(emo(z, fan(), t).item(), .5, 1e-12);
    CHECK(std::abs(cosine_form(z, fan(), t).item()) < 1e-12);  // no loss at all, though p_t = 0
    const Tensor axes = matrix({1, 0, 0, 1}, 2), even = zeros({1, 2}, DType::f64);
    check_near(emo(even, axes, labels({0})).item(), .5, 1e-12);
    check_near(cosine_form(even, axes, labels({0})).item(), 1 - std::sqrt(.5), 1e-12);
    Rng rng(5);
    double gap = 0;
    for (int k = 0; k < 100; ++k) {
      const Tensor logits = randn({1, 6}, rng, DType::f64), e = randn({6, 4}, rng, DType::f64);
      const double L = emo(logits, e, t).item(), wrong = cosine_form(logits, e, t).item();
      const double length = norm(matmul(softmax(logits), l2_normalize(e))).item();
      check_near(L, 1 - length * (1 - wrong), 1e-12);  // 1 - |mean| cos(mean, e_t)
      gap = std::max(gap, std::abs(L - wrong));
      const Values right = slopes(logits, [&](const Tensor& x) { return emo(x, e, t); });
      const Values other = slopes(logits, [&](const Tensor& x) { return cosine_form(x, e, t); });
      double apart = 0;
      for (std::size_t j = 0; j < 6; ++j) apart = std::max(apart, std::abs(right[j] - other[j]));
      CHECK(apart > 1e-3);
    }
    CHECK(gap > .49);
  }

  TEST_CASE("B049 D02 A048 the logit gradient is p_j (c_j - L) and sums to 0") {
    check_near(cost_slope(logs({.6, .3, .1}), {.2, 0, .8}), {0, -.06, .06}, 1e-14);
    Rng rng(7);
    const Tensor z = randn({4, 6}, rng, DType::f64), e = randn({6, 3}, rng, DType::f64), t = labels({5, 0, 2, 2});
    const EmoOptions each{.reduction = Reduction::none}, all{.reduction = Reduction::sum};
    const Values L = emo(z, e, t, each).to_vector(), p = softmax(z).to_vector();
    const Values g = slopes(z, [&](const Tensor& x) { return emo(x, e, t, all); });
    for (Index r = 0; r < 4; ++r) {
      const Tensor label = slice(e, 0, Index(value_at(t, r)), Index(value_at(t, r)) + 1);
      const Values c = (1 - cosine_matrix(label, e)).to_vector();
      double total = 0;
      for (Index j = 0; j < 6; ++j) {
        const std::size_t i = std::size_t(6 * r + j);
        check_near(g[i], p[i] * (c[std::size_t(j)] - L[std::size_t(r)]), 1e-14);
        total += g[i];
      }
      CHECK(std::abs(total) < 1e-15);
    }
  }

  TEST_CASE("B050 C02 classes cheaper than the loss are pulled up, not punished lightly") {
    const Values at_loss = cost_slope(logs({.6, .3, .1}), {.2, 0, .8});
    CHECK(std::abs(at_loss[0]) < 1e-15);  // the near class pays nothing: its cost is the loss
    check_near(cost_slope(logs({.2, .2, .6}), {.1, 0, .9}), {-.092, -.112, .204}, 1e-14);
    CHECK(ce_slope(logs({.2, .2, .6}), 1)[0] > 0);  // cross entropy pushes it down
  }

  TEST_CASE("C03 D02 a sure mistake has almost no gradient: the plateau, and cross entropy beside it") {
    const Values c = {0, 1, .5};
    const double wanted[] = {0.126, 9.8e-3, 6.8e-5, 3.1e-9};
    const double sure[] = {2, 5, 10, 20};
    for (int k = 0; k < 4; ++k) {
      const Values z = {0, sure[k], 0};
      CHECK(largest(cost_slope(z, c)) == doctest::Approx(wanted[k]).epsilon(0.02));
      CHECK(largest(ce_slope(z, 0)) > (k == 3 ? .99 : .893));
    }
    CHECK(largest(cost_slope({0, 20, 0}, c)) < 4e-9);
  }

  TEST_CASE("C03 from a sure mistake cross entropy needs 6 steps, EMO 9194, a mix 42") {
    const Values c = {0, 1, .5};
    CHECK(steps_until_right({0, 10, 0}, c, 0) == 6);
    CHECK(steps_until_right({0, 10, 0}, c, 1) == 9194);
    CHECK(steps_until_right({0, 10, 0}, c, .9) == 42);
  }

  TEST_CASE("B052 costs of 0 and 1 give 1 - p_t with gradient p_t (p - y)") {
    const Values z = {.3, -1, 2, .5, 0};
    const Values p = softmax(vec(z)).to_vector(), g = cost_slope(z, {1, 1, 0, 1, 1});
    check_near(cost(z, {1, 1, 0, 1, 1}), 1 - p[2], 1e-14);
    for (std::size_t j = 0; j < 5; ++j) check_near(g[j], p[2] * (p[j] - double(j == 2)), 1e-14);
    // Orthogonal embeddings are that case, and so is emo_topk without neighbours.
    const Tensor x = matrix(z, 1), e = distinct({5, 3});
    check_near(emo_topk(x, e, labels({2}), {.k = 0}).item(), 1 - p[2], 1e-14);
  }

  TEST_CASE("B053 C07 cross entropy does not see which wrong class has the rest, EMO does") {
    const Tensor dog = labels({1}), cat_likely = matrix(logs({.6, .3, .1}), 1),
                 bird_likely = matrix(logs({.1, .3, .6}), 1);
    check_near(cross_entropy(cat_likely, dog).item(), 1.20397, 1e-5);
    check_near(cross_entropy(bird_likely, dog).item(), 1.20397, 1e-5);
    check_near(cross_entropy(matrix(logs({.6, .01, .39}), 1), dog).item(), 4.60517,
               1e-5);  // another p_t, not a dearer class
    const Values c = {.2, 0, .8};
    CHECK(cost(logs({.1, .3, .6}), c) - cost(logs({.6, .3, .1}), c) == doctest::Approx(.3).epsilon(1e-13));
  }

  TEST_CASE("B054 one node, no one-hot and no table of all pairs: 30000 classes on 3 rows") {
    const Index C = 30000;  // C x C costs would fill 7 GB
    Rng rng(1);
    Tensor z = randn({3, C}, rng), e = randn({C, 2}, rng);
    Tape tape;
    z.requires_grad_();
    const Tensor L = emo(z, e, labels({0, 17, 29999}), {.reduction = Reduction::none});
    CHECK(L.numel() == 3);
    int ops = 0;
    for (const Node& node : tape.nodes()) ops += std::string(node.what) == "expected_cost";
    CHECK(ops == 1);
    CHECK(tape.nodes().size() <= 2);  // the leaf and the loss
  }

  TEST_CASE("A049 top-k keeps the costs of the k nearest, all of them from C - 1 on") {
    const Tensor z = distinct({3, 5}), t = labels({0, 4, 2});
    const Tensor e = matrix({1, 0, 1, .1, 1, .3, 0, 1, -1, .2}, 5);  // by angle: 0, 1, 2, 3, 4
    check_near(emo_topk(z, e, t, {.k = 4}).item(), emo(z, e, t).item(), 1e-15);
    check_near(emo_topk(z, e, t, {.k = 99}).item(), emo(z, e, t).item(), 1e-15);
    const Values p = softmax(z[0]).to_vector(), cosine = cosine_matrix(slice(e, 0, 0, 1), e).to_vector();
    const EmoTopkOptions two{.k = 2, .reduction = Reduction::none};
    const double L = 1 - p[0] - p[1] * cosine[1] - p[2] * cosine[2];
    check_near(emo_topk(z, e, t, two).to_vector()[0], L, 1e-14);
    // Equal cosines: the lower index is kept.
    const Tensor twins = matrix({1, 0, 1, 1, 1, 1, 1, 1}, 4), x = distinct({1, 4});
    const Values q = softmax(x).to_vector();
    check_near(emo_topk(x, twins, labels({0}), {.k = 1}).item(), 1 - q[0] - q[1] * std::sqrt(.5), 1e-14);
  }

  TEST_CASE("A049 the k nearest among many that tie, NaN being the farthest") {
    Rng rng(11);
    for (const Index C : {1, 2, 40, 700}) {
      const Index N = 5;
      const Tensor t = randint(C, {N}, rng);
      Tensor cosines = (randint(9, {N, C}, rng).to(DType::f64) - 4) / 4;
      set_value(cosines, C / 2, NaN);
      set_value(cosines, C / 3, -0.0);
      const Values s = cosines.to_vector();
      for (const DType type : {DType::f32, DType::f64}) {
        for (const Index k : {0, 1, 7, 39, 400}) {
          const Values near = nearest_to_labels(cosines.to(type), t, k).to_vector();
          for (Index r = 0; r < N; ++r) {
            const Index label = Index(value_at(t, r));
            const auto cosine = [&](Index j) {
              return std::isnan(s[std::size_t(r * C + j)]) ? -2 : s[std::size_t(r * C + j)];
            };
            Index wrong = 0;
            for (Index j = 0; j < C; ++j) {
              Index nearer = 0;
              for (Index i = 0; i < C; ++i) {
                nearer += i != label && (cosine(i) > cosine(j) || (cosine(i) == cosine(j) && i < j));
              }
              wrong += (near[std::size_t(r * C + j)] != 0) != (j == label || nearer < k);
            }
            CHECK(wrong == 0);
          }
        }
      }
    }
  }

  TEST_CASE("A049 live embeddings move: those of likely classes turn towards the label, and it towards them") {
    const Tensor z = matrix({2, 0, -3}, 1), e = fan(), t = labels({2});
    const auto f = [&](const Tensor& x) { return emo_dynamic(z, x, t); };
    const Values g = slopes(e, f);
    CHECK(g[2 * 0 + 1] > 0);  // class 0 at +60 degrees: a step down turns it towards 0 degrees
    CHECK(g[2 * 1 + 1] < 0);
    CHECK(g[2 * 2 + 1] < 0);  // the label turns up to the likelier class 0
    for (Index i = 0; i < 3; ++i) check_near(dot(matrix(g, 3)[i], e[i]).item(), 0, 1e-15);  // lengths do not count
    CHECK(f(e).item() == emo(z, e, t).item());
    CHECK(slopes(e, [&](const Tensor& x) { return emo(z, x, t) + 0 * sum(x); }) == Values(6, 0));
  }

  TEST_CASE("emo_soft with one-hot targets is emo, and at p = q it is not 0") {
    const Tensor z = distinct({3, 4}), e = distinct({4, 2}, 2), t = labels({1, 3, 0});
    const Tensor hot = matrix({0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0}, 3);
    check_near(emo_soft(z, e, hot).item(), emo(z, e, t).item(), 1e-14);
    const Tensor q = softmax(z);
    CHECK(emo_soft(z, e, q).item() > .01);
    const Values by_target =
        slopes(q, [&](const Tensor& x) { return emo_soft(z, e, x, {.reduction = Reduction::sum}); });
    const Values c = matmul(q, 1 - cosine_matrix(e, e)).to_vector();
    check_near(by_target, c, 1e-14);
  }

  TEST_CASE("an embedding of 0 has cosine 0: as a label it makes every cost 1, and no gradient is NaN") {
    const Tensor e = matrix({1, 0, 0, 0, 0, 2}, 3), z = distinct({2, 3});
    for (const Form form : {Form::closed, Form::definition}) {
      const EmoOptions o{.reduction = Reduction::none, .form = form};
      check_near(emo(z, e, labels({1, 0}), o).to_vector(), {1, 1 - value_at(softmax(z), 3)}, 1e-15);
    }
    const Values g = slopes(e, [&](const Tensor& x) { return emo_dynamic(z, x, labels({1, 0})); });
    CHECK(g[2] == 0);
    CHECK(g[3] == 0);
    for (const double v : g) CHECK(std::isfinite(v));
  }

  TEST_CASE("the length of an embedding and a shift of the logits do not count, ignored rows count nowhere") {
    const Tensor z = distinct({2, 4}), e = distinct({4, 3}, 2), t = labels({3, 1});
    const Tensor scale = matrix({1e-3, 5, 2, 1e4}, 4);
    check_near(emo(z, e * scale, t).item(), emo(z, e, t).item(), 1e-14);
    check_near(emo(z + 700, e, t).item(), emo(z, e, t).item(), 1e-12);
    for (const Form form : {Form::closed, Form::definition}) {
      const EmoOptions o{.form = form};
      const Tensor holes = matrix({NaN, 1, inf, 0, .1, .2, .3, .4}, 2), one = labels({-100, 1});
      check_near(emo(holes, e, one, o).item(), emo(slice(holes, 0, 1, 2), e, labels({1})).item(), 1e-15);
      const Values g = slopes(holes, [&](const Tensor& x) { return emo(x, e, one, o); });
      CHECK(Values(g.begin(), g.begin() + 4) == Values(4, 0));
      CHECK(emo(z, e, labels({-100, -100}), o).item() == 0);
      CHECK(slopes(z, [&](const Tensor& x) { return emo(x, e, labels({-100, -100}), o); }) == Values(8, 0));
    }
  }

  TEST_CASE("f32 keeps a loss of 1e-20: the cost of the label is exactly 0") {
    const Tensor z = matrix({46, 0, -1}, 1), e = fan();
    const double wide = emo(z, e, labels({0})).item();
    CHECK(wide > 1e-21);
    CHECK(emo(z.to(DType::f32), e.to(DType::f32), labels({0})).item() == doctest::Approx(wide).epsilon(2e-5));
  }

  TEST_CASE("emo: what does not fit is an error that names it") {
    const Tensor z = zeros({2, 3}), e = zeros({3, 4}), t = labels({0, 2});
    CHECK_THROWS_WITH_AS(emo(z, Tensor(), t), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(emo(zeros({3}), e, t), doctest::Contains("needs logits [N,C]"), Error);
    CHECK_THROWS_WITH_AS(emo(z, zeros({4, 3}), t), doctest::Contains("an embedding for each class"), Error);
    CHECK_THROWS_WITH_AS(emo(z, e.to(DType::f64), t), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(emo(z, e, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(emo_dynamic(z, e, labels({0, 3})), doctest::Contains("label 3 at [1]"), Error);
    CHECK_THROWS_WITH_AS(emo_topk(z, e, t, {.k = -1}), doctest::Contains("k must be 0 or more"), Error);
    CHECK_THROWS_WITH_AS(emo_soft(z, e, zeros({3, 2})), doctest::Contains("need the shape of the logits"), Error);
    CHECK_THROWS_WITH_AS(expected_cost(z, zeros({2})), doctest::Contains("costs need the shape"), Error);
  }
}
