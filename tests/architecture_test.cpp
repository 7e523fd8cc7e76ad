// The rules of the source tree, read from the tree itself: which folder may include which, that every file says what it is,
// that no op goes unchecked.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "losses/loss.h"
#include "tests/support/op_case.h"

using namespace gradus;
namespace fs = std::filesystem;

namespace {

using Names = std::set<std::string>;

struct Source {
  std::string path;  // "ops/math.cpp"
  std::vector<std::string> lines;
  std::string folder() const { return path.substr(0, path.find('/')); }
  bool is_header() const { return path.ends_with(".h"); }
};

Source read(const fs::path& file) {
  Source source{fs::relative(file, GRADUS_SOURCE_DIR).generic_string(), {}};
  std::ifstream text(file);
  for (std::string line; std::getline(text, line);) source.lines.push_back(line);
  return source;
}

// The files below `folders` with one of the endings, by path.
std::vector<Source> sources(const Names& folders, const Names& endings = {".h", ".cpp", ".cuh", ".cu"}) {
  std::map<std::string, Source> found;
  for (const std::string& folder : folders) {
    const fs::path root = fs::path(GRADUS_SOURCE_DIR) / folder;
    if (!fs::exists(root)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file() || !endings.contains(entry.path().extension().string())) continue;
      Source source = read(entry.path());
      found.emplace(source.path, std::move(source));
    }
  }
  std::vector<Source> out;
  for (auto& [path, source] : found) out.push_back(std::move(source));
  return out;
}

// The texts in quotes behind `before`, line by line of code; comments do not count.
std::vector<std::string> quoted_after(const Source& source, const std::string& before) {
  std::vector<std::string> out;
  for (const std::string& line : source.lines) {
    const auto start = line.find(before);
    if (start == std::string::npos || line.find("//") < start) continue;
    for (auto open = line.find('"', start + before.size()); open != std::string::npos;) {
      const auto close = line.find('"', open + 1);
      out.push_back(line.substr(open + 1, close - open - 1));
      open = line.find('"', close + 1);
    }
  }
  return out;
}

bool opens_with_comment(const Source& source) { return !source.lines.empty() && source.lines[0].starts_with("//"); }

const Names library = {"engine", "ops", "losses", "models"};
const Names everything = {"engine", "ops", "losses", "models", "cuda", "tutorials", "tests"};

// Digits as numbers are data, not text.
bool is_data(const Source& source) { return source.path == "tutorials/datasets/digits_data.cpp"; }

// As functors and ops state them; max and min share a line.
Names names_of_ops() {
  Names names;
  for (const Source& source : sources({"engine", "ops", "losses"})) {
    for (const char* before : {"constexpr auto name = ", "name() const override { return "}) {
      for (std::string& name : quoted_after(source, before)) names.insert(std::move(name));
    }
  }
  names.erase("cpu");  // a device
  return names;
}

void note_nodes(const TensorFunction& f, const std::vector<Tensor>& inputs, DType dtype, Names& names) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : inputs) {
    leaves.push_back(is_floating(x.dtype()) ? x.to(dtype).clone().requires_grad_() : x);
  }
  Tape tape;
  const Tensor y = f(leaves);
  for (const Node& node : tape.nodes()) names.insert(node.what);
}

void note_nodes(const LossInfo& info, const LossSample& sample, Form form, Names& names) {
  if (form == Form::definition && (sample.extreme || !info.has_definition)) return;
  Inputs inputs;
  for (const auto& [name, x] : sample.inputs) {
    if (x) inputs[name] = is_floating(x.dtype()) ? x.clone().requires_grad_() : x;
  }
  Tape tape;
  const Tensor y = info.run(arguments_for(info, inputs, sample.options, form));
  for (const Node& node : tape.nodes()) names.insert(node.what);
}

}  // namespace

TEST_SUITE("architecture") {
  TEST_CASE("includes point downwards: engine, ops, losses, models, then everything else") {
    const std::map<std::string, Names> may_include = {
        {"engine", {"engine"}},
        {"ops", {"engine", "ops"}},
        {"losses", {"engine", "ops", "losses"}},
        {"models", {"engine", "ops", "losses", "models"}},
        {"cuda", {"engine", "ops", "cuda"}},
        {"tutorials", {"engine", "ops", "losses", "models", "cuda", "tutorials"}},
    };
    for (const auto& [folder, allowed] : may_include) {
      for (const Source& source : sources({folder})) {
        for (const std::string& target : quoted_after(source, "#include ")) {
          if (source.path == "ops/launch.h" && target == "cuda/launch.cuh") continue;  // kernels come in here only
          if (source.path == "ops/sort.cpp" && target == "cuda/sort.h")
            continue;  // and sorting, which is no kernel of ours
          CHECK_MESSAGE(allowed.contains(target.substr(0, target.find('/'))), source.path, " includes ", target);
        }
      }
    }
  }

  TEST_CASE("every file opens with a comment that says what it is, a .cpp may leave that to its header") {
    for (const Source& source : sources({"engine", "ops", "losses", "models", "cuda", "tutorials"})) {
      const bool printed_in_readme = fs::path(source.path).parent_path() == "tutorials";
      if (opens_with_comment(source) || printed_in_readme) continue;
      const fs::path header = (fs::path(GRADUS_SOURCE_DIR) / source.path).replace_extension(".h");
      const bool header_says = !source.is_header() && fs::exists(header) && opens_with_comment(read(header));
      CHECK_MESSAGE(header_says, source.path);
    }
  }

  TEST_CASE("every op is gradient-checked: its name occurs on the tape of a case or of a loss sample") {
    Names recorded;
    for (const OpCase& c : op_cases()) {
      for (const DType dtype : {DType::f32, DType::f64}) note_nodes(c.f, c.inputs, dtype, recorded);
    }
    Rng rng(1);
    for (const LossInfo& info : all_losses()) {
      for (const LossSample& sample : info.samples(rng)) {
        for (const Form form : {Form::closed, Form::definition}) note_nodes(info, sample, form, recorded);
      }
    }
    const Names written = names_of_ops();
    CHECK(written.size() > 60);
    for (const std::string& name : written) {
      if (name == "to_device") continue;  // needs a second device: tests/cuda/device_test.cpp
      CHECK_MESSAGE(recorded.contains(name), "no case for ", name);
    }
  }

  TEST_CASE("a file is one idea: more than 300 lines are listed, more than 400 are an error") {
    for (const Source& source : sources(everything)) {
      if (is_data(source) || source.lines.size() <= 300) continue;
      MESSAGE(source.path << " has " << source.lines.size() << " lines");
      CHECK(source.lines.size() <= 400);
    }
  }

  TEST_CASE("the library defines one macro, HD, and guards its headers by pragma once") {
    for (const Source& source : sources(library)) {
      for (const std::string& line : source.lines) {
        const bool defines = line.find_first_not_of(" #") == line.find("define ") && line.starts_with('#');
        if (defines) CHECK_MESSAGE(line.starts_with("#define HD"), source.path, ": ", line);
      }
      const auto is_guard = [](const std::string& line) { return line == "#pragma once"; };
      if (source.is_header())
        CHECK_MESSAGE(std::any_of(source.lines.begin(), source.lines.end(), is_guard), source.path);
    }
  }

  TEST_CASE("no name of a test case holds a semicolon, and brackets close: ctest would split it, and run nothing") {
    for (const Source& source : sources({"tests"}, {".cpp"})) {
      for (std::size_t i = 0; i + 1 < source.lines.size(); ++i) {
        const std::string& line = source.lines[i];
        if (!line.starts_with("  TEST_CASE(") && !line.starts_with("TEST_CASE(")) continue;
        const std::string& name = line.ends_with("(") ? source.lines[i + 1] : line;  // a long one stands below
        CHECK_MESSAGE(name.substr(0, name.rfind('"')).find(';') == std::string::npos, source.path, ": ", name);
        CHECK_MESSAGE(std::count(name.begin(), name.end(), '[') == std::count(name.begin(), name.end(), ']'),
                      source.path, ": ", name);
      }
    }
  }

  TEST_CASE("nothing refers to a place outside the repository") {
    const std::string outside[] = {std::string("../") + "shared", std::string("/work/") + "shared"};
    const Names texts = {".h", ".cpp", ".cuh", ".cu", ".md", ".txt", ".sh", ".py", ".cmake", ".json", ".yml"};
    std::vector<Source> all = sources(everything, texts);
    for (const auto& entry : fs::directory_iterator(GRADUS_SOURCE_DIR)) {
      if (entry.is_regular_file()) all.push_back(read(entry.path()));
    }
    for (const Source& source : all) {
      for (const std::string& line : source.lines) {
        for (const std::string& place : outside) {
          CHECK_MESSAGE(line.find(place) == std::string::npos, source.path, ": ", line);
        }
      }
    }
  }
}
