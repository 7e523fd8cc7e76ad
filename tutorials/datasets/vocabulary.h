// From text to the numbers that a model reads, and back.
//
//   CharVocabulary chars(train);
//   Tensor ids = chars.encode("to be");    // [5] i64
//   chars.decode(ids);                     // "to be"
//
// A vocabulary is built from training text alone and keeps its most frequent symbols. Number 0 stands for every other
// one, so a text can always be encoded, and decoding shows where something was unknown.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace gradus {

// The first symbol of `rest`, which is shortened by it (and by blanks before a word); empty when there is none left.
//
// A character is a Unicode code point in UTF-8. A byte that belongs to none (a stray one, an overlong form, a cut or
// impossible code point) counts as U+FFFD, the replacement character, so any file can be read.
// A word is a run of letters, digits, apostrophes within it and bytes above ASCII; every other sign is a word of its
// own.
std::string_view take_character(std::string_view& rest);
std::string_view take_word(std::string_view& rest);

class Vocabulary {
 public:
  static constexpr Index unknown = 0;

  Index size() const { return Index(symbols_.size()); }  // with the unknown symbol
  const std::string& symbol(Index id) const;
  Index id(std::string_view symbol) const;     // `unknown` for one that is not in the vocabulary
  Tensor encode(std::string_view text) const;  // [T] i64
  std::string decode(const Tensor& ids) const;

 protected:
  using Take = std::string_view (*)(std::string_view& rest);
  enum class Order { by_count, by_code };
  Vocabulary(std::string_view train, Take take, Order order, Index max_size, std::string unknown_text,
             std::string between);

 private:
  Take take_;
  std::string between_;               // what decode puts between two symbols
  std::vector<std::string> symbols_;  // by id
  std::map<std::string, Index, std::less<>> ids_;
};

// Characters, numbered by code point. Decoding gives back the text, with U+FFFD for what was unknown.
struct CharVocabulary : Vocabulary {
  explicit CharVocabulary(std::string_view train, Index max_size = 512);
};

// Words, numbered by count (the most frequent is 1), equal counts by code. Decoding joins them with blanks.
struct WordVocabulary : Vocabulary {
  explicit WordVocabulary(std::string_view train, Index max_size = 8192);
};

}  // namespace gradus
