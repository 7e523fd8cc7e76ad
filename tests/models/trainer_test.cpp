// The training loop: it learns, reports, stops, resumes with the same bits, and refuses what cannot work before it starts.
#include "models/trainer.h"

#include <csignal>
#include <filesystem>

#include "losses/softmax/cross_entropy.h"
#include "models/file.h"
#include "models/mlp.h"
#include "models/progress.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/datasets/temp_folder.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Approx;
using doctest::Contains;

namespace {

// Exclusive or, the smallest task that needs a hidden layer.
const Tensor& xor_x() {
  static const Tensor x = tensor({0, 0, 0, 1, 1, 0, 1, 1}, {4, 2});
  return x;
}
const Tensor& xor_y() {
  static const Tensor y = labels({0, 1, 1, 0});
  return y;
}

struct Task {
  Mlp model;
  Adam adam;
  explicit Task(double dropout = 0)
      : model({2, 16, 2}, Rng(7), {.dropout = dropout}), adam(model.parameters(), {.lr = 0.02}) {}

  TrainResult train(TrainOptions options) {
    options.quiet = true;
    const auto loss = [&](Index) { return cross_entropy(model(xor_x()), xor_y()); };
    const auto evaluate = [&]() -> Metrics {
      CHECK(!model.training);
      return {{"loss", cross_entropy(model(xor_x()), xor_y()).item()}};
    };
    return gradus::train(model, adam, loss, options, evaluate);
  }
};

double warm(Index step) { return warmup_cosine(step, 5, 30); }

std::string content(const std::string& path) { return read_file("test", path); }

}  // namespace

TEST_SUITE("models/trainer") {
  TEST_CASE("exclusive or is learnt") {
    xor_x(), xor_y();
    const LeakGuard guard;
    Task task;
    const TrainResult result = task.train({.steps = 200});
    CHECK(result.steps == 200);
    CHECK(result.loss < 0.02);
    CHECK(result.metrics[0].second < 0.02);
    CHECK(!result.interrupted);
    CHECK(task.adam.lr() == 0.02);
  }

  TEST_CASE("a run that was cut in three and resumed ends with the bits of one that was not") {
    const TempFolder folder;
    const auto options = [&](Index steps, const std::string& name) {
      return TrainOptions{.steps = steps,
                          .schedule = warm,
                          .clip_norm = 1,
                          .eval_every = 4,
                          .save_every = 7,
                          .save = folder.path + "/" + name + ".safetensors",
                          .report = folder.path + "/" + name};
    };
    Task whole(0.3);
    whole.train(options(30, "whole"));

    Task first(0.3);
    first.train(options(12, "part"));
    for (const Index steps : {20, 30}) {
      Task next(0.3);
      TrainOptions resumed = options(steps, "part");
      resumed.resume = resumed.save;
      next.train(resumed);
      if (steps == 30) CHECK(same_bits(whole.model.parameters(), next.model.parameters()));
    }
    CHECK(content(folder.path + "/whole.safetensors") == content(folder.path + "/part.safetensors"));
    CHECK(content(folder.path + "/whole/metrics.csv") == content(folder.path + "/part/metrics.csv"));
    CHECK(content(folder.path + "/whole/evaluation.csv") == content(folder.path + "/part/evaluation.csv"));
  }

  TEST_CASE("a run that died between checkpoints takes its tables back to the last one") {
    const TempFolder folder;
    const TrainOptions options{
        .steps = 9, .save_every = 5, .save = folder.path + "/x", .report = folder.path + "/report", .quiet = true};
    Task whole, died, resumed;
    whole.train(options);
    const std::string expected = content(folder.path + "/report/metrics.csv"), bytes = content(folder.path + "/x");

    const auto dies = [&](Index step) {
      if (step == 7) fail("test", "power cut");
      return cross_entropy(died.model(xor_x()), xor_y());
    };
    CHECK_THROWS_AS(train(died.model, died.adam, dies, options), Error);
    CHECK(content(folder.path + "/report/metrics.csv").find("\n7,") != std::string::npos);

    TrainOptions again = options;
    again.resume = again.save;
    resumed.train(again);
    CHECK(content(folder.path + "/report/metrics.csv") == expected);
    CHECK(content(folder.path + "/x") == bytes);
  }

  TEST_CASE("a finished run that is resumed only evaluates again, and its tables stay") {
    const TempFolder folder;
    TrainOptions options{.steps = 3, .save = folder.path + "/x", .report = folder.path + "/r"};
    Task a, b;
    a.train(options);
    const std::string table = content(folder.path + "/r/evaluation.csv");
    options.resume = options.save;
    const TrainResult result = b.train(options);
    CHECK(result.steps == 3);
    CHECK(result.metrics.size() == 1);
    CHECK(std::isnan(result.loss));
    CHECK(content(folder.path + "/r/evaluation.csv") == table);
  }

  TEST_CASE("the report holds a row for each step, the evaluations, and a summary") {
    const TempFolder folder;
    Task task;
    const TrainResult result = task.train({.steps = 6, .eval_every = 2, .report = folder.path + "/a/b"});
    const std::string metrics = content(folder.path + "/a/b/metrics.csv");
    CHECK(metrics.starts_with("step,loss,lr,grad_norm\n1,0."));
    CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 7);
    const std::string evaluation = content(folder.path + "/a/b/evaluation.csv");
    CHECK(evaluation.starts_with("step,metric,value\n2,loss,0."));
    CHECK(std::count(evaluation.begin(), evaluation.end(), '\n') == 4);
    const std::string summary = content(folder.path + "/a/b/summary.json");
    CHECK(summary.starts_with("{\"steps\":6,\"loss\":0."));
    CHECK(summary.find("\"metrics\":{\"loss\":0.") != std::string::npos);
    CHECK(result.seconds > 0);
  }

  TEST_CASE("Ctrl-C stops after the step, with a checkpoint from which the run continues") {
    const TempFolder folder;
    TrainOptions options{.steps = 10, .save = folder.path + "/x", .quiet = true};
    Task whole, task, resumed;
    whole.train(options);
    const std::string bytes = content(options.save);

    const auto interrupted = [&](Index step) {
      if (step == 4) std::raise(SIGINT);
      return cross_entropy(task.model(xor_x()), xor_y());
    };
    const TrainResult result = train(task.model, task.adam, interrupted, options);
    CHECK(result.interrupted);
    CHECK(result.steps == 5);
    options.resume = options.save;
    CHECK(resumed.train(options).steps == 10);
    CHECK(content(options.save) == bytes);
  }

  TEST_CASE("a loss that is not finite stops the run, names the step, and leaves parameters and checkpoint") {
    const TempFolder folder;
    Task task;
    const TrainOptions options{.steps = 10, .save_every = 2, .save = folder.path + "/x", .quiet = true};
    std::vector<Tensor> before;
    const auto loss = [&](Index step) {
      const Tensor l = cross_entropy(task.model(xor_x()), xor_y());
      if (step < 5) return l;
      for (const Tensor& p : task.model.parameters()) before.push_back(p.clone());
      return log(l * 0.0) * -1.0;
    };
    const std::string expected = "the loss is inf at step 6; " + options.save + " was not touched";
    CHECK_THROWS_WITH_AS(train(task.model, task.adam, loss, options), Contains(expected.c_str()), Error);
    CHECK(same_bits(before, task.model.parameters()));
    CHECK(read_safetensors(options.save).metadata.at("step") == "4");
  }

  TEST_CASE("a gradient that is not finite stops the run although the loss is finite") {
    Task task;
    const auto loss = [&](Index) { return sum(sqrt(task.model(xor_x()) * 0.0)); };
    CHECK_THROWS_WITH_AS(train(task.model, task.adam, loss, {.quiet = true}), Contains("the norm of the gradients is"),
                         Error);
    CHECK_THROWS_WITH_AS(train(task.model, task.adam, loss, {.debug = Debug::yes, .quiet = true}),
                         Contains("trainer_test.cpp"), Error);
  }

  TEST_CASE("parameters that are not finite are never saved") {
    const TempFolder folder;
    Task task;
    const TrainOptions options{.steps = 4, .save_every = 1, .save = folder.path + "/x", .quiet = true};
    const auto loss = [&](Index step) {
      if (step == 2) task.adam.set_lr(1e300);
      return cross_entropy(task.model(xor_x()), xor_y());
    };
    CHECK_THROWS_WITH_AS(train(task.model, task.adam, loss, options), Contains("is not finite after step 3"), Error);
    CHECK(read_safetensors(options.save).metadata.at("step") == "2");
  }

  TEST_CASE("clipping and schedule reach the update") {
    Task task;
    const TempFolder folder;
    Sgd sgd(task.model.parameters(), {.lr = 0.5});
    const auto before = task.model.parameters()[0].clone();
    const auto loss = [&](Index) { return cross_entropy(task.model(xor_x()), xor_y()) * 1000.0; };
    const TrainOptions options{
        .steps = 1, .schedule = [](Index) { return 0.1; }, .clip_norm = 1e-3, .report = folder.path, .quiet = true};
    train(task.model, sgd, loss, options);
    double moved = 0;
    const auto after = task.model.parameters()[0].to_vector();
    for (std::size_t i = 0; i < after.size(); ++i) moved += std::pow(after[i] - before.to_vector()[i], 2);
    CHECK(std::sqrt(moved) <= 0.5 * 0.1 * 1e-3 * 1.001);
    CHECK(moved > 0);
    CHECK(content(folder.path + "/metrics.csv").find(",0.05,") != std::string::npos);
  }

  TEST_CASE("what cannot work is an error before the first step") {
    const TempFolder folder;
    Task task;
    const auto never = [](Index) -> Tensor { throw std::runtime_error("a step was taken"); };
    const auto refused = [&](TrainOptions options, const char* message) {
      options.quiet = true;
      CHECK_THROWS_WITH_AS(train(task.model, task.adam, never, options), Contains(message), Error);
    };
    refused({.steps = -1}, "must not be negative");
    refused({.clip_norm = std::nan("")}, "clip_norm");
    refused({.save_every = 5}, "save_every needs a file");
    refused({.save = folder.path + "/absent/x"}, "a file in a folder that exists");
    refused({.save = folder.path}, "a file in a folder that exists");
    refused({.resume = folder.path + "/absent"}, "No such file");
    refused({.report = folder.write("file", "") + "/report"}, "cannot make the directory");
    task.train({.steps = 3, .save = folder.path + "/x"});
    refused({.steps = 2, .resume = folder.path + "/x"}, "is at step 3, beyond steps = 2");
    folder.write("metrics.csv", "something else\n1,2\n");
    refused({.resume = folder.path + "/x", .report = folder.path}, "of another program");
  }

  TEST_CASE("a loss that no parameter reaches is an error") {
    Task task;
    CHECK_THROWS_AS(train(task.model, task.adam, [](Index) { return scalar(1); }, {.quiet = true}), Error);
  }
}

TEST_SUITE("models/progress") {
  TEST_CASE("a line shows steps, values, speed and the time left") {
    CHECK(progress_text(0, 450, 1000, 64, 10, "loss 0.81") == " 450/1000  loss 0.81  2.9k items/s  0:12 left");
    CHECK(progress_text(400, 450, 1000, 0, 10, "loss 0.81") == " 450/1000  loss 0.81  5 steps/s  1:50 left");
    CHECK(progress_text(0, 1000, 1000, 64, 10, "x") == "1000/1000  x  6.4k items/s");
    CHECK(progress_text(0, 0, 10, 1, 0, "x") == " 0/10  x");
  }

  TEST_CASE("where there is no terminal, there is a line for each tenth") {
    const TempFolder folder;
    const std::string path = folder.path + "/log";
    {
      const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen(path.c_str(), "w"), std::fclose);
      Progress progress(0, 1000, 1, out.get());
      for (Index step = 1; step <= 1000; ++step) progress.update(step, "x");
      progress.note("done");
    }
    const std::string text = content(path);
    CHECK(std::count(text.begin(), text.end(), '\n') == 11);
    CHECK(text.find("\r") == std::string::npos);
    CHECK(text.ends_with("done\n"));
  }
}
