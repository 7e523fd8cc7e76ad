#include "models/json.h"

#include <charconv>
#include <cmath>

namespace gradus {
namespace {

std::string utf8(unsigned code) {
  const auto tail = [code](int shift) { return char(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) return {char(code)};
  if (code < 0x800) return {char(0xc0 | (code >> 6)), tail(0)};
  if (code < 0x10000) return {char(0xe0 | (code >> 12)), tail(6), tail(0)};
  return {char(0xf0 | (code >> 18)), tail(12), tail(6), tail(0)};
}

}  // namespace

std::string json_string(std::string_view text) {
  constexpr auto digits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c >= 0 && c < 0x20) {
      out += {'\\', 'u', '0', '0', digits[c / 16], digits[c % 16]};
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

JsonReader::JsonReader(std::string_view text, std::string op, std::string where)
    : text_(text), op_(std::move(op)), where_(std::move(where)) {}

void JsonReader::wrong(const std::string& wanted) const {
  fail(op_, where_ + ": expected " + wanted + " at byte " + std::to_string(at_) + " of the header");
}

char JsonReader::peek() {
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

void JsonReader::expect(char c) {
  if (peek() != c) wrong(std::string("'") + c + "'");
  ++at_;
}

bool JsonReader::enter(char open, char close) {
  expect(open);
  if (peek() != close) return true;
  ++at_;
  return false;
}

bool JsonReader::another(char close) {
  if (peek() == ',') {
    ++at_;
    return true;
  }
  expect(close);
  return false;
}

unsigned JsonReader::hex4() {
  unsigned code = 0;
  const std::string_view digits = text_.substr(at_, 4);
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (digits.size() < 4 || read.ec != std::errc() || read.ptr != digits.data() + 4) wrong("four hexadecimal digits");
  at_ += 4;
  return code;
}

// What stands after a backslash. Characters beyond 16 bits are written as two: \ud83d\ude00.
std::string JsonReader::escaped() {
  constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
  const char c = at_ < text_.size() ? text_[at_] : '\0';
  if (const std::size_t k = letters.find(c); c && k != std::string_view::npos) {
    ++at_;
    return {meanings[k]};
  }
  if (c != 'u') wrong("an escape");
  ++at_;
  const unsigned code = hex4();
  if (code < 0xd800 || code > 0xdfff) return utf8(code);
  if (code > 0xdbff || text_.substr(at_, 2) != "\\u") wrong("a pair of surrogates");
  at_ += 2;
  const unsigned low = hex4();
  if (low < 0xdc00 || low > 0xdfff) wrong("a pair of surrogates");
  return utf8(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
}

std::string JsonReader::string() {
  expect('"');
  std::string out;
  for (; at_ < text_.size() && text_[at_] != '"';) {
    const char c = text_[at_];
    if (c >= 0 && c < 0x20) wrong("no control character in a string");
    ++at_;
    out += c == '\\' ? escaped() : std::string(1, c);
  }
  if (at_ == text_.size()) wrong("the end of a string");
  ++at_;
  return out;
}

Index JsonReader::count() {
  const char first = peek();
  Index value = 0;
  const auto read = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
  const auto length = std::size_t(read.ptr - (text_.data() + at_));
  const bool whole = first >= '0' && first <= '9' && read.ec == std::errc() && (first != '0' || length == 1);
  if (!whole) wrong("a count");
  at_ += length;
  return value;
}

std::vector<Index> JsonReader::counts() {
  std::vector<Index> list;
  for (bool more = enter('[', ']'); more; more = another(']')) list.push_back(count());
  return list;
}

void JsonReader::end() {
  if (peek() || at_ < text_.size()) wrong("the end");
}

}  // namespace gradus
