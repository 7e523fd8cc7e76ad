// Checkpoints: everything comes back, bytes are reproducible, and a file that does not fit changes nothing.
#include "models/training_state.h"

#include "engine/backward.h"
#include "models/file.h"
#include "models/mlp.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/datasets/temp_folder.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Contains;

namespace {

// A model and its optimizer after some steps.
struct Run {
  Mlp model;
  Adam adam;
  Rng data{5};

  explicit Run(int steps, std::uint64_t seed = 7)
      : model({3, 4, 2}, Rng(seed), {.dropout = 0.5}), adam(model.parameters(), {.lr = 0.01}) {
    for (int k = 0; k < steps; ++k) step();
  }
  void step() {
    Tape tape;
    backward(sum(square(model(randn({4, 3}, data)))));
    adam.step();
    adam.zero_grad();
  }
  std::vector<Tensor> all() {
    std::vector<Tensor> all = model.parameters();
    for (const Tensor& s : adam.state()) all.push_back(s);
    std::vector<Tensor> copies;
    for (const Tensor& x : all) copies.push_back(x.clone());
    return copies;
  }
  void save(const std::string& path) {
    save_checkpoint(path, model, adam, {.step = 3, .metadata = {{"loss", "focal"}}, .generators = {{"data", &data}}});
  }
  TrainingState load(const std::string& path) { return load_checkpoint(path, model, adam, {{"data", &data}}); }
};

void check_refused(Run& run, const std::string& path, const char* message) {
  const auto before = run.all();
  const auto drop = run.model.dropout.rng.position(), data = run.data.position();
  CHECK_THROWS_WITH_AS(run.load(path), Contains(message), Error);
  CHECK(same_bits(before, run.all()));
  CHECK(run.model.dropout.rng.position() == drop);
  CHECK(run.data.position() == data);
}

}  // namespace

TEST_SUITE("models/training_state") {
  TEST_CASE("a run that is loaded continues with the same bits, dropout and data included") {
    const LeakGuard guard;
    const TempFolder folder;
    const std::string path = folder.path + "/run.safetensors";
    Run a(3), b(0, 99);
    a.save(path);
    const TrainingState state = b.load(path);
    CHECK(state.step == 3);
    CHECK(state.metadata == Metadata{{"loss", "focal"}});
    CHECK(same_bits(a.all(), b.all()));
    a.step(), b.step();
    CHECK(same_bits(a.all(), b.all()));
  }

  TEST_CASE("equal states give equal bytes") {
    const TempFolder folder;
    Run a(3), b(3);
    a.save(folder.path + "/a");
    b.save(folder.path + "/b");
    CHECK(read_file("test", folder.path + "/a") == read_file("test", folder.path + "/b"));
  }

  TEST_CASE("the file says what it holds, in names that other programs can read") {
    const TempFolder folder;
    Run(1).save(folder.path + "/a");
    const Safetensors file = read_safetensors(folder.path + "/a");
    CHECK(file.metadata.at("format") == "gradus-checkpoint-1");
    CHECK(file.metadata.at("optimizer") == "Adam");
    const auto names = names_of(file.tensors);
    for (const char* name :
         {"model.layers.0.weight", "optimizer.step", "optimizer.exp_avg.3", "rng.data", "rng.dropout.rng"}) {
      CHECK_MESSAGE(std::find(names.begin(), names.end(), name) != names.end(), name);
    }
  }

  TEST_CASE("a checkpoint that does not fit is refused, and nothing changes") {
    const TempFolder folder;
    const std::string path = folder.path + "/run";
    Run run(2);

    Mlp wide({3, 5, 2}, Rng(1)), deep({3, 4, 4, 2}, Rng(1)), shallow({3, 2}, Rng(1));
    for (Mlp* other : {&wide, &deep, &shallow}) {
      Adam adam(other->parameters());
      save_checkpoint(path, *other, adam, {.generators = {{"data", &run.data}}});
      const char* expected = other == &wide   ? "does not fit 'model.layers.0.weight' f32 [4,3]"
                             : other == &deep ? "does not fit 'model.layers.1.weight' f32 [2,4]"
                                              : "does not fit 'model.layers.0.weight' f32 [4,3]";
      check_refused(run, path, expected);
    }

    Run same(1);
    Sgd sgd(same.model.parameters());
    save_checkpoint(path, same.model, sgd, {.generators = {{"data", &run.data}}});
    check_refused(run, path, "was saved with Sgd, but this run uses Adam");

    save_checkpoint(path, same.model, same.adam);
    check_refused(run, path, "there is no 'rng.data'");

    save_checkpoint(path, same.model, same.adam, {.generators = {{"data", &run.data}, {"more", &run.data}}});
    check_refused(run, path, "no place for 'rng.more'");

    same.model.to(DType::f64);
    save_checkpoint(path, same.model, same.adam, {.generators = {{"data", &run.data}}});
    check_refused(run, path, "f64 [4,3] does not fit");

    save_parameters(path, run.model);
    check_refused(run, path, "not a checkpoint of a training run");
    check_refused(run, folder.path + "/absent", "No such file");
  }

  TEST_CASE("a truncated checkpoint is refused wherever it is cut, and nothing changes") {
    const TempFolder folder;
    Run run(2);
    run.save(folder.path + "/run");
    const std::string whole = read_file("test", folder.path + "/run");
    run.step();
    for (std::size_t n = 0; n < whole.size(); n += 97) {
      check_refused(run, folder.write("cut", whole.substr(0, n)), "[read_safetensors]");
    }
  }

  TEST_CASE("metadata may not replace the checkpoint's own") {
    const TempFolder folder;
    Run run(0);
    CHECK_THROWS_WITH_AS(save_checkpoint(folder.path + "/x", run.model, run.adam, {.metadata = {{"step", "1"}}}),
                         Contains("metadata 'step'"), Error);
  }

  TEST_CASE("parameters alone travel under their own names") {
    const TempFolder folder;
    const std::string path = folder.path + "/x";
    Run a(2), b(0, 99);
    save_parameters(path, a.model);
    CHECK(names_of(read_safetensors(path).tensors)[0] == "layers.0.bias");
    load_parameters(path, b.model);
    CHECK(same_bits(a.model.parameters(), b.model.parameters()));
    Mlp other({3, 5, 2}, Rng(1));
    CHECK_THROWS_WITH_AS(load_parameters(path, other), Contains("does not fit"), Error);
  }
}
