// n-gram models: a case small enough for a pencil, probabilities that sum to 1, and the baselines on the default text.
#include "tutorials/datasets/ngram.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "engine/random.h"
#include "tutorials/datasets/text.h"
#include "tutorials/datasets/vocabulary.h"

using namespace gradus;
using doctest::Approx;

namespace {

const Index a = 1, b = 2, other = 0;

}  // namespace

TEST_SUITE("datasets/ngram") {
  // The text "a b a b b" over the vocabulary {other, a, b}.
  TEST_CASE("the unigram is the one computed by hand") {
    Ngram model(labels({a, b, a, b, b}), 3, 0);
    // n = 5 symbols, T = 2 different ones, below them 1/3 each.
    CHECK(model.probability(labels({a})) == Approx((2 + 2 / 3.0) / 7));
    CHECK(model.probability(labels({b})) == Approx((3 + 2 / 3.0) / 7));
    CHECK(model.probability(labels({other})) == Approx((0 + 2 / 3.0) / 7));
    CHECK(model.probability(labels({b, a, a})) == Approx((2 + 2 / 3.0) / 7));  // order 0 looks at nothing before
  }

  TEST_CASE("the bigram is the one computed by hand") {
    Ngram model(labels({a, b, a, b, b}), 3, 1);
    const double p_a = 8 / 21.0, p_b = 11 / 21.0;                       // the unigram
    CHECK(model.probability(labels({a})) == Approx(p_a));               // nothing before it
    CHECK(model.probability(labels({a, b})) == Approx((2 + p_b) / 3));  // a: n = 2, always b, so T = 1
    CHECK(model.probability(labels({a, a})) == Approx((0 + p_a) / 3));
    CHECK(model.probability(labels({b, a})) == Approx((1 + 2 * p_a) / 4));  // b: n = 2, once a, once b, so T = 2
    CHECK(model.probability(labels({other, b})) == Approx(p_b));            // never seen before anything
    double bits = -(std::log2(p_a) + std::log2((2 + p_b) / 3)) / 2;
    CHECK(model.bits_per_symbol(labels({a, b})) == Approx(bits));
  }

  TEST_CASE("after every context the probabilities sum to 1") {
    Rng rng(3);
    Tensor text = randint(4, {200}, rng);
    for (int order : {0, 1, 2, 3, 5}) {
      Ngram model(text, 5, order);  // symbol 4 never occurs
      for (int trial = 0; trial < 20; ++trial) {
        std::vector<Index> ids(6);
        for (Index& id : ids) id = rng.index(5);
        double sum = 0;
        for (ids.back() = 0; ids.back() < 5; ++ids.back()) sum += model.probability(labels(ids));
        CHECK(sum == Approx(1).epsilon(1e-12));
      }
    }
  }

  TEST_CASE("a periodic text costs a bigram next to nothing, and the unigram one bit") {
    std::vector<Index> text(1000);
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = i % 2 ? a : b;
    CHECK(Ngram(labels(text), 3, 0).bits_per_symbol(labels(text)) == Approx(1).epsilon(0.01));
    CHECK(Ngram(labels(text), 3, 1).bits_per_symbol(labels(text)) < 0.01);
  }

  TEST_CASE("an empty text, a foreign symbol and an impossible order are told") {
    CHECK_THROWS_WITH_AS(Ngram(labels({}), 3, 1), doctest::Contains("the text is empty"), Error);
    CHECK_THROWS_WITH_AS(Ngram(labels({3}), 3, 1), doctest::Contains("symbol 3 is outside the vocabulary of 3"), Error);
    CHECK_THROWS_WITH_AS(Ngram(labels({1}), 3, -1), doctest::Contains("order is -1"), Error);
    CHECK_THROWS_WITH_AS(Ngram(labels({1}), 3, 1).bits_per_symbol(labels({-1})), doctest::Contains("symbol -1"), Error);
  }

  // With the licences of Debian 12: 5.02, 3.95, 2.99, 2.48 and 2.35 bits per character.
  TEST_CASE("on the default text each order up to 4 beats the one before") {
    if (!std::filesystem::is_directory("/usr/share/common-licenses")) {
      MESSAGE("skipped: no /usr/share/common-licenses here");
      return;
    }
    std::string text = default_text();
    TextSplit split = split_text(text);
    CharVocabulary vocabulary(split.train);
    Tensor train = vocabulary.encode(split.train), held_out = vocabulary.encode(split.held_out);
    std::vector<double> bits;
    for (int order = 0; order <= 4; ++order) {
      bits.push_back(Ngram(train, vocabulary.size(), order).bits_per_symbol(held_out));
      if (order > 0) CHECK(bits[std::size_t(order)] < bits[std::size_t(order) - 1]);
    }
    CHECK(bits[0] == Approx(5.02).epsilon(0.05));
    CHECK(bits[3] == Approx(2.48).epsilon(0.1));
  }
}
