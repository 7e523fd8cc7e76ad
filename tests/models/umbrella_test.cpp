// <gradus.h> holds the library: the 15 lines of the front page compile and run, and no public header is missing.
#include <doctest/doctest.h>
#include <gradus.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

using namespace gradus;

TEST_SUITE("models/umbrella") {
  TEST_CASE("the front page's program trains") {
    Mlp model({64, 128, 10}, Rng(7));
    Adam adam(model.parameters(), {.lr = 1e-3});
    Rng rng(1);
    const Tensor x = randn({32, 64}, rng), y = randint(10, {32}, rng);
    double first = 0, last = 0;
    for (int step = 0; step < 30; ++step) {
      Tape tape;
      Tensor loss = cross_entropy(model(x), y);
      backward(loss);
      adam.step();
      adam.zero_grad();
      (step == 0 ? first : last) = loss.item();
    }
    CHECK(last < first / 2);
  }

  TEST_CASE("every header that announces losses stands in the registry, with its line in the table") {
    namespace fs = std::filesystem;
    const fs::path root = GRADUS_SOURCE_DIR;
    std::stringstream registry;
    registry << std::ifstream(root / "losses/registry.h").rdbuf();
    int found = 0;
    for (const auto& file : fs::recursive_directory_iterator(root / "losses")) {
      if (file.path().extension() != ".h") continue;
      std::ifstream text(file.path());
      for (std::string line; std::getline(text, line);) {
        const auto end = line.find("_losses();");
        if (!line.starts_with("Losses ") || end == std::string::npos) continue;
        ++found;
        const std::string name = fs::relative(file, root).string();
        const std::string function = line.substr(7, end);  // between "Losses " and "();"
        CHECK_MESSAGE(registry.str().find("\"" + name + "\"") != std::string::npos, name);
        CHECK_MESSAGE(registry.str().find("    " + function + ",") != std::string::npos, function);
      }
    }
    CHECK(found > 60);
  }

  TEST_CASE("every header of ops and models is included, but for those that only build others") {
    namespace fs = std::filesystem;
    const fs::path root = GRADUS_SOURCE_DIR;
    std::stringstream umbrella;
    umbrella << std::ifstream(root / "models/include/gradus.h").rdbuf();
    const std::set<std::string> internal = {"ops/elementwise.h",
                                            "ops/attention_tiles.h",
                                            "ops/attention_device.h",
                                            "ops/add_rows.h",
                                            "ops/form.h",
                                            "ops/launch.h",
                                            "ops/rows.h",
                                            "ops/strided.h",
                                            "ops/vector_math.h",
                                            "models/file.h",
                                            "models/init.h",
                                            "models/json.h",
                                            "models/fused_update.h",
                                            "models/report.h",
                                            "models/progress.h",
                                            "models/include/gradus.h"};
    for (const char* folder : {"ops", "models"}) {
      for (const auto& file : fs::recursive_directory_iterator(root / folder)) {
        const std::string name = fs::relative(file, root).string();
        if (file.path().extension() != ".h" || internal.count(name)) continue;
        CHECK_MESSAGE(umbrella.str().find("\"" + name + "\"") != std::string::npos, name);
      }
    }
  }
}
