// What a training run consists of besides its program: parameters, the optimizer's averages and counts, the state of every
// random generator, the number of steps done. Saved together, they let a run continue with the same bits.
//
//   save_checkpoint("run.safetensors", model, adam, {.step = 1000});
//   const Index done = load_checkpoint("run.safetensors", model, adam).step;
//
// The file is safetensors, with tensors "model.<name>", "optimizer.<name>", "rng.<name>" and metadata that says what it is.
// Equal states give equal bytes. The model's own generators (dropout) are found by themselves.
#pragma once
#include "models/module.h"
#include "models/optimizer.h"
#include "models/safetensors.h"

namespace gradus {

struct TrainingState {
  Index step = 0;                           // steps done
  Metadata metadata = {};                   // whatever else the program wants to find again
  std::vector<Named<Rng>> generators = {};  // those outside of the model
};

void save_checkpoint(const std::string& path, Module& model, const Optimizer& optimizer,
                     const TrainingState& state = {});

// Everything is compared before anything is written: the kind of file and of optimizer, every name, shape and type. A file
// that is damaged, foreign or of another model is one error, and model, optimizer and generators stay as they were.
TrainingState load_checkpoint(const std::string& path, Module& model, Optimizer& optimizer,
                              std::vector<Named<Rng>> generators = {});

// The parameters alone, under their own names, as PyTorch's state_dict has them.
void save_parameters(const std::string& path, Module& model, const Metadata& metadata = {});
void load_parameters(const std::string& path, Module& model);  // compares everything first, too

}  // namespace gradus
