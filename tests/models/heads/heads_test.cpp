// Heads of other kinds than spans: gradients through each, what they can and cannot say, small fits that must succeed.
#include <doctest/doctest.h>

#include "losses/logsumexp/cosent.h"
#include "losses/logsumexp/info_nce.h"
#include "losses/logsumexp/nm.h"
#include "losses/metrics/spearman.h"
#include "models/heads/crf_tagger.h"
#include "models/heads/denoising_autoencoder.h"
#include "models/heads/global_pointer.h"
#include "models/heads/nm_heads.h"
#include "models/heads/sentence_encoder.h"
#include "ops/distance.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"
#include "ops/sort.h"
#include "tests/models/heads/head_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Contains;

TEST_SUITE("models/heads") {
  TEST_CASE("n x m heads: shape, gradient, and four tasks of three classes learnt by loss-1") {
    const LeakGuard guard;
    NmHeads heads(5, 4, 3, Rng(1));
    CHECK(heads.parameter_count() == 5 * 12 + 12);
    const Tensor x = normal({6, 5}, 2);
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
    check_gradients(heads, normal({2, 5}, 4, DType::f64));
    CHECK(names_of(heads.parameters()) == std::vector<std::string>{"linear.weight", "linear.bias"});
    CHECK_THROWS_WITH_AS(NmHeads(5, 0, 3, Rng(1)), Contains("[NmHeads] tasks must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(NmHeads(5, -2, -3, Rng(1)), Contains("tasks must be at least 1, got -2"), Error);
    CHECK_THROWS_WITH_AS(heads(zeros({2, 3, 5})), Contains("needs x [N,D]"), Error);
  }

  TEST_CASE("A101 BIO tags of flat spans come back as these spans") {
    const std::vector<Span> flat{{0, 0, 0, 0}, {0, 0, 1, 2}, {1, 2, 0, 3}};
    std::vector<Span> dropped;
    const Tensor tags = bio_tags(flat, 2, 4, &dropped);
    CHECK(tags.to_vector() == Values{1, 1, 2, 0, 5, 6, 6, 6});
    CHECK(dropped.empty());
    CHECK(spans_of_bio(tags) == flat);
    CHECK(spans_of_bio(tags, tensor({1, 1, 0, 0, 0, 0, 1, 1}, {2, 4})) ==
          std::vector<Span>{{0, 0, 0, 0}, {0, 0, 1, 1}, {1, 2, 2, 3}});
    // An I without its B begins a span, and so does one of another type.
    CHECK(spans_of_bio(tensor({2, 2, 0, 4}, {1, 4}, DType::i64)) == std::vector<Span>{{0, 0, 0, 1}, {0, 1, 3, 3}});
    CHECK(spans_of_bio(tensor({1, 4, 2, 0}, {1, 4}, DType::i64)).size() == 3);
    CHECK_THROWS_WITH_AS(bio_tags({{0, 0, 2, 4}}, 1, 4), Contains("2..4 of type 0, sentence 0, does not lie in [1,4]"),
                         Error);
    CHECK_THROWS_WITH_AS(spans_of_bio(zeros({4})), Contains("needs tags [N,T]"), Error);
    CHECK_THROWS_WITH_AS(spans_of_bio(tags, zeros({2, 3})), Contains("mask must be [N,T]"), Error);
  }

  TEST_CASE(
      "A188 a title that contains a company and a person has no BIO tags, but labels of spans, which are learnt") {
    const LeakGuard guard;
    // Twelve characters: a company 0..3, a rank, its holder 7..11, and the title 0..11 that contains both.
    const std::vector<Span> nested{{0, 0, 0, 3}, {0, 1, 7, 11}, {0, 2, 0, 11}};
    std::vector<Span> dropped;
    CHECK(spans_of_bio(bio_tags(nested, 1, 12, &dropped)) == std::vector<Span>{{0, 2, 0, 11}});
    CHECK(dropped == std::vector<Span>{{0, 1, 7, 11}, {0, 0, 0, 3}});
    const Tensor y = labels_of(nested, 1, 3, 12), hidden = normal({1, 12, 16}, 1);
    CHECK(spans_above(y, 0.5) == nested);
    GlobalPointer pointer(16, 3, 8, Rng(2));
    fit(pointer, 100, 2e-2, [&] { return pointer.loss(hidden, y); });
    CHECK(pointer.spans(hidden) == nested);
    // A tagger that fits its tags perfectly still misses two of three.
    CrfTagger tagger(16, 7, Rng(3));
    const Tensor tags = bio_tags(nested, 1, 12);
    fit(tagger, 60, 5e-2, [&] { return tagger.loss(hidden, tags); });
    const std::vector<Span> found = spans_of_bio(tagger.decode(hidden));
    CHECK(span_f1(found, nested).precision == 1);
    CHECK(span_f1(found, nested).recall == doctest::Approx(1.0 / 3));
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
    CHECK(names_of(tagger.parameters()) ==
          std::vector<std::string>{"emission.weight", "emission.bias", "transitions", "start", "end"});
    CHECK(tagger.parameter_count() == 2 * 2 + 2 + 4 + 2 + 2);
    const Tensor x = normal({2, 3, 2}, 5, DType::f64), y = labels({0, 1, 1, 1, 0, 0}).reshape({2, 3});
    const Tensor mask = tensor({1, 1, 1, 1, 1, 0}, {2, 3});
    check_gradients_of(tagger, x, [&](const Tensor& h) { return tagger.loss(h, y, mask); });
    CHECK(value_at(tagger.decode(x, mask), 5) == 0);
    CHECK_THROWS_AS(CrfTagger(2, 0, Rng(1)), Error);
  }

  TEST_CASE("pooling: masked tokens count nothing, a sentence of none is 0") {
    const Tensor h = tensor({1, 2, 3, 4, 5, 6, 9, 9, 9, 9, 9, 9}, {2, 3, 2}, DType::f64);
    const Tensor mask = tensor({1, 1, 0, 0, 0, 0}, {2, 3}, DType::u8);
    CHECK(pool(h, mask, Pooling::mean).to_vector() == Values{2, 3, 0, 0});
    CHECK(pool(h, mask, Pooling::max).to_vector() == Values{3, 4, 0, 0});
    CHECK(pool(h, mask, Pooling::cls).to_vector() == Values{1, 2, 9, 9});
    CHECK(pool(h, {}, Pooling::mean).to_vector() == Values{3, 4, 9, 9});
    // Masked tokens may hold anything.
    Tensor hole = h.clone();
    set_value(hole, 4, NaN), set_value(hole, 7, -inf);
    CHECK(pool(hole, mask, Pooling::mean).to_vector() == Values{2, 3, 0, 0});
    CHECK(pool(hole, mask, Pooling::max).to_vector() == Values{3, 4, 0, 0});
    CHECK(pool(-1e35 * h.to(DType::f32), mask, Pooling::max).at({0, 0}) == doctest::Approx(-1e35));
    for (const Pooling how : {Pooling::mean, Pooling::max}) {
      const Values g = slopes(h, [&](const Tensor& x) { return sum(pool(x, mask, how)); });
      CHECK(Values(g.begin() + 4, g.end()) == Values(8, 0.0));
    }
    CHECK_THROWS_WITH_AS(pool(h[0], {}, Pooling::mean), Contains("[N,T,D]"), Error);
    CHECK_THROWS_WITH_AS(pool(h, zeros({2, 2}), Pooling::mean), Contains("must be [N,T]"), Error);
  }

  TEST_CASE(
      "A080 two towers: eight pairs found again after a short fit by symmetric InfoNCE, padding changes nothing") {
    const LeakGuard guard;
    const TransformerOptions small{.vocabulary = 20, .width = 16, .heads = 2, .layers = 1, .context = 5};
    TwoTowers towers(small, small, 8, Rng(1));
    Rng rng(2);
    const Tensor a = randint(20, {8, 4}, rng), b = randint(20, {8, 5}, rng);
    fit(towers, 100, 1e-2, [&] {
      const auto [u, v] = towers(a, b);
      return info_nce(u, v, {.temperature = 0.1, .symmetric = true});
    });
    CHECK(argmax(towers.similarity(a, b), 1).to_vector() == Values{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(argmax(towers.similarity(a, b), 0).to_vector() == Values{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(towers.similarity(a.rows(0, 3), b).shape() == Shape{3, 8});
    Tensor padded = a.rows(0, 1).clone();
    const Tensor mask = tensor(Values{1, 1, 1, 0}, {1, 4}, DType::u8), before = towers.left(padded, mask);
    set_value(padded, 3, double((Index(value_at(padded, 3)) + 1) % 20));
    check_near(towers.left(padded, mask).to_vector(), before.to_vector(), 1e-6);
  }

  TEST_CASE("A080 towers of bags find eight pairs too, and a tower may be of another kind than its neighbour") {
    const LeakGuard guard;
    TwoTowers<BagEncoder> towers({.vocabulary = 20, .width = 8}, {.vocabulary = 30, .width = 6}, 4, Rng(1));
    using Names = std::vector<std::string>;
    CHECK(names_of(towers.parameters()) ==
          Names{"left.token.weight", "right.token.weight", "left_projection.weight", "right_projection.weight"});
    CHECK(towers.parameter_count() == 20 * 8 + 30 * 6 + 4 * 8 + 4 * 6);
    Rng rng(2);
    const Tensor a = randint(20, {8, 4}, rng), b = randint(30, {8, 5}, rng);
    fit(towers, 100, 2e-2, [&] {
      const auto [u, v] = towers(a, b);
      return info_nce(u, v, {.temperature = 0.1, .symmetric = true});
    });
    CHECK(argmax(towers.similarity(a, b), 1).to_vector() == Values{0, 1, 2, 3, 4, 5, 6, 7});
    TwoTowers<BagEncoder, SentenceEncoder> mixed({.vocabulary = 5, .width = 4},
                                                 {.vocabulary = 5, .width = 4, .heads = 1, .layers = 1, .context = 3},
                                                 2, Rng(1), Pooling::max);
    const Tensor left = labels({0, 3, 4, 4}).reshape({2, 2}), right = labels({1, 2, 2, 0, 4, 3}).reshape({2, 3});
    check_gradients_of(mixed, left, [&](const Tensor& ids) { return mixed.similarity(ids, right); });
  }

  TEST_CASE("A061 a bag of words trained by CoSENT orders twelve graded pairs as their labels do") {
    const LeakGuard guard;
    BagEncoder encoder({.vocabulary = 40, .width = 8}, Rng(1));
    Rng rng(2);
    const Tensor a = randint(40, {12, 4}, rng), b = randint(40, {12, 4}, rng);
    const Tensor grade = tensor({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
    fit(encoder, 150, 5e-2, [&] { return cosent_embeddings(encoder(a), encoder(b), grade); });
    CHECK(spearman(cosine_similarity(encoder(a), encoder(b)), grade) == 1);
  }

  TEST_CASE("a bag does not know the order of words, an encoder does and is never causal") {
    const Tensor ids = labels({1, 2, 3, 4}).reshape({1, 4}), turned = labels({4, 3, 2, 1}).reshape({1, 4});
    BagEncoder bag({.vocabulary = 5, .width = 3}, Rng(1));
    check_near(bag(ids).to_vector(), bag(turned).to_vector(), 1e-6);
    // The first token's state depends on the last token.
    const TransformerOptions options{
        .vocabulary = 5, .width = 4, .heads = 2, .layers = 1, .context = 4, .causal = true};
    SentenceEncoder encoder(options, Rng(1), Pooling::cls);
    const Tensor other = labels({1, 2, 3, 0}).reshape({1, 4});
    CHECK(encoder(ids).to_vector() != encoder(other).to_vector());
    CHECK(encoder(ids).shape() == Shape{1, 4});
    CHECK(encoder(ids).to_vector() != encoder(turned).to_vector());
    CHECK(encoder(ids).to_vector() == SentenceEncoder(options, Rng(1), Pooling::cls)(ids).to_vector());
    CHECK(names_of(encoder.parameters())[0] == "transformer.token.weight");
    CHECK(encoder.parameter_count() == Transformer(options, Rng(1)).parameter_count());
    CHECK_THROWS_WITH_AS(BagEncoder({}, Rng(1)), Contains("at least 1"), Error);
    CHECK_THROWS_WITH_AS(bag(labels({1, 2})), Contains("[N,T,D]"), Error);
    CHECK_THROWS_AS(bag(labels({1, 5}).reshape({1, 2})), Error);
  }

  TEST_CASE("sentence encoders: gradients through transformer, bag and each pooling agree with central differences") {
    const Tensor ids = labels({0, 3, 4, 4, 1, 0}).reshape({2, 3}), mask = tensor({1, 1, 1, 1, 1, 0}, {2, 3}, DType::u8);
    for (const Pooling how : {Pooling::mean, Pooling::max, Pooling::cls}) {
      SentenceEncoder encoder({.vocabulary = 5, .width = 4, .heads = 1, .layers = 1, .context = 3}, Rng(1), how);
      check_gradients_of(encoder, ids, [&](const Tensor& x) { return encoder(x, mask); });
      BagEncoder bag({.vocabulary = 5, .width = 3}, Rng(2), how);
      check_gradients(bag, ids);
    }
  }

  TEST_CASE("denoising auto-encoder: what it rebuilds is nearer to the clean points than the damaged ones are") {
    const LeakGuard guard;
    DenoisingAutoencoder model({6, 8, 2}, Rng(1), {.noise = 0.5});
    // Points on a plane in six dimensions.
    const Tensor code = normal({64, 2}, 2), basis = normal({2, 6}, 3);
    const Tensor x = matmul(code, basis);
    fit(model, 400, 1e-2, [&] { return model.loss(x); });
    const Tensor noisy = model.damaged(x);
    const double rebuilt = mse(model(noisy), x).item(), damaged = mse(noisy, x).item();
    CHECK(damaged == doctest::Approx(0.25).epsilon(0.15));
    CHECK(rebuilt < 0.7 * damaged);
    model.eval();
    CHECK(model.loss(x).item() == mse(model(x), x).item());
    check_gradients(model, normal({3, 6}, 4, DType::f64));
    CHECK(names_of(model.parameters()).front() == "encoder.layers.0.weight");
    CHECK(names_of(model.parameters()).back() == "decoder.layers.1.bias");
    CHECK(model.parameter_count() == (6 * 8 + 8) + (8 * 2 + 2) + (2 * 8 + 8) + (8 * 6 + 6));
    CHECK_THROWS_WITH_AS(DenoisingAutoencoder({4, 2}, Rng(1), {.noise = -1}), Contains("noise >= 0"), Error);
    CHECK_THROWS_WITH_AS(DenoisingAutoencoder({4, 2}, Rng(1), {.drop = 1}), Contains("0 <= drop < 1"), Error);
  }

  TEST_CASE(
      "A139 damage: noise of the stated size, coordinates dropped without rescaling, drawn anew but by the seed") {
    const Tensor x = full({50, 40}, 3);
    DenoisingAutoencoder masked({40, 4}, Rng(1), {.noise = 0, .drop = 0.25}), again({40, 4}, Rng(1), masked.options);
    const Values y = masked.damaged(x).to_vector();
    double dropped = 0;
    for (const double v : y) {
      CHECK((v == 0 || v == doctest::Approx(3)));
      dropped += v == 0;
    }
    CHECK(dropped / 2000 == doctest::Approx(0.25).epsilon(0.1));
    CHECK(again.damaged(x).to_vector() == y);
    CHECK(masked.damaged(x).to_vector() != y);
    CHECK(masked.parts().generators.size() > 0);
    DenoisingAutoencoder clean({40, 4}, Rng(1), {.noise = 0});
    CHECK(clean.damaged(x).to_vector() == x.to_vector());
    CHECK(same_bits(masked.parameters(), clean.parameters()));
    CHECK_THROWS_WITH_AS(DenoisingAutoencoder({4, 2}, Rng(1), {.noise = NaN}), Contains("noise >= 0"), Error);
  }
}
