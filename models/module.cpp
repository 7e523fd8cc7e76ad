#include "models/module.h"

#include <algorithm>
#include <map>

namespace gradus {

void Parts::add(std::string_view name, Tensor& parameter) {
  if (parameter) parameters.push_back({prefix_ + std::string(name), &parameter});
}

void Parts::add(std::string_view name, Rng& generator) {
  generators.push_back({prefix_ + std::string(name), &generator});
}

void Parts::add(std::string_view name, Module& module) {
  modules.push_back({prefix_ + std::string(name), &module});
  const std::size_t outer = prefix_.size();
  prefix_ += std::string(name) + ".";
  module.list(*this);
  prefix_.resize(outer);
}

Parts Module::parts() {
  Parts parts;
  list(parts);
  return parts;
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> found;
  for (const Named<Tensor>& entry : parts().parameters) {
    const auto same = [&](const Tensor& p) { return p.handle() == entry.part->handle(); };
    if (std::any_of(found.begin(), found.end(), same)) continue;  // used in two places: the first name counts
    entry.part->body().name = entry.name;
    found.push_back(*entry.part);
  }
  return found;
}

Index Module::parameter_count() {
  Index count = 0;
  for (const Tensor& p : parameters()) count += p.numel();
  return count;
}

void Module::zero_grad() {
  for (Tensor& p : parameters()) p.zero_grad();
}

void Module::to(DType dtype) {
  replace([&](const Tensor& p) { return p.to(dtype); });
}
void Module::to(Device& device) {
  replace([&](const Tensor& p) { return p.to(device); });
}

void Module::replace(const std::function<Tensor(const Tensor&)>& change) {
  std::map<std::shared_ptr<TensorBody>, Tensor> changed;  // what is used in two places stays one parameter
  for (const auto& [name, parameter] : parts().parameters) {
    Tensor& there = changed[parameter->handle()];
    if (!there) there = change(parameter->detach()).requires_grad_(parameter->requires_grad());
    *parameter = there;
  }
}

void Module::train(bool on) {
  training = on;
  for (const auto& [name, module] : parts().modules) module->training = on;
}

}  // namespace gradus
