#include "tutorials/experiments/images.h"

#include "losses/softmax/cross_entropy.h"
#include "models/mlp.h"
#include "ops/reduce.h"
#include "tutorials/datasets/batches.h"

namespace gradus::experiments {
namespace {

double accuracy(Mlp& model, const ImageSet& set) {
  const Tensor predicted = argmax(model(set.images), 1);  // [N]
  Index right = 0;
  for (Index i = 0; i < set.size(); ++i) right += predicted.data<Index>()[i] == set.labels.data<Index>()[i];
  return 100 * double(right) / double(set.size());
}

double trained(const std::vector<Index>& sizes, const Split& split, const ImageRun& run, std::uint64_t seed,
               TrainOptions options) {
  Mlp model(sizes, Rng(seed + 1));
  AdamW optimizer(model.parameters(), {.lr = run.lr});
  Batches batch = batches(split.train, run.batch, seed);
  const auto loss = [&](Index step) {
    const auto [x, y] = batch(step);
    return cross_entropy(model(x), y);
  };
  options.items_per_step = run.batch;
  options.schedule = [steps = options.steps](Index step) { return warmup_cosine(step, steps / 20, steps); };
  const auto test = [&] { return Metrics{{"test accuracy %", accuracy(model, split.test)}}; };
  return train(model, optimizer, loss, options, test).metrics[0].second;
}

}  // namespace

Outcome train_on_images(const Split& split, const ImageRun& run, const Experiment& experiment, const Request& request) {
  const TrainOptions options = options_for(experiment, request);
  const Index D = split.train.images.size(1), C = split.train.classes;
  const double linear = trained({D, C}, split, run, request.seed, {.steps = run.baseline_steps, .quiet = true});
  const double mlp = trained(run.sizes, split, run, request.seed, options);
  std::string name = "MLP";
  for (const Index size : run.sizes) name += (name == "MLP" ? " " : "-") + std::to_string(size);
  return {.baselines = {{"linear (softmax regression)", "test accuracy %", linear}},
          .results = {{name, "test accuracy %", mlp}}};
}

}  // namespace gradus::experiments
