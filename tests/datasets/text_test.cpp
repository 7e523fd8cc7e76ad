// Texts are read byte for byte, and split without cutting a character.
#include "tutorials/datasets/text.h"

#include <doctest/doctest.h>

#include "engine/error.h"
#include "tests/datasets/temp_folder.h"

using namespace gradus;
using doctest::Contains;

TEST_SUITE("datasets/text") {
  TEST_CASE("a file is read byte for byte") {
    TempFolder folder;
    std::string content("line\r\nzero \0 invalid \xFF\n", 23);
    CHECK(read_text(folder.write("a.txt", content)) == content);
    std::string large(200'000, 'x');
    CHECK(read_text(folder.write("b.txt", large)) == large);
  }

  TEST_CASE("a folder is its regular files by name, without links, hidden files and subfolders") {
    TempFolder folder;
    folder.write("b", "second ");
    folder.write("a", "first ");
    folder.write("c", "third");
    folder.write(".hidden", "hidden");
    std::filesystem::create_symlink(folder.path + "/a", folder.path + "/a-link");
    std::filesystem::create_directory(folder.path + "/sub");
    folder.write("sub/d", "below");
    CHECK(read_text(folder.path) == "first second third");
  }

  TEST_CASE("a missing file, an empty file and an empty folder are told") {
    TempFolder folder;
    CHECK_THROWS_WITH_AS(read_text(folder.path + "/none"), Contains("/none; is it there"), Error);
    CHECK_THROWS_WITH_AS(read_text(folder.write("empty", "")), Contains("/empty is empty"), Error);
    std::filesystem::remove(folder.path + "/empty");
    CHECK_THROWS_WITH_AS(read_text(folder.path), Contains("folder without text"), Error);
  }

  TEST_CASE("a text without end is refused at the limit") {
    if (!std::filesystem::exists("/dev/zero")) return;
    CHECK_THROWS_WITH_AS(read_text("/dev/zero"), Contains("more than 64 MiB"), Error);
  }

  TEST_CASE("nine tenths are for training, one is held out, and nothing is lost") {
    std::string text = "0123456789abcdefghij";
    TextSplit split = split_text(text);
    CHECK(split.train == "0123456789abcdefgh");
    CHECK(split.held_out == "ij");
    CHECK(split_text("").train.empty());
    CHECK(split_text("x").held_out == "x");
  }

  TEST_CASE("the split does not cut a character of several bytes") {
    std::string text = "12345678\xE2\x82\xAC!";  // eight digits, a euro sign of three bytes, a mark: a cut at 10 of 12
    TextSplit split = split_text(text);
    CHECK(split.train == "12345678\xE2\x82\xAC");
    CHECK(split.held_out == "!");
  }

  TEST_CASE("the default text is long and English") {
    if (!std::filesystem::is_directory("/usr/share/common-licenses")) {
      MESSAGE("skipped: no /usr/share/common-licenses here");
      CHECK_THROWS_WITH_AS(default_text(), Contains("--data FILE"), Error);
      return;
    }
    std::string text = default_text();
    CHECK(text.size() > 100'000);
    CHECK(text.find("GNU GENERAL PUBLIC LICENSE") != std::string::npos);
  }
}
