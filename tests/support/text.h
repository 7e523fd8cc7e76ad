// Messages are tested by what they must say, not by every letter.
#pragma once
#include <doctest/doctest.h>

#include <string>

inline void check_contains(const std::string& text, const std::string& part) {
  CHECK_MESSAGE(text.find(part) != std::string::npos, "\"" << text << "\" does not contain \"" << part << "\"");
}
