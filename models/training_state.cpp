#include "models/training_state.h"

#include <bit>
#include <charconv>

namespace gradus {
namespace {

constexpr auto format = "gradus-checkpoint-1";

std::vector<Named<Rng>> all_generators(Module& model, const std::vector<Named<Rng>>& others) {
  std::vector<Named<Rng>> all = model.parts().generators;
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

// Views of the parameters and of the optimizer's state, under their names in the file.
std::vector<Tensor> trained_tensors(Module& model, const Optimizer& optimizer) {
  std::vector<Tensor> all;
  for (const Tensor& p : model.parameters()) all.push_back(renamed(p, "model." + p.name()));
  for (const Tensor& s : optimizer.state()) all.push_back(renamed(s, "optimizer." + s.name()));
  return all;
}

// A generator's state is two words, its seed and its position.
Tensor packed(const Named<Rng>& generator) {
  Tensor state = empty({2}, DType::i64, Device::cpu());
  state.data_mut<Index>()[0] = std::bit_cast<Index>(generator.part->seed());
  state.data_mut<Index>()[1] = std::bit_cast<Index>(generator.part->position());
  return renamed(state, "rng." + generator.name);
}

void unpack(const Tensor& state, Rng& generator) {
  generator = Rng(std::bit_cast<std::uint64_t>(state.data<Index>()[0]));
  generator.seek(std::bit_cast<std::uint64_t>(state.data<Index>()[1]));
}

const Tensor* find(const std::vector<Tensor>& tensors, const std::string& name) {
  for (const Tensor& x : tensors) {
    if (x.name() == name) return &x;
  }
  return nullptr;
}

// Error unless the file holds exactly these names, each with the shape and the type of its target.
void check_match(std::string_view op, const std::string& path, const std::vector<Tensor>& file,
                 const std::vector<Tensor>& targets) {
  for (const Tensor& target : targets) {
    const Tensor* source = find(file, target.name());
    if (!source) fail(op, path + ": there is no '" + target.name() + "'; build the model as it was when it was saved");
    if (source->shape() == target.shape() && source->dtype() == target.dtype()) continue;
    fail(op, path + ": " + source->describe() + " does not fit " + target.describe() +
                 " of this program; build the model as it was when it was saved");
  }
  for (const Tensor& source : file) {
    if (!find(targets, source.name())) fail(op, path + ": this program has no place for " + source.describe());
  }
}

void copy_all(const std::vector<Tensor>& file, std::vector<Tensor>& targets) {
  for (Tensor& target : targets) target.copy_from(*find(file, target.name()));
}

std::string taken(Metadata& metadata, const std::string& key) {
  const auto node = metadata.extract(key);
  return node ? node.mapped() : "";
}

Index parsed_step(const std::string& path, const std::string& text) {
  Index step = -1;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), step);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || step < 0) {
    fail("load_checkpoint", path + ": the step is '" + text + "', not a count");
  }
  return step;
}

}  // namespace

void save_checkpoint(const std::string& path, Module& model, const Optimizer& optimizer, const TrainingState& state) {
  Metadata metadata = {{"format", format}, {"optimizer", optimizer.name()}, {"step", std::to_string(state.step)}};
  for (const auto& [key, value] : state.metadata) {
    if (!metadata.emplace(key, value).second) fail("save_checkpoint", "metadata '" + key + "' is the checkpoint's own");
  }
  std::vector<Tensor> tensors = trained_tensors(model, optimizer);
  for (const auto& generator : all_generators(model, state.generators)) tensors.push_back(packed(generator));
  write_safetensors(path, tensors, metadata);
}

TrainingState load_checkpoint(const std::string& path, Module& model, Optimizer& optimizer,
                              std::vector<Named<Rng>> generators) {
  auto [file, metadata] = read_safetensors(path);
  if (taken(metadata, "format") != format) {
    fail("load_checkpoint", path + " is not a checkpoint of a training run; for parameters alone use load_parameters");
  }
  const std::string saved = taken(metadata, "optimizer");
  if (saved != optimizer.name()) {
    fail("load_checkpoint", path + " was saved with " + saved + ", but this run uses " + optimizer.name());
  }
  const Index step = parsed_step(path, taken(metadata, "step"));

  std::vector<Tensor> targets = trained_tensors(model, optimizer);
  const std::size_t trained = targets.size();
  const std::vector<Named<Rng>> rngs = all_generators(model, generators);
  for (const auto& generator : rngs) targets.push_back(packed(generator));
  check_match("load_checkpoint", path, file, targets);

  copy_all(file, targets);
  for (std::size_t k = 0; k < rngs.size(); ++k) unpack(targets[trained + k], *rngs[k].part);
  return {step, std::move(metadata), std::move(generators)};
}

void save_parameters(const std::string& path, Module& model, const Metadata& metadata) {
  write_safetensors(path, model.parameters(), metadata);
}

void load_parameters(const std::string& path, Module& model) {
  const Safetensors file = read_safetensors(path);
  std::vector<Tensor> targets = model.parameters();
  check_match("load_parameters", path, file.tensors, targets);
  copy_all(file.tensors, targets);
}

}  // namespace gradus
