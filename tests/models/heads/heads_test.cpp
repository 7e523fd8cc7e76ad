// The heads: gradients through each, what they can and cannot say, and a small fit that must succeed.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "losses/logsumexp/info_nce.h"
#include "losses/logsumexp/nm.h"
#include "models/heads/crf_tagger.h"
#include "models/heads/denoising_autoencoder.h"
#include "models/heads/nm_heads.h"
#include "models/heads/sentence_encoder.h"
#include "models/optimizer.h"
#include "ops/distance.h"
#include "ops/reduce.h"
#include "ops/sort.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"
#include "tests/support/loss_case.h"

using namespace gradus;
using doctest::Contains;

namespace {

Tensor normal(Shape shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng, DType::f64);
}

// Adam steps on a model's loss; returns the last value.
template <class Model, class F> double fit(Model& model, int steps, double lr, const F& loss) {
  Adam adam(model.parameters(), {.lr = lr});
  double last = 0;
  for (int k = 0; k < steps; ++k) {
    Tape tape;
    const Tensor L = loss();
    backward(L);
    adam.step();
    adam.zero_grad();
    last = L.item();
  }
  return last;
}

}  // namespace

TEST_SUITE("models/heads") {
  TEST_CASE("n x m heads: shape, gradient, and four tasks of three classes learnt by loss-1") {
    const LeakGuard guard;
    NmHeads heads(5, 4, 3, Rng(1));
    CHECK(heads.parameter_count() == 5 * 12 + 12);
    const Tensor x = normal({6, 5}, 2).to(DType::f32);
    CHECK(heads(x).shape() == Shape{6, 4, 3});
    Rng rng(3);
    const Tensor y = randint(3, {6, 4}, rng), t = one_hot(y, 3);
    fit(heads, 150, 0.1, [&] {
      Tensor total;
      const Tensor s = heads(x);
      for (Index r = 0; r < 6; ++r) total = r ? total + nm_eq1(s[r], t[r]) : nm_eq1(s[0], t[0]);
      return total / 6.0;
    });
    CHECK(heads.predict(x).to_vector() == y.to_vector());
    check_gradients(heads, normal({2, 5}, 4));
    CHECK_THROWS_WITH_AS(NmHeads(5, 0, 3, Rng(1)), Contains("at least 1"), Error);
  }

  TEST_CASE("BIO tags come back as spans, and of spans that overlap one is dropped: the titles of A188") {
    // Four words: the company (0,1), its chief's title (0,2), the chief (3,3): company and title overlap.
    const std::vector<Span> nested{{0, 0, 0, 1}, {0, 1, 0, 2}, {0, 2, 3, 3}};
    std::vector<Span> dropped;
    const Tensor tags = bio_tags(nested, 1, 4, &dropped);
    CHECK(dropped == std::vector<Span>{{0, 0, 0, 1}});
    CHECK(tags.to_vector() == Values{3, 4, 4, 5});
    CHECK(spans_of_bio(tags) == std::vector<Span>{{0, 1, 0, 2}, {0, 2, 3, 3}});
    const std::vector<Span> flat{{0, 0, 0, 0}, {0, 0, 1, 2}, {1, 2, 0, 3}};
    CHECK(spans_of_bio(bio_tags(flat, 2, 4)) == flat);
    CHECK(spans_of_bio(tensor({2, 2, 0, 4}, {1, 4}, DType::i64)) == std::vector<Span>{{0, 0, 0, 1}, {0, 1, 3, 3}});
    CHECK_THROWS_WITH_AS(bio_tags({{0, 0, 2, 4}}, 1, 4), Contains("does not lie in [1,4]"), Error);
  }

  TEST_CASE("CRF tagger: its transitions learn that a tag never follows itself, where words alone say nothing") {
    const LeakGuard guard;
    CrfTagger tagger(2, 2, Rng(1));
    const Tensor hidden = zeros({1, 6, 2});  // every word looks alike
    const Tensor tags = labels({0, 1, 0, 1, 0, 1}).reshape({1, 6});
    const double loss = fit(tagger, 200, 0.1, [&] { return tagger.loss(hidden, tags); });
    CHECK(loss < 0.1);
    CHECK(tagger.decode(hidden).to_vector() == tags.to_vector());
    CHECK(value_at(tagger.transitions, 1) > value_at(tagger.transitions, 0) + 2);
    check_gradients(tagger, normal({2, 3, 2}, 5));
  }

  TEST_CASE("pooling: masked tokens count nothing, a sentence of none is 0") {
    const Tensor h = tensor({1, 2, 3, 4, 5, 6, 9, 9, 9, 9, 9, 9}, {2, 3, 2}, DType::f64);
    const Tensor mask = tensor({1, 1, 0, 0, 0, 0}, {2, 3}, DType::u8);
    CHECK(pool(h, mask, Pooling::mean).to_vector() == Values{2, 3, 0, 0});
    CHECK(pool(h, mask, Pooling::max).to_vector() == Values{3, 4, 0, 0});
    CHECK(pool(h, mask, Pooling::cls).to_vector() == Values{1, 2, 9, 9});
    CHECK(pool(h, {}, Pooling::mean).to_vector() == Values{3, 4, 9, 9});
    for (const Pooling how : {Pooling::mean, Pooling::max}) {
      const Values g = slopes(h, [&](const Tensor& x) { return sum(pool(x, mask, how)); });
      CHECK(Values(g.begin() + 4, g.end()) == Values(8, 0.0));
    }
    CHECK_THROWS_WITH_AS(pool(h[0], {}, Pooling::mean), Contains("[N,T,D]"), Error);
    CHECK_THROWS_WITH_AS(pool(h, zeros({2, 2}), Pooling::mean), Contains("must be [N,T]"), Error);
  }

  TEST_CASE("two towers: eight pairs found again after a few steps of symmetric InfoNCE, padding changes nothing") {
    const LeakGuard guard;
    const TransformerOptions small{
        .vocabulary = 20, .width = 16, .heads = 2, .layers = 1, .context = 5, .causal = false};
    TwoTowers towers(small, small, 8, Rng(1));
    Rng rng(2);
    const Tensor a = randint(20, {8, 4}, rng), b = randint(20, {8, 5}, rng);
    fit(towers, 100, 1e-2, [&] {
      const auto [u, v] = towers(a, b);
      return info_nce(u, v, {.temperature = 0.1, .symmetric = true});
    });
    const auto [u, v] = towers(a, b);
    CHECK(argmax(cosine_matrix(u, v), 1).to_vector() == Values{0, 1, 2, 3, 4, 5, 6, 7});
    Tensor padded = a.clone();
    const Tensor mask = tensor(Values{1, 1, 1, 0}, {1, 4}, DType::u8);
    const Tensor one = padded.rows(0, 1), before = towers.left(one, mask);
    set_value(padded, 3, (Index(value_at(padded, 3)) + 1) % 20);
    check_near(towers.left(padded.rows(0, 1), mask).to_vector(), before.to_vector(), 1e-6);
  }

  TEST_CASE("sentence encoder: gradients through transformer and pooling agree with central differences") {
    SentenceEncoder encoder({.vocabulary = 5, .width = 4, .heads = 1, .layers = 1, .context = 3, .causal = false},
                            Rng(1));
    check_gradients(encoder, labels({0, 3, 4, 4, 1, 0}).reshape({2, 3}));
  }

  TEST_CASE("denoising auto-encoder: what it rebuilds is nearer to the clean points than the damaged ones are") {
    const LeakGuard guard;
    DenoisingAutoencoder model({6, 8, 2}, Rng(1), {.noise = 0.5});
    // Points on a plane in six dimensions.
    const Tensor code = normal({64, 2}, 2).to(DType::f32), basis = normal({2, 6}, 3).to(DType::f32);
    const Tensor x = matmul(code, basis);
    fit(model, 400, 1e-2, [&] { return model.loss(x); });
    const Tensor noisy = model.damaged(x);
    const double rebuilt = mse(model(noisy), x).item(), damaged = mse(noisy, x).item();
    CHECK(damaged == doctest::Approx(0.25).epsilon(0.15));
    CHECK(rebuilt < 0.7 * damaged);
    model.eval();
    CHECK(model.loss(x).item() == mse(model(x), x).item());
    check_gradients(model, normal({3, 6}, 4));
    CHECK_THROWS_WITH_AS(DenoisingAutoencoder({4, 2}, Rng(1), {.noise = -1}), Contains("noise >= 0"), Error);
    CHECK_THROWS_WITH_AS(DenoisingAutoencoder({4, 2}, Rng(1), {.drop = 1}), Contains("0 <= drop < 1"), Error);
  }
}
