#include "tutorials/datasets/vocabulary.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace gradus {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD in UTF-8

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool is_letter(char c) {
  auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

// Bytes of the code point at the front of `text`, which is not empty; 0 when it is not valid UTF-8.
//
//   U+0000..007F   0xxxxxxx                   U+0800..FFFF      1110xxxx 10xxxxxx 10xxxxxx
//   U+0080..07FF   110xxxxx 10xxxxxx          U+10000..10FFFF   11110xxx 10xxxxxx 10xxxxxx 10xxxxxx
std::size_t code_point_length(std::string_view text) {
  auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC0 || lead > 0xF7 || text.size() < length) return 0;
  std::uint32_t code = lead & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((text[i] & 0xC0) != 0x80) return 0;
    code = code << 6 | (text[i] & 0x3F);
  }
  constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};  // less would be a longer way to write it
  bool surrogate = code >= 0xD800 && code <= 0xDFFF;               // halves of UTF-16 pairs are no characters
  return code < least[length] || code > 0x10FFFF || surrogate ? 0 : length;
}

std::string_view take_front(std::string_view& rest, std::size_t length) {
  std::string_view front = rest.substr(0, length);
  rest.remove_prefix(length);
  return front;
}

}  // namespace

std::string_view take_character(std::string_view& rest) {
  if (rest.empty()) return {};
  if (std::size_t length = code_point_length(rest)) return take_front(rest, length);
  rest.remove_prefix(1);
  return replacement;
}

std::string_view take_word(std::string_view& rest) {
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
  std::size_t length = 0;
  auto letter_at = [&](std::size_t i) { return i < rest.size() && is_letter(rest[i]); };
  while (letter_at(length) || (length > 0 && letter_at(length + 1) && rest[length] == '\'')) ++length;
  return take_front(rest, std::max(length, std::min(rest.size(), std::size_t(1))));
}

Vocabulary::Vocabulary(std::string_view train, Take take, Order order, Index max_size, std::string unknown_text,
                       std::string between)
    : take_(take), between_(std::move(between)) {
  if (max_size < 2) {
    fail("Vocabulary",
         "max_size is " + std::to_string(max_size) + "; take 2 or more: the unknown symbol and one other");
  }
  using Counted = std::pair<std::string_view, Index>;
  std::unordered_map<std::string_view, Index> counts;
  for (std::string_view rest = train, symbol; !(symbol = take(rest)).empty();) ++counts[symbol];
  std::vector<Counted> kept(counts.begin(), counts.end());
  // A total order, so that the numbers do not depend on how the hash table was laid out. Bytes of UTF-8 compare like
  // code points.
  std::sort(kept.begin(), kept.end(), [](const Counted& a, const Counted& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  kept.resize(std::min(kept.size(), std::size_t(max_size - 1)));
  if (order == Order::by_code) std::sort(kept.begin(), kept.end());

  symbols_.push_back(std::move(unknown_text));
  for (const auto& [symbol, count] : kept) {
    ids_.emplace(symbol, size());
    symbols_.emplace_back(symbol);
  }
}

const std::string& Vocabulary::symbol(Index id) const {
  if (id < 0 || id >= size()) {
    fail("Vocabulary", "there is no symbol " + std::to_string(id) + "; the vocabulary has 0 to " +
                           std::to_string(size() - 1) + ", is it the one that the text was encoded with?");
  }
  return symbols_[std::size_t(id)];
}

Index Vocabulary::id(std::string_view symbol) const {
  auto found = ids_.find(symbol);
  return found == ids_.end() ? unknown : found->second;
}

Tensor Vocabulary::encode(std::string_view text) const {
  std::vector<Index> ids;
  for (std::string_view symbol; !(symbol = take_(text)).empty();) ids.push_back(id(symbol));
  return labels(ids, Device::cpu());
}

std::string Vocabulary::decode(const Tensor& ids) const {
  std::string text;
  for (Index id : ids.span<Index>()) {
    if (!text.empty()) text += between_;
    text += symbol(id);
  }
  return text;
}

CharVocabulary::CharVocabulary(std::string_view train, Index max_size)
    : Vocabulary(train, take_character, Order::by_code, max_size, std::string(replacement), "") {}

WordVocabulary::WordVocabulary(std::string_view train, Index max_size)
    : Vocabulary(train, take_word, Order::by_count, max_size, "<unk>", " ") {}

}  // namespace gradus
