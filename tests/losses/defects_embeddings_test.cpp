// Defects of other libraries over embeddings, structures, transport and tasks: each is tried here, by the peer's name and
// the number of its issue. Classes are in defects_test.cpp beside it.
#include <doctest/doctest.h>

#include "losses/combine/schedule.h"
#include "ops/reduce.h"
#include "tests/support/called.h"

using namespace gradus;

namespace {

Tensor f64(const Values& v, const Shape& shape) { return tensor(v, shape, DType::f64); }

Called finite(const std::string& loss, const Inputs& inputs, const Options& options = {}) {
  const Called wide = called(loss, inputs, options), narrow = called(loss, inputs, options, {}, DType::f32);
  CHECK_MESSAGE(all_finite(wide), loss);
  CHECK_MESSAGE(all_finite(narrow), loss);
  CHECK_MESSAGE(gap(narrow, wide) <= 2e-5, loss);
  return wide;
}

Values repeated(double v, std::size_t n) { return Values(n, v); }

}  // namespace

TEST_SUITE("defects") {
  TEST_CASE("sentence-transformers 3368 3984: CoSENT pushes the score of the greater label up") {
    const Called c = called("cosent", {{"scores", vec({0.2, 0.6})}, {"labels", vec({1, 0})}}, {{"scale", 20.0}});
    CHECK(c.item() == doctest::Approx(std::log1p(std::exp(20 * 0.4))));
    CHECK(c.gradients.at("scores")[0] < 0);
    CHECK(c.gradients.at("scores")[1] > 0);
  }

  TEST_CASE("bert4torch, AnglE: a zero vector in CoSENT and AnglE gives no 0 / 0") {
    const Tensor u = f64({0, 0, 1, 2}, {2, 2}), v = f64({1, 1, -1, 1}, {2, 2}), zero = zeros({2, 2}, DType::f64);
    const Tensor y = vec({1, 0});
    for (const char* loss : {"cosent_embeddings", "angle", "hybrid"}) {
      for (const Tensor& w : {v, zero}) {
        const Called c = finite(loss, {{"u", u}, {"v", w}, {"labels", y}});
        CHECK(c.gradients.at("u")[0] == 0);
        CHECK(c.gradients.at("u")[1] == 0);
      }
    }
  }

  TEST_CASE("sentence-transformers 4030: CoSENT of 20000 scores needs no matrix of pairs") {
    Rng rng(1);
    const Tensor s = randn({20000}, rng, DType::f64), y = randint(5, {20000}, rng).to(DType::f64);
    CHECK(all_finite(called("cosent", {{"scores", s}, {"labels", y}})));
  }

  TEST_CASE("sentence-transformers 3189 2756: rows of one id are no negatives of each other") {
    const Tensor q = f64({1, 0, 1, 0}, {2, 2});
    CHECK(costs_nothing(called("info_nce", {{"q", q}, {"k", q}, {"ids", labels({7, 7})}})));
    CHECK(called("info_nce", {{"q", q}, {"k", q}}).item() == doctest::Approx(std::log(2)));
  }

  TEST_CASE("pytorch-metric-learning: NT-Xent and InfoNCE of 1e3 are 1e3 in f32, with their full gradient") {
    const Tensor q = f64({1, 0, 0, 1}, {2, 2}), k = f64({0, 1, 1, 0}, {2, 2});  // each is the other's key
    const Called c = finite("info_nce", {{"q", q}, {"k", k}}, {{"temperature", 1e-3}});
    CHECK(c.item() == doctest::Approx(1e3));  // log(num / den + tiny) stops at 87.3
    check_near(c.gradients.at("q"), {0, -500, -500, 0}, 1e-9);
    CHECK(finite("nt_xent", {{"z1", q}, {"z2", k}}, {{"temperature", 1e-3}}).item() == doctest::Approx(1e3));
  }

  TEST_CASE("optax: NT-Xent without negatives is 0 with gradient 0") {
    CHECK(costs_nothing(finite("nt_xent", {{"z1", f64({1, 2}, {1, 2})}, {"z2", f64({2, 0}, {1, 2})}})));
  }

  TEST_CASE("SupContrast 141: an anchor without positives is left out") {
    const Tensor x = f64({1, 0, 0.9, 0.1, 0, 1}, {3, 2});
    const Called c = finite("supcon", {{"embeddings", x}, {"labels", labels({0, 0, 1})}});
    CHECK(c.item() > 0);
    CHECK(costs_nothing(finite("supcon", {{"embeddings", x}, {"labels", labels({0, 1, 2})}})));
  }

  TEST_CASE("metric-learning 203 547: 512 rows, 256 of one class, in a moment") {
    Rng rng(1);
    Tensor y = zeros({512}, DType::i64);
    for (Index i = 0; i < 256; ++i) set_value(y, i, double(i + 1));
    const Tensor x = randn({512, 4}, rng, DType::f64);
    CHECK(all_finite(called("supcon", {{"embeddings", x}, {"labels", y}})));
  }

  TEST_CASE("metric-learning 688, ST: batch-all triplets of 500 rows need no list of triplets") {
    Rng rng(1);
    const Tensor x = randn({500, 2}, rng, DType::f32), y = randint(2, {500}, rng);
    CHECK(all_finite(called("triplet_batch_all", {{"embeddings", x}, {"labels", y}}, {}, {}, DType::f32)));
  }

  TEST_CASE("metric-learning 107, addons 2447: no active triplet costs 0, not NaN") {
    const Tensor x = f64({0, 0, 0.1, 0, 9, 9, 9, 9.1}, {4, 2});
    for (const char* over : {"active", "valid"}) {
      for (const char* loss : {"triplet_batch_all", "triplet_batch_hard", "triplet_semi_hard"}) {
        CHECK(costs_nothing(
            finite(loss, {{"embeddings", x}, {"labels", labels({0, 0, 1, 1})}}, {{"margin", 1.0}, {"over", over}})));
      }
    }
  }

  TEST_CASE("sentence-transformers 4033, pytorch 37154, siamese-triplet 18: distance 0 has gradient 0, not NaN") {
    const Tensor a = f64({1, 2, 0, 0}, {2, 2});
    for (const char* loss : {"triplet", "triplet_cosine"}) {
      finite(loss, {{"anchor", a}, {"positive", a}, {"negative", 3.0 * a + 1.0}});
      finite(loss, {{"anchor", a}, {"positive", a}, {"negative", a}});
    }
    finite("triplet_mahalanobis", {{"anchor", a}, {"positive", a}, {"negative", a}, {"L", f64({1, 0, 0, 1}, {2, 2})}});
    CHECK(all_zero(finite("contrastive", {{"x1", a}, {"x2", a}, {"y", vec({0, 1})}}).gradients.at("x1")));
  }

  TEST_CASE("keras Circle: the weights are detached, as in the paper") {
    const double g = 4, m = 0.25, sp = 0.3, sn = 0.2;
    const Called c = called("circle", {{"sp", vec({sp})}, {"sn", vec({sn})}}, {{"gamma", g}, {"m", m}});
    const double v = g * (sn + m) * (sn - m) - g * (1 + m - sp) * (sp - (1 - m)), s = 1 / (1 + std::exp(-v));
    CHECK(c.item() == doctest::Approx(std::log1p(std::exp(v))));
    CHECK(c.gradients.at("sn")[0] == doctest::Approx(s * g * (sn + m)));
    CHECK(c.gradients.at("sp")[0] == doctest::Approx(-s * g * (1 + m - sp)));
  }

  TEST_CASE("bert4torch: scores outside the area of spans add nothing, whatever they are") {
    Rng rng(5);
    const Tensor clean = randn({1, 2, 3, 3}, rng, DType::f64), y = zeros({1, 2, 3, 3}, DType::f64);
    Tensor dirty = clean.clone();
    for (Index h = 0; h < 2; ++h) {
      set_value(dirty, h * 9 + 3, 1e30);   // (1,0): below the diagonal
      set_value(dirty, h * 9 + 8, -1e30);  // (2,2): padding
    }
    for (const char* loss : {"span_multilabel_ce", "span_hard_negatives", "bce_global_pointer"}) {
      const Inputs a = {{"scores", clean}, {"labels", y}, {"mask", f64({1, 1, 0}, {1, 3})}};
      Inputs b = a;
      b["scores"] = dirty;
      CHECK_MESSAGE(gap(called(loss, b, {{"triangle", true}}), called(loss, a, {{"triangle", true}})) == 0, loss);
    }
  }

  TEST_CASE("bert4keras: the span (0,0) is a span like any other") {
    Tensor y = zeros({1, 1, 2, 2}, DType::f64);
    set_value(y, 0, 1);
    const Called c = called("span_multilabel_ce", {{"scores", f64({3, -3, -3, -3}, {1, 1, 2, 2})}, {"labels", y}});
    CHECK(c.item() == doctest::Approx(std::log1p(std::exp(-3.0)) + std::log1p(2 * std::exp(-3.0))));
    CHECK(c.gradients.at("scores")[0] < 0);
  }

  TEST_CASE("pytorch-crf 81 122: the loss is never negative, and masks may have holes") {
    Rng rng(7);
    const Tensor e = randn({1, 3, 2}, rng, DType::f64), A = randn({2, 2}, rng, DType::f64), edge = vec({0.1, -0.2});
    const Called c = finite("crf", {{"emissions", e},
                                    {"tags", labels({0, 1, 1}).reshape({1, 3})},
                                    {"transitions", A},
                                    {"start", edge},
                                    {"end", edge},
                                    {"mask", f64({1, 0, 1}, {1, 3})}});
    CHECK(c.item() >= 0);
    CHECK(c.gradients.at("emissions")[2] == 0);
  }

  TEST_CASE("a CRF in f32 keeps a small loss beside scores of 1e4") {
    for (const double k : {1e4, -1e4}) {
      finite("crf", {{"emissions", f64({k, k - 1, 0.5, 0}, {1, 2, 2})},
                     {"tags", labels({0, 1}).reshape({1, 2})},
                     {"transitions", f64({k, k + 0.25, k - 1, k}, {2, 2})},
                     {"start", vec({k, k + 0.5})},
                     {"end", vec({k + 1, k})}});
    }
  }

  TEST_CASE("POT 54 311, OTT 6: Sinkhorn at epsilon 1e-3 underflows nowhere, in f32 too") {
    const Tensor a = vec({0.5, 0.25, 0.25}), b = vec({0.5, 0.5}), cost = f64({0, 1, 1, 0.25, 0.5, 0.75}, {3, 2});
    const Options sharp = {{"epsilon", 1e-3}, {"iterations", 200}};
    for (const char* loss : {"sinkhorn", "sinkhorn_plan", "sinkhorn_regularised"}) {
      finite(loss, {{"a", a}, {"b", b}, {"cost", cost}}, sharp);
    }
    double mass = 0;
    for (const double p : called("sinkhorn_plan", {{"a", a}, {"b", b}, {"cost", cost}}, sharp).value) mass += p;
    CHECK(mass == doctest::Approx(1));
  }

  TEST_CASE("mlpack EarthMoverDistance: transport is the cheapest plan, not minus a product") {
    const Called c = called("emd", {{"a", vec({1, 0})}, {"b", vec({0, 1})}, {"cost", f64({0, 3, 3, 0}, {2, 2})}});
    CHECK(c.item() == doctest::Approx(3));
    CHECK(c.gradients.at("cost") == Values{0, 1, 0, 0});
  }

  TEST_CASE(
      "multi-task-learning-example 6, FairMOT 249: learned weights fall below 0 as they should, and stay finite") {
    const Called c = finite("uncertainty_logvar", {{"losses", vec({0.1})}, {"log_vars", vec({std::log(0.1)})}});
    CHECK(c.item() == doctest::Approx(1 + std::log(0.1)));  // the minimum over s
    check_near(c.gradients.at("log_vars"), {0}, 1e-15);
    finite("uncertainty_logvar", {{"losses", vec({0})}, {"log_vars", vec({-20})}});
  }

  TEST_CASE("LibMTL GLS: 16 losses of 1e-3 have the geometric mean 1e-3, and a loss of 0 gives no NaN") {
    const Called c = finite("generalised_mean", {{"losses", vec(repeated(1e-3, 16))}}, {{"gamma", 0.0}});
    CHECK(c.item() == doctest::Approx(1e-3));
    check_near(c.gradients.at("losses"), repeated(1. / 16, 16), 1e-12);
    CHECK(called("generalised_mean", {{"losses", vec({0, 1, 2})}}, {{"gamma", 0.0}}).item() == 0);
    CHECK(all_finite(called("generalised_mean", {{"losses", vec({0, 1, 2})}}, {{"gamma", 0.0}})));
  }

  TEST_CASE("LibMTL GradNorm: a first loss of 0 is an error that names it, not a division by 0") {
    CHECK_THROWS_WITH_AS(called("gradnorm", {{"weights", vec({1, 1})},
                                             {"grad_norms", vec({1, 2})},
                                             {"losses", vec({1, 2})},
                                             {"init_losses", vec({0, 1})}}),
                         doctest::Contains("init_losses must be > 0"), Error);
  }

  TEST_CASE("LibMTL: tasks without a gradient, or with opposite ones, give finite directions") {
    for (const char* loss : {"grad_norm_direction", "pcgrad", "mgda"}) {
      for (const Values& g : {Values{0, 0, 0, 0}, Values{1, 2, 0, 0}, Values{1, 2, -1, -2}, Values{1, 2, 1, 2}}) {
        finite(loss, {{"task_grads", f64(g, {2, 2})}});
      }
    }
  }

  TEST_CASE("LibMTL DWA: an earlier loss of 0 gives finite weights") {
    CHECK(all_finite(dynamic_weight_average({1, 2}, {0, 1})));
  }

  TEST_CASE("cleanlab, Co-teaching 9, coteaching_plus 1: a mean over the rows kept is divided once") {
    Rng rng(2);
    const Tensor z = randn({6, 3}, rng, DType::f64), y = randint(3, {6}, rng);
    const double both = called("co_teaching", {{"logits1", z}, {"logits2", z}, {"target", y}}, {{"keep", 1.0}}).item();
    CHECK(both == doctest::Approx(2 * called("cross_entropy", {{"logits", z}, {"target", y}}).item()));
  }

  TEST_CASE("JoCoR: the agreement of two sure networks is finite, in log space") {
    finite("jocor", {{"logits1", f64({1e4, 0}, {1, 2})}, {"logits2", f64({0, 1e4}, {1, 2})}, {"target", labels({0})}});
  }

  TEST_CASE("pytorch 31829 49724: the gradient of a log-sum-exp with -inf in it, or of nothing but -inf, is finite") {
    for (const Values& row : {Values{-inf, 1}, Values{-inf, -inf}}) {
      CHECK(all_finite(slopes(matrix(row, 1), [](const Tensor& x) { return logsumexp(x, 1); })));
    }
  }
}
