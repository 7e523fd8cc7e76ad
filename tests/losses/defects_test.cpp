// Defects that other libraries have or had, each by the issue that reports it: ours must not have them.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/check.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

struct Result {
  Values value;
  std::map<std::string, Values> gradient;  // of sum(value * upstream)
};

// A loss by name, in f32 as users run it; upstream 1 unless given.
Result run(const char* loss, const Inputs& inputs, const Options& options = {}, DType dtype = DType::f32,
           const Values& upstream = {}) {
  const LossInfo& info = find_loss(loss);
  Inputs x;
  for (const auto& [name, tensor] : inputs) {
    x[name] = is_floating(tensor.dtype()) ? tensor.to(dtype).clone() : tensor;
    const auto is_real = [&, &wanted = name](const InputSpec& s) { return s.name == wanted && s.kind == Kind::real; };
    if (std::any_of(info.inputs.begin(), info.inputs.end(), is_real)) x[name].requires_grad_();
  }
  Tape tape;
  const Tensor y = info.run(arguments_for(info, x, options, Form::closed));
  Result result{y.to_vector(), {}};
  if (!Tape::holding(y)) return result;
  BackwardPass pass(tape);
  pass.seed(y, upstream.empty() ? ones(y.shape(), y.dtype()) : tensor(upstream, y.shape(), y.dtype()));
  pass.finish();
  for (auto& [name, tensor] : x) {
    if (tensor.requires_grad()) {
      result.gradient[name] = (tensor.grad() ? tensor.grad() : zeros(tensor.shape(), dtype)).to_vector();
    }
  }
  return result;
}

bool finite(const Values& v) {
  return std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); });
}
bool finite(const Result& r) {
  return finite(r.value) &&
         std::all_of(r.gradient.begin(), r.gradient.end(), [](const auto& g) { return finite(g.second); });
}
bool all_zero(const Values& v) {
  return std::all_of(v.begin(), v.end(), [](double x) { return x == 0; });
}
bool nothing(const Result& r) {  // value 0, gradients 0
  return all_zero(r.value) &&
         std::all_of(r.gradient.begin(), r.gradient.end(), [](const auto& g) { return all_zero(g.second); });
}
Tensor normal(Shape shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng, DType::f64);
}

}  // namespace

TEST_SUITE("defects") {
  TEST_CASE("pytorch 70348, 75181, 116349: a batch whose labels are all ignored costs 0, not NaN") {
    const Tensor ignored = labels({-100, -100});
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "poly1", "gce"}) {
      CHECK_MESSAGE(nothing(run(loss, {{"logits", normal({2, 3}, 1)}, {"target", ignored}})), loss);
    }
    CHECK(nothing(run("nll", {{"log_probs", normal({2, 3}, 1)}, {"target", ignored}})));
    CHECK(nothing(run("mlm", {{"logits", normal({1, 2, 3}, 1)}, {"labels", ignored.reshape({1, 2})}})));
  }

  TEST_CASE("pytorch 11551: an ignored row that holds infinities and NaN poisons nothing") {
    Tensor z = normal({2, 3}, 1);
    set_value(z, 0, NaN), set_value(z, 1, -inf), set_value(z, 2, inf);
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "poly1", "gce"}) {
      const Result r = run(loss, {{"logits", z}, {"target", labels({-100, 1})}});
      CHECK_MESSAGE(finite(r), loss);
      CHECK(Values(r.gradient.at("logits").begin(), r.gradient.at("logits").begin() + 3) == Values(3, 0.0));
    }
  }

  TEST_CASE("optax 896, 1786: a logit of -inf whose target is 0 gives no NaN, in cross entropy and KL") {
    const Tensor z = matrix({0, -inf, 1}, 1), t = matrix({.5, 0, .5}, 1);
    for (const char* loss : {"soft_cross_entropy", "kl_div", "js_div", "tv", "hellinger"}) {
      CHECK_MESSAGE(finite(run(loss, {{"logits", z}, {"target_probs", t}})), loss);
    }
  }

  TEST_CASE("pytorch 89558: the gradient of KL to a target of 0 is finite") {
    const Tensor t = matrix({1, 0, 0}, 1);
    CHECK(finite(run("kl_div", {{"logits", normal({1, 3}, 1)}, {"target_probs", t}}).gradient.at("target_probs")));
  }

  TEST_CASE("pytorch 25571, 104776: the weighted mean divides by the weights of the labels that count") {
    const Tensor z = normal({3, 2}, 1), w = vec({3, .5});
    const double mean = run("cross_entropy", {{"logits", z}, {"target", labels({0, 1, -100})}, {"weight", w}}).value[0];
    const double sum =
        run("cross_entropy", {{"logits", z}, {"target", labels({0, 1, -100})}, {"weight", w}}, {{"reduction", "sum"}})
            .value[0];
    CHECK(mean == doctest::Approx(sum / 3.5).epsilon(1e-6));
  }

  TEST_CASE("Liger 968, 678: with reduction none every row has its own upstream gradient") {
    const Tensor z = normal({3, 4}, 1), y = labels({1, 3, 0});
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "poly1", "gce"}) {
      const Values g = run(loss, {{"logits", z}, {"target", y}}, {{"reduction", "none"}}, DType::f64, {2, 0, -3})
                           .gradient.at("logits");
      const Values plain =
          run(loss, {{"logits", z}, {"target", y}}, {{"reduction", "none"}}, DType::f64).gradient.at("logits");
      for (std::size_t i = 0; i < 12; ++i) CHECK(g[i] == doctest::Approx(plain[i] * Values{2, 0, -3}[i / 4]));
    }
  }

  TEST_CASE("optax 1267, kornia 918, sam3 484: focal with gamma below 1 or 0 has no NaN where p is 1") {
    for (const double gamma : {0.0, 0.5, 1.0, 2.0}) {
      const Tensor z = matrix({20, 60, 1e4, -20, -60, -1e4}, 1), y = matrix({1, 1, 1, 0, 0, 0}, 1);
      CHECK(finite(run("focal_sigmoid", {{"logits", z}, {"targets", y}}, {{"gamma", gamma}})));
      CHECK(finite(run("focal_sigmoid", {{"logits", z}, {"targets", 1 - y}}, {{"gamma", gamma}})));
      CHECK(finite(run("focal", {{"logits", matrix({60, 0, 0, 1e4, 0, 0}, 2)}, {"target", labels({0, 0})}},
                       {{"gamma", gamma}})));
    }
  }

  TEST_CASE("LDAM's FocalLoss: alpha multiplies the loss and does not enter p_t") {
    const Tensor z = normal({1, 3}, 1);
    const double plain = run("focal", {{"logits", z}, {"target", labels({1})}}, {{"gamma", 2.0}}, DType::f64).value[0];
    const double weighted =
        run("focal", {{"logits", z}, {"target", labels({1})}, {"alpha", vec({1, 3, 1})}}, {{"gamma", 2.0}}, DType::f64)
            .value[0];
    CHECK(weighted == doctest::Approx(3 * plain));
  }

  TEST_CASE("Keras, dlib and mlpack clip probabilities: ours neither saturates nor loses the gradient") {
    const Tensor z = matrix({-1000, 0}, 1);
    const Result ce = run("cross_entropy", {{"logits", z}, {"target", labels({0})}});
    CHECK(ce.value[0] == 1000);
    CHECK(ce.gradient.at("logits") == Values{-1, 1});
    const Result bce = run("bce_with_logits", {{"logits", vec({-1000})}, {"targets", vec({1})}});
    CHECK(bce.value[0] == 1000);
    CHECK(bce.gradient.at("logits") == Values{-1});
  }

  TEST_CASE("class-balanced loss: logit -100 costs 100 and not 0; balanced-loss 12: an empty class gives no NaN") {
    const Tensor counts = labels({10, 0, 1000});
    CHECK(finite(run("class_balanced_weights", {{"class_counts", counts}})));
    const Result r = run("class_balanced_ce",
                         {{"logits", matrix({-100, 0, 0}, 1)}, {"target", labels({0})}, {"class_counts", counts}});
    CHECK(r.value[0] > 100);
    CHECK(finite(r));
    CHECK(finite(run("ldam", {{"logits", normal({1, 3}, 1)}, {"target", labels({0})}, {"class_counts", counts}})));
  }

  TEST_CASE(
      "TaiLr: gamma-CE has a potential, so its gradient passes central differences, and p_t = 0 is no -inf for gamma > "
      "0") {
    const Result r = run("gamma_ce", {{"logits", matrix({-1e4, 0}, 1)}, {"target", labels({0})}}, {{"gamma", 0.2}});
    CHECK(finite(r));
    CHECK(r.value[0] == doctest::Approx(-std::log(0.2) / 0.8));
  }

  TEST_CASE("GCE by pow(p, q): the gradient at p_t = 0 is finite") {
    CHECK(finite(run("gce", {{"logits", matrix({-1e4, 0}, 1)}, {"target", labels({0})}}, {{"q", 0.5}})));
  }

  TEST_CASE("bert4keras 436, bert4torch 95: sparse multi-label at margin 20 pulls the right way, and is no NaN at 30") {
    Values s(11, 0);
    s[0] = 20;
    const Result r = run("multilabel_ce_sparse", {{"scores", matrix(s, 1)}, {"labels", labels({0}).reshape({1, 1})}});
    CHECK(r.value[0] == doctest::Approx(std::log(11.0)).epsilon(1e-6));
    CHECK(r.gradient.at("scores")[0] == doctest::Approx(-std::exp(-20.0)).epsilon(1e-4));
    CHECK(r.gradient.at("scores")[1] == doctest::Approx(1 / 11.0).epsilon(1e-5));
    s[0] = 30;
    CHECK(finite(run("multilabel_ce_sparse", {{"scores", matrix(s, 1)}, {"labels", labels({0}).reshape({1, 1})}})));
  }

  TEST_CASE("bert4torch: soft multi-label is not silently 0; bert4keras: labels of 0 and 1 have finite gradients") {
    const Result r =
        run("multilabel_ce_soft", {{"scores", matrix({1, -2, .5}, 1)}, {"targets", matrix({.3, 0, 1}, 1)}});
    CHECK(r.value[0] > 0.5);
    CHECK(finite(r));
    CHECK(!all_zero(r.gradient.at("scores")));
  }

  TEST_CASE("sentence-transformers 3368, 3984: CoSENT pushes down what has the lower label, as its formula says") {
    const Values g = run("cosent", {{"scores", vec({.1, .9})}, {"labels", vec({1, 0})}}).gradient.at("scores");
    CHECK(g[0] < 0);  // descent raises the score of label 1
    CHECK(g[1] > 0);
  }

  TEST_CASE("bert4torch, AnglE: a zero vector is no NaN") {
    const Tensor zero = zeros({3, 4}, DType::f64), v = normal({3, 4}, 1), y = vec({1, .5, 0});
    for (const char* loss : {"cosent_embeddings", "angle", "hybrid"}) {
      CHECK_MESSAGE(finite(run(loss, {{"u", zero}, {"v", v}, {"labels", y}})), loss);
    }
    CHECK(finite(run("nt_xent", {{"z1", zero}, {"z2", v}})));
    CHECK(finite(run("info_nce", {{"q", zero}, {"k", v}})));
    CHECK(finite(run("supcon", {{"embeddings", zero}, {"labels", labels({0, 0, 1})}})));
  }

  TEST_CASE("sentence-transformers 3189, 2756: duplicates are no negatives when their ids say so") {
    const Tensor k = normal({3, 4}, 1);
    const double with = run("info_nce", {{"q", k}, {"k", k}}).value[0];
    const double without = run("info_nce", {{"q", k}, {"k", k}, {"ids", labels({7, 7, 7})}}).value[0];
    CHECK(with > 0);
    CHECK(without == 0);
  }

  TEST_CASE("pytorch-metric-learning: NT-Xent is not capped at 87") {
    const Tensor z1 = matrix({1, 0, -1, 0}, 2), z2 = matrix({-1, 0, 1, 0}, 2);
    const Result r = run("nt_xent", {{"z1", z1}, {"z2", z2}}, {{"temperature", 0.01}});
    CHECK(r.value[0] > 190);  // cosine -1 against 1, over 0.01
    CHECK(finite(r));
  }

  TEST_CASE("SupContrast 141, optax: anchors without positives and a batch without negatives give no NaN") {
    CHECK(nothing(run("supcon", {{"embeddings", normal({3, 4}, 1)}, {"labels", labels({0, 1, 2})}})));
    CHECK(finite(run("supcon", {{"embeddings", normal({3, 4}, 1)}, {"labels", labels({0, 0, 0})}})));
    CHECK(nothing(run("nt_xent", {{"z1", normal({1, 4}, 1)}, {"z2", normal({1, 4}, 2)}})));
    CHECK(nothing(run("circle_batch", {{"embeddings", normal({3, 4}, 1)}, {"labels", labels({0, 0, 0})}})));
  }

  TEST_CASE("sentence-transformers 4033, pytorch 37154: a distance of 0 has gradient 0, not NaN") {
    const Tensor x = normal({2, 3}, 1);
    CHECK(finite(run("triplet", {{"anchor", x}, {"positive", x}, {"negative", x}})));
    CHECK(finite(run("contrastive", {{"x1", x}, {"x2", x}, {"y", vec({1, 0})}})));
    const Tensor same = full({4, 3}, .5, DType::f64);
    for (const char* loss : {"triplet_batch_all", "triplet_batch_hard", "triplet_semi_hard"}) {
      CHECK_MESSAGE(finite(run(loss, {{"embeddings", same}, {"labels", labels({0, 0, 1, 1})}})), loss);
      CHECK_MESSAGE(nothing(run(loss, {{"embeddings", same}, {"labels", labels({0, 0, 0, 0})}})),
                    loss);  // metric-learning 107
    }
  }

  TEST_CASE("POT 54, 311, ott 6: Sinkhorn at epsilon 1e-3 neither underflows nor gives up") {
    Rng rng(1);
    const Tensor cost = rand({5, 4}, rng, DType::f64), a = full({5}, .2, DType::f64), b = full({4}, .25, DType::f64);
    const Result r = run("sinkhorn", {{"a", a}, {"b", b}, {"cost", cost}}, {{"epsilon", 1e-3}, {"iterations", 500}});
    CHECK(finite(r));
    CHECK(r.value[0] == doctest::Approx(run("emd", {{"a", a}, {"b", b}, {"cost", cost}}).value[0]).epsilon(0.02));
  }

  TEST_CASE("temperature_scaling 31, 23, 29: the temperature is positive and found, without a grid") {
    const Tensor z = 3 * normal({200, 4}, 1);
    Tensor y = labels(std::vector<Index>(200, 0));
    for (Index r = 0; r < 200; ++r) set_value(y, r, r % 3 ? double(r % 4) : 0);
    const double T = run("optimal_temperature", {{"logits", z}, {"labels", y}}, {}, DType::f64).value[0];
    CHECK(T > 0);
  }

  TEST_CASE("LibMTL GLS: the geometric mean of 16 losses of 1e-3 is 1e-3 and no 0, and a loss of 0 gives no NaN") {
    const Result r = run("generalised_mean", {{"losses", full({16}, 1e-3, DType::f64)}}, {{"gamma", 0.0}});
    CHECK(r.value[0] == doctest::Approx(1e-3).epsilon(1e-5));
    CHECK(finite(r));
    CHECK(finite(run("generalised_mean", {{"losses", vec({0, 1, 2})}}, {{"gamma", 0.0}})));
  }

  TEST_CASE("Co-teaching 9: the mean over the kept rows is divided once") {
    const Tensor z = normal({4, 3}, 1), y = labels({0, 1, 2, 0});
    const Result r = run("co_teaching", {{"logits1", z}, {"logits2", z}, {"target", y}}, {{"keep", 1.0}}, DType::f64);
    const double ce = run("cross_entropy", {{"logits", z}, {"target", y}}, {}, DType::f64).value[0];
    CHECK(r.value[0] == doctest::Approx(2 * ce));
  }

  TEST_CASE("pytorch 31829, 49724: log-sum-exp of only -inf has gradient 0") {
    const Tensor x = matrix({-inf, -inf}, 1);
    CHECK(logsumexp(x, 1).item() == -inf);
    CHECK(slopes(x, [](const Tensor& v) { return sum(logsumexp(v, 1)); }) == Values{0, 0});
  }
}
