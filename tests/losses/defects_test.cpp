// Defects of other libraries that their users reported or that their sources show, over classes: each is tried here, by
// the peer's name and the number of its issue. Embeddings, structures and tasks are in defects_*_test.cpp beside it.
#include <doctest/doctest.h>

#include "losses/softmax/class_balanced.h"
#include "tests/support/called.h"

using namespace gradus;

namespace {

const double ln11 = std::log(11.0);

Tensor f64(const Values& v, const Shape& shape) { return tensor(v, shape, DType::f64); }

// Value and gradients finite in f64 and f32, and the two near each other.
Called finite(const std::string& loss, const Inputs& inputs, const Options& options = {}) {
  const Called wide = called(loss, inputs, options), narrow = called(loss, inputs, options, {}, DType::f32);
  CHECK_MESSAGE(all_finite(wide), loss);
  CHECK_MESSAGE(all_finite(narrow), loss);
  CHECK_MESSAGE(gap(narrow, wide) <= 2e-5, loss);
  return wide;
}

// Sparse multi-label cross entropy of one right class at s and ten wrong ones at 0.
Called one_of_eleven(double s, DType dtype) {
  Values scores(11, 0.0);
  scores[3] = s;
  return called("multilabel_ce_sparse", {{"scores", f64(scores, {1, 11})}, {"labels", labels({3}).reshape({1, 1})}}, {},
                {}, dtype);
}

}  // namespace

TEST_SUITE("defects") {
  TEST_CASE("pytorch 70348 75181 116349: a batch whose labels are all ignored costs 0, not NaN") {
    const Inputs inputs = {{"logits", f64({1, -2, 0.5, 3, 0, 1}, {2, 3})}, {"target", labels({-100, -100})}};
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "gce", "poly1"}) {
      CHECK_MESSAGE(costs_nothing(finite(loss, inputs)), loss);
    }
    CHECK(costs_nothing(finite("nll", {{"log_probs", f64({-1, -1}, {1, 2})}, {"target", labels({-100})}})));
  }

  TEST_CASE("pytorch 11551: a row that is ignored may hold NaN or -inf") {
    const Tensor clean = f64({0, 0, 0, 1, -2, 0.5}, {2, 3}), dirty = f64({NaN, -inf, inf, 1, -2, 0.5}, {2, 3});
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "gce", "poly1"}) {
      const Tensor y = labels({-100, 1});
      CHECK(gap(called(loss, {{"logits", dirty}, {"target", y}}), called(loss, {{"logits", clean}, {"target", y}})) ==
            0);
    }
  }

  TEST_CASE("pytorch, optax 896: a class of logit -inf and soft target 0 costs nothing") {
    const Tensor z = f64({1, -inf, 2}, {1, 3}), t = f64({0.25, 0, 0.75}, {1, 3}), short_z = f64({1, 2}, {1, 2}),
                 short_t = f64({0.25, 0.75}, {1, 2});
    for (const char* loss : {"soft_cross_entropy", "kl_div", "js_div", "tv", "hellinger", "gamma_ce_soft"}) {
      const Called c = finite(loss, {{"logits", z}, {"target_probs", t}});
      CHECK(c.item() == doctest::Approx(called(loss, {{"logits", short_z}, {"target_probs", short_t}}).item()));
      CHECK(c.gradients.at("logits")[1] == 0);
    }
    const Inputs hard = {{"logits", z}, {"target", labels({2})}};
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "gce", "poly1", "brier"}) {
      CHECK(finite(loss, hard).gradients.at("logits")[1] == 0);
    }
    CHECK(all_finite(called("entropy", {{"logits", z}})));
  }

  TEST_CASE("pytorch: smoothing spread over a class of probability 0 is truly infinite, and never NaN") {
    const Inputs inputs = {{"logits", f64({1, -inf, 2}, {1, 3})}, {"target", labels({2})}};
    CHECK(called("cross_entropy", inputs, {{"label_smoothing", 0.1}}).item() == inf);
  }

  TEST_CASE("optax 1786: KL against a logit of -inf with target 0 is finite, and so are its gradients") {
    const Called c =
        finite("kl_div", {{"logits", f64({0, -inf, 0}, {1, 3})}, {"target_probs", f64({1, 0, 0}, {1, 3})}});
    CHECK(c.item() == doctest::Approx(std::log(2)));
    finite("kl_div_logits", {{"logits", f64({0, 1}, {1, 2})}, {"target_logits", f64({0, -inf}, {1, 2})}});
  }

  TEST_CASE("pytorch 89558: the gradient of KL to a target of 0 is finite") {
    const Called c = finite("kl_div", {{"logits", f64({0, 1}, {1, 2})}, {"target_probs", f64({0, 1}, {1, 2})}});
    CHECK(c.gradients.at("target_probs")[0] == 0);
  }

  TEST_CASE("pytorch: the mean of KL divides by rows, not by numbers") {
    const Tensor z = f64({0, 1, 2, 3, 0, 1}, {2, 3}), t = f64({1, 0, 0, 0, 0, 1}, {2, 3});
    const Called rows = called("kl_div", {{"logits", z}, {"target_probs", t}}, {{"reduction", "none"}});
    CHECK(called("kl_div", {{"logits", z}, {"target_probs", t}}).item() ==
          doctest::Approx((rows.value[0] + rows.value[1]) / 2));
  }

  TEST_CASE("keras: KL and focal loss still pull where a probability is below 1e-7") {
    const Tensor z = f64({60, 0}, {1, 2});
    const Called kl = finite("kl_div", {{"logits", z}, {"target_probs", f64({0, 1}, {1, 2})}}),
                 focal = finite("focal", {{"logits", z}, {"target", labels({1})}});
    CHECK(kl.gradients.at("logits")[1] == doctest::Approx(-1));
    CHECK(focal.gradients.at("logits")[1] == doctest::Approx(-1));
    CHECK(focal.item() == doctest::Approx(60));
  }

  TEST_CASE("pytorch 25571: a weighted mean divides by the weights of the labels") {
    const Tensor z = f64({1, 0, 0, 2}, {2, 2});
    const Inputs inputs = {{"logits", z}, {"target", labels({0, 1})}, {"weight", vec({3, 1})}};
    const double a = std::log1p(std::exp(-1.0)), b = std::log1p(std::exp(-2.0));
    CHECK(called("cross_entropy", inputs).item() == doctest::Approx((3 * a + b) / 4));
  }

  TEST_CASE("pytorch 104776 69339 72056, tinygrad 3570 3574: weights, smoothing and ignored rows go together") {
    const Tensor z = f64({1, 0, -1, 0.5, 2, 0, 9, 9, 9}, {3, 3});
    const Inputs inputs = {{"logits", z}, {"target", labels({0, 1, -100})}, {"weight", vec({1, 2, 4})}};
    double wanted = 0;
    for (int r = 0; r < 2; ++r) {
      double lse = 0;
      for (int c = 0; c < 3; ++c) lse += std::exp(value_at(z, 3 * r + c));
      const Values w = {1, 2, 4};
      for (int c = 0; c < 3; ++c) {
        const double share = (c == r ? 0.7 : 0) + 0.1;
        wanted += w[std::size_t(c)] * share * (std::log(lse) - value_at(z, 3 * r + c));
      }
    }
    CHECK(called("cross_entropy", inputs, {{"label_smoothing", 0.3}}).item() == doctest::Approx(wanted / 3));
  }

  TEST_CASE("bert4torch: label smoothing does not count rows that are ignored") {
    const Tensor z = f64({1, 0, -1, 0.5, 2, 0}, {2, 3});
    const Options smooth = {{"label_smoothing", 0.1}};
    for (const char* loss : {"cross_entropy", "gamma_ce"}) {
      CHECK(called(loss, {{"logits", z}, {"target", labels({2, -100})}}, smooth).item() ==
            doctest::Approx(called(loss, {{"logits", z.rows(0, 1)}, {"target", labels({2})}}, smooth).item()));
    }
  }

  TEST_CASE("segmentation_models 852: a masked mean divides by what is left") {
    Rng rng(3);
    const Tensor z = randn({4, 3}, rng, DType::f64), pair = z.rows(0, 2);
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "gce", "poly1"}) {
      CHECK(called(loss, {{"logits", z}, {"target", labels({0, 2, -100, -100})}}).item() ==
            doctest::Approx(called(loss, {{"logits", pair}, {"target", labels({0, 2})}}).item()));
    }
    const Called mlm =
        called("mlm", {{"logits", z.reshape({2, 2, 3})}, {"labels", labels({0, 2, -100, -100}).reshape({2, 2})}});
    CHECK(mlm.item() ==
          doctest::Approx(called("cross_entropy", {{"logits", pair}, {"target", labels({0, 2})}}).item()));
  }

  TEST_CASE("dlib, mlpack: a loss does not stop at log 1e-10 or log of an epsilon") {
    CHECK(finite("cross_entropy", {{"logits", f64({1e4, 0}, {1, 2})}, {"target", labels({1})}}).item() == 1e4);
    CHECK(finite("bce_probs", {{"p", vec({1e-37})}, {"targets", vec({1})}}).item() ==
          doctest::Approx(-std::log(1e-37)));
  }

  TEST_CASE(
      "flashlight, pytorch: binary cross entropy of logits of 1e4 is exact, and that of probabilities is not clamped") {
    const Called c = finite("bce_with_logits", {{"logits", vec({-1e4, 1e4, 1e4})}, {"targets", vec({1, 0, 1})}},
                            {{"reduction", "none"}});
    CHECK(c.value == Values{1e4, 1e4, 0});
    CHECK(c.gradients.at("logits") == Values{-1, 1, 0});
    CHECK(called("bce_probs", {{"p", vec({1e-200})}, {"targets", vec({1})}}).item() ==
          doctest::Approx(200 * std::log(10)));
  }

  TEST_CASE("bce: a logit of +-inf on its own side costs 0 with gradient 0") {
    const Called c = called("bce_with_logits", {{"logits", vec({inf, -inf})}, {"targets", vec({1, 0})}});
    CHECK(all_zero(c.value));
    CHECK(all_zero(c.gradients.at("logits")));
  }

  TEST_CASE("ggml: 0 times -inf is 0, and soft labels need not sum to 1") {
    const Called c =
        called("soft_cross_entropy", {{"logits", f64({0, 0}, {1, 2})}, {"target_probs", f64({1, 2}, {1, 2})}});
    CHECK(c.item() == doctest::Approx(3 * std::log(2)));
    check_near(c.gradients.at("logits"), {0.5, -0.5}, 1e-15);
  }

  TEST_CASE("CCE 14: gradients of improbable classes are not dropped") {
    const Called c = called("cross_entropy", {{"logits", f64({0, -28, -60}, {1, 3})}, {"target", labels({0})}});
    CHECK(c.gradients.at("logits")[1] == doctest::Approx(std::exp(-28.0)).epsilon(1e-9));
    CHECK(c.gradients.at("logits")[2] == doctest::Approx(std::exp(-60.0)).epsilon(1e-9));
  }

  TEST_CASE("optax 1267 1346, kornia 918, sam3 484 576: the focal gradient is finite at saturation for every gamma") {
    for (const double gamma : {0.0, 0.3, 0.5, 1.0, 2.0}) {
      for (const double z : {20.0, 88.0, 1e4, -20.0, -1e4}) {
        finite("focal_sigmoid", {{"logits", vec({z, z})}, {"targets", vec({0, 1})}}, {{"gamma", gamma}});
        finite("focal", {{"logits", f64({z, 0, z, 0}, {2, 2})}, {"target", labels({0, 1})}}, {{"gamma", gamma}});
      }
    }
  }

  TEST_CASE("torchvision: 1 - p_t is not lost for p_t near 1") {
    const Called c = called("focal", {{"logits", f64({50, 0}, {1, 2})}, {"target", labels({0})}}, {}, {}, DType::f32);
    CHECK(c.item() == doctest::Approx(std::exp(-150.0)).epsilon(1e-4));
    const Called s = called("focal_sigmoid", {{"logits", vec({25})}, {"targets", vec({1})}}, {}, {}, DType::f32);
    CHECK(s.item() == doctest::Approx(0.25 * std::exp(-75.0)).epsilon(1e-4));
  }

  TEST_CASE("LDAM repository: alpha scales the focal loss and does not enter its modulator") {
    const Tensor z = f64({0.3, -0.4}, {1, 2});
    const double plain = called("focal", {{"logits", z}, {"target", labels({1})}}).item();
    CHECK(called("focal", {{"logits", z}, {"target", labels({1})}, {"alpha", vec({1, 5})}}).item() ==
          doctest::Approx(5 * plain));
  }

  TEST_CASE("TaiLr: gamma CE has a value whose gradient is the weighted one, and p_t = 0 does not give log 0") {
    const double g = 0.2, p = std::exp(-1.0) / (1 + std::exp(-1.0));
    const Called c = called("gamma_ce", {{"logits", f64({1, 0}, {1, 2})}, {"target", labels({1})}}, {{"gamma", g}});
    CHECK(c.gradients.at("logits")[1] == doctest::Approx(-(1 - p) * p / (g + (1 - g) * p)));
    const Called never =
        finite("gamma_ce", {{"logits", f64({1e4, 0}, {1, 2})}, {"target", labels({1})}}, {{"gamma", g}});
    CHECK(never.item() == doctest::Approx(-std::log(g) / (1 - g)));
  }

  TEST_CASE("keras GCE: p to the power q has a finite gradient at p = 0") {
    const Called c = finite("gce", {{"logits", f64({1e4, 0}, {1, 2})}, {"target", labels({1})}}, {{"q", 0.5}});
    CHECK(c.item() == doctest::Approx(2));
  }

  TEST_CASE("EMO: the value is the expected cost without q_y, and an embedding of length 0 is no NaN") {
    const Tensor z = f64({0, 0}, {1, 2});
    const Called c = finite("emo", {{"logits", z}, {"emb", f64({1, 0, 0, 1}, {2, 2})}, {"target", labels({0})}});
    CHECK(c.item() == doctest::Approx(0.5));
    for (const char* loss : {"emo", "emo_topk", "emo_dynamic"}) {
      finite(loss, {{"logits", z}, {"emb", f64({0, 0, 0, 1}, {2, 2})}, {"target", labels({0})}});
    }
  }

  TEST_CASE("LDAM, balanced-loss 12: a class without rows gives finite weights and losses") {
    const Tensor z = f64({1, 0, -1}, {1, 3}), counts = labels({10, 0, 3});
    finite("ldam", {{"logits", z}, {"target", labels({0})}, {"class_counts", counts}});
    finite("class_balanced_ce", {{"logits", z}, {"target", labels({0})}, {"class_counts", counts}});
    CHECK(all_finite(class_balanced_weights(counts, {}).to_vector()));
  }

  TEST_CASE("class-balanced repository: log(1 + e^-x) at logit -100 is 100 with gradient -1") {
    const Called c = finite("bce_with_logits", {{"logits", vec({-100})}, {"targets", vec({1})}});
    CHECK(c.item() == 100);
    CHECK(c.gradients.at("logits")[0] == -1);
  }

  TEST_CASE("temperature_scaling 31 23 20 29 34: the temperature is never negative, and is the optimum") {
    Rng rng(8);
    const Tensor z = 5.0 * randn({40, 3}, rng, DType::f64), y = randint(3, {40}, rng);
    const double T = called("optimal_temperature", {{"logits", z}, {"labels", y}}).item();
    CHECK(T > 0);
    const Tensor right = labels({0, 1}), sure = f64({3, 0, 0, 3}, {2, 2});
    CHECK(called("optimal_temperature", {{"logits", sure}, {"labels", right}}).item() == 0);
    const Tensor mixed = f64({3, 0, 3, 0, 3, 0, 0, 3}, {4, 2}), m = labels({0, 0, 1, 1});
    const double best = called("optimal_temperature", {{"logits", mixed}, {"labels", m}}).item();
    CHECK(best == doctest::Approx(3 / std::log(3.0)));  // three of four are right: sigmoid(3 / T) = 3/4
  }

  TEST_CASE("bert4torch: soft multi-label targets have a loss and a gradient, and hard losses refuse them") {
    const Tensor s = f64({1, -1, 0.5}, {1, 3}), t = f64({0.9, 0.2, 0.5}, {1, 3});
    const Called c = finite("multilabel_ce_soft", {{"scores", s}, {"targets", t}});
    CHECK(c.item() > 1);
    for (const double g : c.gradients.at("scores")) CHECK(g != 0);
    CHECK_THROWS_WITH_AS(called("multilabel_ce", {{"scores", s}, {"labels", t}}), doctest::Contains("neither 0 nor 1"),
                         Error);
  }

  TEST_CASE("bert4keras: the gradient of soft multi-label targets is finite at exactly 0 and 1") {
    finite("multilabel_ce_soft", {{"scores", f64({1, -1e4}, {1, 2})}, {"targets", f64({0, 1}, {1, 2})}});
  }

  TEST_CASE("bert4keras 436, bert4torch 95: sparse multi-label loss is exact at every margin and never negative") {
    CHECK(one_of_eleven(12, DType::f32).item() == doctest::Approx(ln11 + std::log1p(std::exp(-12.0))).epsilon(1e-6));
    for (const double s : {16.0, 20.0, 30.0, 80.0, 1e4}) {
      const Called c = one_of_eleven(s, DType::f32);
      const Values& g = c.gradients.at("scores");
      CHECK(c.item() == doctest::Approx(ln11).epsilon(1e-5));  // 3.88 at 20 in both ports, 13.9 at 30
      CHECK(g[3] <= 0);                                        // +1 in both: it pushed the right label down
      CHECK(g[3] == doctest::Approx(-std::exp(-s)).epsilon(1e-5));
      CHECK(g[0] == doctest::Approx(1. / 11).epsilon(1e-6));
    }
  }

  TEST_CASE("bert4keras mask_zero: class 0 is a class, padding has a number of its own") {
    const Tensor s = f64({-2, 0.5, 1}, {1, 3});
    const Called sparse = called("multilabel_ce_sparse", {{"scores", s}, {"labels", labels({0, -1}).reshape({1, 2})}});
    CHECK(sparse.item() ==
          doctest::Approx(called("multilabel_ce", {{"scores", s}, {"labels", f64({1, 0, 0}, {1, 3})}}).item()));
  }

  TEST_CASE("n x m losses: differences of logits of 1e4 do not overflow") {
    const Tensor s = f64({1e4, -1e4, 0, 0, 1e4, -1e4}, {2, 3}), t = f64({0, 1, 0, 1, 0, 0}, {2, 3});
    for (const char* loss : {"nm_eq1", "nm_product", "nm_expanded", "nm_first_order", "nm_cross"}) {
      finite(loss, {{"s", s}, {"t", t}});
    }
    for (const char* loss : {"nm_eq2", "nm_eq3"}) {  // whose gradient to a target of 0 is e^{1e4}
      const Called wide = called(loss, {{"s", s}, {"t", t}}),
                   narrow = called(loss, {{"s", s}, {"t", t}}, {}, {}, DType::f32);
      CHECK(all_finite(narrow));
      CHECK(gap(narrow.value, wide.value) <= 2e-5);
      CHECK(gap(narrow.gradients.at("s"), wide.gradients.at("s")) <= 2e-5);
    }
  }
}
