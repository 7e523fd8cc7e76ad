// Every claim (B), erratum (C) and property (D) of the inventory has a test whose name begins with its id, or stands here
// with the reason why it cannot be run.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

namespace {

const std::map<std::string, std::string> not_run = {
    {"C28", "two sources describe the same batch differently in words; there is nothing to compute"},
    {"C42", "calibration of ResNet-50 on ImageNet: neither the model nor the data is at hand"},
    {"C59", "a statement about SpanBERT, a pre-training method; span classifiers are in models/heads"},
    {"C94", "dates of papers"},
    {"C95", "names of programs and of the first convolutional network"},
    {"C96", "the number of lines of a source file"},
};

// The ids in the names of all test cases.
std::set<std::string> tested_ids() {
  namespace fs = std::filesystem;
  const std::regex id("\\b[BCD][0-9]{2,3}\\b");
  std::set<std::string> ids;
  for (const auto& file : fs::recursive_directory_iterator(fs::path(GRADUS_SOURCE_DIR) / "tests")) {
    if (file.path().extension() != ".cpp") continue;
    std::ifstream text(file.path());
    int lines_of_name = 0;  // clang-format may put a long name on the line below
    for (std::string line; std::getline(text, line); --lines_of_name) {
      if (line.find("TEST_CASE(") != std::string::npos) lines_of_name = 2;
      if (lines_of_name <= 0) continue;
      for (std::sregex_iterator found(line.begin(), line.end(), id), end; found != end; ++found)
        ids.insert(found->str());
    }
  }
  return ids;
}

void check_all(char letter, int count, int digits) {
  const std::set<std::string> tested = tested_ids();
  for (int k = 1; k <= count; ++k) {
    std::string number = std::to_string(k);
    const std::string id = letter + std::string(std::size_t(digits) - number.size(), '0') + number;
    const auto reason = not_run.find(id);
    if (reason != not_run.end()) {
      MESSAGE("not run: " << id << ": " << reason->second);
      CHECK_MESSAGE(!tested.contains(id), id, " is tested after all");
    } else {
      CHECK_MESSAGE(tested.contains(id), "no test for ", id);
    }
  }
}

}  // namespace

TEST_SUITE("coverage") {
  TEST_CASE("every claim of table B has a test") { check_all('B', 142, 3); }
  TEST_CASE("every erratum of table C has a test or a reason") { check_all('C', 96, 2); }
  TEST_CASE("every property of section D has a test") { check_all('D', 25, 2); }
}
