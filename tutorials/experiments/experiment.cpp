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

namespace {

// FNV-1a, 64 bits.
std::string fingerprint(std::string_view data) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : data) hash = (hash ^ std::uint8_t(c)) * 1099511628211u;
  return std::to_string(hash);
}

}  // namespace

TrainOptions options_for(const Experiment& experiment, const Request& request, std::string_view data) {
  TrainOptions options;
  options.steps = request.steps > 0 ? request.steps : experiment.steps;
  options.save = request.save;
  options.save_every = request.save_every;
  options.resume = request.resume;
  options.report = request.report;
  options.quiet = request.quiet;
  options.metadata = {{"experiment", experiment.name},
                      {"steps", std::to_string(options.steps)},
                      {"seed", std::to_string(request.seed)},
                      {"data", fingerprint(data)}};
  if (request.resume.empty()) return options;
  const Metadata saved = read_safetensors(request.resume).metadata;
  for (const char* key : {"experiment", "steps", "seed", "data"}) {
    const auto found = saved.find(key);
    if (found == saved.end()) {
      fail("resume", request.resume + " is not a checkpoint of `gradus train`: it has no '" + key + "'");
    }
    if (found->second != options.metadata[key]) {
      fail("resume", request.resume + " was saved with " + key + " " + found->second + ", this run has " +
                         options.metadata[key] + "; resume with the same NAME, --steps, --seed and --data");
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
