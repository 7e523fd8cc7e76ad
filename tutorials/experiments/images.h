// Classification of pictures by a multi-layer perceptron: shared by the digits and the Fashion-MNIST experiments.
#pragma once
#include "tutorials/datasets/image_set.h"
#include "tutorials/experiments/experiment.h"

namespace gradus::experiments {

struct ImageRun {
  std::vector<Index> sizes;  // of the MLP
  Index batch = 64;
  double lr = 1e-3;
  Index baseline_steps;  // of the linear model beside it
};

// Trains a linear model (softmax regression) as the baseline, then the MLP; both with AdamW and cross entropy.
Outcome train_on_images(const Split& split, const ImageRun& run, const Experiment& experiment, const Request& request);

}  // namespace gradus::experiments
