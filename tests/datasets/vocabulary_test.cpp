// Vocabularies: encoding and decoding are inverse, numbers are stable, and no text can break them.
#include "tutorials/datasets/vocabulary.h"

#include <doctest/doctest.h>

using namespace gradus;

namespace {

using Strings = std::vector<std::string>;

Strings all(std::string_view (*take)(std::string_view&), std::string_view text) {
  Strings symbols;
  for (std::string_view symbol; !(symbol = take(text)).empty();) symbols.emplace_back(symbol);
  return symbols;
}

const std::string fffd = "\xEF\xBF\xBD";

}  // namespace

TEST_SUITE("datasets/vocabulary") {
  TEST_CASE("characters are code points") {
    CHECK(all(take_character, "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\n") ==
          Strings{"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\n"});
    CHECK(all(take_character, std::string_view("\0x", 2)) == Strings{std::string(1, '\0'), "x"});
  }

  TEST_CASE("the first and last code points of every length are characters") {
    for (std::string text : {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                             "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
      CHECK(all(take_character, text) == Strings{text});
    }
  }

  TEST_CASE("every byte that is not UTF-8 becomes one replacement character") {
    CHECK(all(take_character, "a\xFFz") == Strings{"a", fffd, "z"});
    CHECK(all(take_character, "\x80") == Strings{fffd});                      // a continuation without a start
    CHECK(all(take_character, "\xE2\x82") == Strings{fffd, fffd});            // cut at the end of the text
    CHECK(all(take_character, "\xE2\x82z") == Strings{fffd, fffd, "z"});      // cut by another character
    CHECK(all(take_character, "\xC0\xAF") == Strings{fffd, fffd});            // '/' written too long
    CHECK(all(take_character, "\xE0\x9F\xBF") == Strings{fffd, fffd, fffd});  // too long again
    CHECK(all(take_character, "\xED\xA0\x80") == Strings{fffd, fffd, fffd});  // a surrogate
    CHECK(all(take_character, "\xF4\x90\x80\x80") == Strings{fffd, fffd, fffd, fffd});  // above U+10FFFF
    CHECK(all(take_character, "\xF8\x80") == Strings{fffd, fffd});
  }

  TEST_CASE("words keep apostrophes inside, and other signs stand alone") {
    CHECK(all(take_word, "  It's 42, isn't it?\n'Yes' caf\xC3\xA9--") ==
          Strings{"It's", "42", ",", "isn't", "it", "?", "'", "Yes", "'", "caf\xC3\xA9", "-", "-"});
    CHECK(all(take_word, " \t\n").empty());
  }

  TEST_CASE("characters decode to the very text they came from") {
    std::string text =
        "Zwei Stra\xC3\x9F"
        "en,\n\xE2\x82\xAC 5";
    CharVocabulary vocabulary(text);
    Tensor ids = vocabulary.encode(text);
    CHECK(ids.dtype() == DType::i64);
    CHECK(ids.shape() == Shape{17});
    CHECK(vocabulary.decode(ids) == text);
  }

  TEST_CASE("words decode to the text with one blank between words") {
    std::string text = "the cat , the dog";
    WordVocabulary vocabulary(text);
    CHECK(vocabulary.decode(vocabulary.encode("the  cat,\nthe dog")) == text);
  }

  TEST_CASE("characters are numbered by code point, words by count and then by code") {
    CharVocabulary chars("banana\xC3\xA9");
    CHECK(chars.encode("abn\xC3\xA9").to_vector() == std::vector<double>{1, 2, 3, 4});
    WordVocabulary words("b a c a b a d");
    CHECK(words.encode("a b c d").to_vector() == std::vector<double>{1, 2, 3, 4});
  }

  TEST_CASE("a full vocabulary keeps the most frequent symbols, the rest is unknown") {
    CharVocabulary chars("aaabbc", 3);
    CHECK(chars.size() == 3);
    CHECK(chars.encode("abcd").to_vector() == std::vector<double>{1, 2, 0, 0});
    CHECK(chars.decode(chars.encode("abc")) == "ab" + fffd);
    WordVocabulary words("one two two", 2);
    CHECK(words.decode(words.encode("one two")) == "<unk> two");
  }

  TEST_CASE("a vocabulary can be copied and outlives its text") {
    Vocabulary copy = [] {
      std::string text = "a word longer-than-any-small-string-is-stored";
      return Vocabulary(WordVocabulary(text));
    }();
    CHECK(copy.decode(copy.encode("a word longer")) == "a word longer");
  }

  TEST_CASE("an empty text has an empty encoding, and every symbol is unknown to its vocabulary") {
    CharVocabulary vocabulary("");
    CHECK(vocabulary.size() == 1);
    CHECK(vocabulary.encode("").numel() == 0);
    CHECK(vocabulary.decode(vocabulary.encode("")).empty());
    CHECK(vocabulary.id("a") == Vocabulary::unknown);
  }

  TEST_CASE("an impossible id and an impossible size are told") {
    CharVocabulary vocabulary("ab");
    CHECK_THROWS_WITH_AS(vocabulary.decode(labels({3})), doctest::Contains("no symbol 3; the vocabulary has 0 to 2"),
                         Error);
    CHECK_THROWS_WITH_AS(vocabulary.symbol(-1), doctest::Contains("no symbol -1"), Error);
    CHECK_THROWS_WITH_AS(CharVocabulary("ab", 1), doctest::Contains("max_size is 1"), Error);
  }
}
