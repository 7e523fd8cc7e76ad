// An experiment trains one model with one loss on real data, end to end, and compares itself with a baseline that stands
// beside it. `gradus train NAME` runs it; adding one adds a file here and a line in experiment.cpp.
#pragma once
#include <string>
#include <vector>

#include "models/trainer.h"

namespace gradus::experiments {

// What the command line asks for.
struct Request {
  Index steps = 0;   // 0: the experiment's own number
  std::string data;  // a file or folder in place of the default data
  std::uint64_t seed = 0;
  std::string save, resume, report;
  Index save_every = 0;
  bool quiet = false;
};

// One line of the table of results.
struct Line {
  std::string what;     // "MLP 64-128-10"
  std::string measure;  // "test accuracy %"
  double value;
};

struct Outcome {
  std::vector<Line> baselines, results;
  double seconds = 0;
};

struct Experiment {
  const char *name, *loss, *what, *data;
  const char* needs;  // a data set of `./dev data`, or null
  Index steps;
  Outcome (*run)(const Request& request);
};

const std::vector<Experiment>& all();
const Experiment& find(const std::string& name);  // or an error that lists the names

// The options of the trainer that a request decides. The checkpoint notes experiment, steps, seed and a fingerprint of the
// data, and a resume with others is an error: it would not continue the run that was saved.
TrainOptions options_for(const Experiment& experiment, const Request& request, std::string_view data);

// The measure that a run ended with. One that Ctrl-C stopped has none: its checkpoint is written, and the program ends.
double measured(const TrainResult& result);

Experiment digits();
Experiment fashion();
Experiment lm();

}  // namespace gradus::experiments
