#include "tutorials/experiments/experiment.h"

#include <csignal>

namespace gradus::experiments {

const std::vector<Experiment>& all() {
  static const std::vector<Experiment> experiments = {digits(), fashion(), lm()};
  return experiments;
}

const Experiment& find(const std::string& name) {
  std::string known;
  for (const Experiment& e : all()) {
    if (e.name == name) return e;
    known += (known.empty() ? "" : ", ") + std::string(e.name);
  }
  fail("train", "there is no experiment '" + name + "'; known are: " + known);
}

TrainOptions options_for(const Experiment& experiment, const Request& request) {
  TrainOptions options;
  options.steps = request.steps > 0 ? request.steps : experiment.steps;
  options.save = request.save;
  options.save_every = request.save_every;
  options.resume = request.resume;
  options.report = request.report;
  options.quiet = request.quiet;
  options.metadata = {{"experiment", experiment.name},
                      {"steps", std::to_string(options.steps)},
                      {"seed", std::to_string(request.seed)}};
  if (request.resume.empty()) return options;
  const Metadata saved = read_safetensors(request.resume).metadata;
  for (const auto& [key, value] : options.metadata) {
    const auto found = saved.find(key);
    if (found == saved.end())
      fail("resume", request.resume + " is not a checkpoint of `gradus train`: it has no '" + key + "'");
    if (found->second != value) {
      fail("resume", request.resume + " was saved with " + key + " " + found->second + ", this run has " + key + " " +
                         value + "; give the same --" + (key == "experiment" ? "name" : key));
    }
  }
  return options;
}

double measured(const TrainResult& result) {
  if (!result.interrupted) return result.metrics.at(0).second;
  std::raise(SIGINT);  // as Ctrl-C ends any program, unless it is ignored
  fail("train",
       "interrupted after step " + std::to_string(result.steps) + "; continue from its checkpoint by --resume");
}

}  // namespace gradus::experiments
