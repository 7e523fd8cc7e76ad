// Plain text for language models: reading it, a default that every Debian machine has, and the part held out for tests.
#pragma once
#include <string>
#include <string_view>

namespace gradus {

// A file, or the files of a folder one after the other: regular files only, no links, no hidden ones, by name.
// Bytes come as they are; what is not UTF-8 is dealt with in vocabulary.h. At most 64 MiB in all.
std::string read_text(const std::string& path);

// The licences in /usr/share/common-licenses (package base-files, so on every Debian and Ubuntu): about 240 kB of
// English in 14 files, many of them versions of each other. They change with the release, so a text to compare results
// across machines must be given as a file.
std::string default_text();

struct TextSplit {
  std::string_view train, held_out;  // into the text that was split, which must live as long
};

// The first nine tenths to train on, the last tenth to test on. Never random: neighbours in a text are too alike.
// A character of several bytes is not cut.
TextSplit split_text(std::string_view text);

}  // namespace gradus
