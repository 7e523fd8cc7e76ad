// The little JSON that our files need: objects, lists of counts, strings, numbers; written and read by hand, since the
// library depends on nothing but C++.
//
// Reading is strict (RFC 8259): what is not JSON, or not what the caller asked for, is an error that says where.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "engine/dtype.h"

namespace gradus {

std::string json_string(std::string_view text);  // in quotes, escaped; text is UTF-8
std::string json_number(double value);           // the shortest that reads back equal; null for NaN and infinities

// Reads one value after the other:  reader.object([&](std::string key) { ... reader.string() ... });  reader.end();
class JsonReader {
 public:
  // Errors read "[op] file.safetensors: expected ':' at byte 17 of the header".
  JsonReader(std::string_view text, std::string op, std::string where);

  std::string string();
  Index count();  // an integer in 0..2^63-1
  std::vector<Index> counts();
  template <class F> void object(const F& member) {  // member(key) reads the value
    for (bool more = enter('{', '}'); more; more = another('}')) {
      const std::string key = string();
      expect(':');
      member(key);
    }
  }
  void end();  // nothing but white space is left

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  std::string op_, where_;

  char peek();  // the next character that is not white space, 0 at the end
  void expect(char c);
  bool enter(char open, char close);  // false when the list or object is empty
  bool another(char close);
  unsigned hex4();
  std::string escaped();
  [[noreturn]] void wrong(const std::string& wanted) const;
};

}  // namespace gradus
