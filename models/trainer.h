// The training loop: loss, backward, step; with progress, reports, evaluation, checkpoints and a clean stop.
//
//   const auto loss = [&](Index step) {
//     auto [x, y] = batch(digits, seed, step);             // a function of the step: nothing to save but the step
//     return cross_entropy(model(x), y);
//   };
//   train(model, adam, loss, {.steps = 1000, .save = "run.safetensors", .report = "run"});
//
// A run that stopped and resumes (.resume) ends with the same bits as one that did not stop, provided that the loss depends
// on the step, the parameters and generators listed by the model (or in .generators), and on nothing else.
#pragma once
#include <functional>

#include "engine/tape.h"
#include "models/report.h"
#include "models/schedule.h"
#include "models/training_state.h"

namespace gradus {

struct TrainOptions {
  Index steps = 1000;                       // in all, those before a resume included
  Index items_per_step = 0;                 // the batch size, for items/s; 0: show steps/s
  Schedule schedule = {};                   // factor of the optimizer's rate at each step; empty: constant
  double clip_norm = 0;                     // clip_grad_norm before each update; 0: do not
  Index eval_every = 0;                     // steps between evaluations; 0: only after the last step
  Index save_every = 0;                     // steps between checkpoints; 0: only after the last step
  std::string save = {};                    // checkpoint to write; empty: none
  std::string resume = {};                  // checkpoint to continue from; empty: start anew
  std::string report = {};                  // directory for metrics.csv, evaluation.csv, summary.json; empty: none
  Metadata metadata = {};                   // goes into the checkpoint
  std::vector<Named<Rng>> generators = {};  // those that the loss uses and the model does not list
  Debug debug = Debug::no;  // yes: stop at the first value that is not finite and say where it was made (slower)
  bool quiet = false;       // no progress on stderr
};

struct TrainResult {
  Index steps = 0;           // done in all
  double loss = 0;           // of the last step; NaN when there was none
  Metrics metrics;           // of the last evaluation
  double seconds = 0;        // of this call
  bool interrupted = false;  // stopped by Ctrl-C, after the step and a checkpoint
};

// loss_of_step(step) computes the loss, one element, of step 0, 1, ...; it runs with a tape. evaluate runs without, in eval
// mode. Bad options, an unreadable checkpoint and an unwritable report are errors before the first step. A loss or a gradient
// that is not finite is an error that names the step; the parameters and the last checkpoint are those before it.
TrainResult train(Module& model, Optimizer& optimizer, const std::function<Tensor(Index step)>& loss_of_step,
                  const TrainOptions& options = {}, const std::function<Metrics()>& evaluate = {});

}  // namespace gradus
