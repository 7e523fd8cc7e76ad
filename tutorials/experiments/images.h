// Classification of pictures by a multi-layer perceptron: shared by the digits and the Fashion-MNIST experiments.
#pragma once
#include "tutorials/datasets/image_set.h"
#include "tutorials/experiments/experiment.h"

namespace gradus::experiments {

struct ImageRun {
  std::vector<Index> sizes;  // of the MLP
  Index batch = 64;
  double lr = 3e-3;
  double label_smoothing = 0.1;
};

// Trains the MLP with label smoothing. Baselines beside it: softmax regression, and the same MLP with plain cross entropy.
Outcome train_on_images(const Split& split, const ImageRun& run, const Experiment& experiment, const Request& request);

}  // namespace gradus::experiments
