#include "tutorials/experiments/images.h"

#include "losses/softmax/cross_entropy.h"
#include "models/mlp.h"
#include "ops/sort.h"
#include "tutorials/datasets/batches.h"

namespace gradus::experiments {
namespace {

double accuracy(Mlp& model, const ImageSet& set) {
  const Tensor predicted = argmax(model(set.images.to(default_device())), 1).cpu();  // [N]
  Index right = 0;
  for (Index i = 0; i < set.size(); ++i) right += predicted.data<Index>()[i] == set.labels.data<Index>()[i];
  return 100 * double(right) / double(set.size());
}

struct Contestant {
  std::vector<Index> sizes;
  double lr, label_smoothing;
};

double test_accuracy(const Contestant& c, const Split& split, Index batch_size, std::uint64_t seed,
                     TrainOptions options) {
  Mlp model(c.sizes, Rng(seed + 1));
  AdamW optimizer(model.parameters(), {.lr = c.lr});
  Batches batch = batches(split.train, batch_size, seed);
  const auto loss = [&](Index step) {
    const auto [x, y] = batch(step);
    return cross_entropy(model(x.to(default_device())), y.to(default_device()), {.label_smoothing = c.label_smoothing});
  };
  options.items_per_step = batch_size;
  options.schedule = [steps = options.steps](Index step) { return warmup_cosine(step, steps / 20, steps); };
  const auto test = [&] { return Metrics{{"test accuracy %", accuracy(model, split.test)}}; };
  return measured(train(model, optimizer, loss, options, test));
}

}  // namespace

Outcome train_on_images(const Split& split, const ImageRun& run, const Experiment& experiment, const Request& request) {
  const auto pixels = split.train.images.span<float>();
  const TrainOptions options =
      options_for(experiment, request, {reinterpret_cast<const char*>(pixels.data()), pixels.size_bytes()});
  const TrainOptions silent{.steps = options.steps, .quiet = true};
  std::string mlp = "MLP";
  for (const Index size : run.sizes) mlp += (mlp == "MLP" ? " " : "-") + std::to_string(size);
  const auto line = [&](const std::string& what, const Contestant& c, const TrainOptions& o) {
    return Line{what, "test accuracy %", test_accuracy(c, split, run.batch, request.seed, o)};
  };
  const Index D = split.train.images.size(1), C = split.train.classes;
  Outcome outcome;
  // First what the request is about: an option that cannot work is told before the baselines take their time.
  outcome.results.push_back(line(mlp + ", smoothing", {run.sizes, run.lr, run.label_smoothing}, options));
  outcome.baselines.push_back(line("softmax regression", {{D, C}, 1e-2, 0}, silent));
  outcome.baselines.push_back(line(mlp, {run.sizes, run.lr, 0}, silent));
  return outcome;
}

}  // namespace gradus::experiments
