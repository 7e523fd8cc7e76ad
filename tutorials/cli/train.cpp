// `gradus train NAME|all` and `gradus demo`: run experiments and end with a table of results.
#include <chrono>
#include <cstdio>

#include "tutorials/cli/commands.h"
#include "tutorials/datasets/cache.h"

namespace gradus::cli {
namespace {

using experiments::Experiment;
using experiments::Outcome;
using experiments::Request;

struct Finished {
  const Experiment* experiment;
  Outcome outcome;
};

Finished run(const Experiment& experiment, const Request& request) {
  const auto start = std::chrono::steady_clock::now();
  if (!request.quiet) {
    std::fprintf(stderr, "%s: %s; data: %s\n", experiment.name, experiment.what,
                 request.data.empty() ? experiment.data : request.data.c_str());
  }
  Finished finished{&experiment, experiment.run(request)};
  finished.outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return finished;
}

void print_table(const std::vector<Finished>& all) {
  std::printf("\n%-10s %-34s %-20s %9s %9s\n", "task", "model", "measure", "value", "seconds");
  for (const auto& [experiment, outcome] : all) {
    for (const auto& line : outcome.baselines) {
      std::printf("%-10s %-34s %-20s %9.3f\n", experiment->name, ("baseline: " + line.what).c_str(),
                  line.measure.c_str(), line.value);
    }
    for (const auto& line : outcome.results) {
      std::printf("%-10s %-34s %-20s %9.3f %9.1f\n", experiment->name, line.what.c_str(), line.measure.c_str(),
                  line.value, outcome.seconds);
    }
  }
}

}  // namespace

int train(const std::string& name, const Request& request) {
  std::vector<Finished> finished;
  if (name == "all") {
    if (!request.save.empty() || !request.resume.empty() || !request.report.empty() || !request.data.empty()) {
      fail("train", "--data, --save, --resume and --report belong to one experiment; name it instead of `all`");
    }
    for (const Experiment& e : experiments::all()) {
      if (e.needs && !data_present(e.needs)) {
        std::fprintf(stderr, "%s: skipped: its data is not here; run: ./dev data %s\n", e.name, e.needs);
      } else {
        finished.push_back(run(e, request));
      }
    }
  } else {
    finished.push_back(run(experiments::find(name), request));
  }
  print_table(finished);
  return 0;
}

int demo() {
  std::vector<Finished> finished;
  finished.push_back(run(experiments::find("digits"), {}));
  finished.push_back(run(experiments::find("lm"), {.steps = 1000}));
  print_table(finished);
  return 0;
}

}  // namespace gradus::cli
