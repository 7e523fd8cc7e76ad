// A module is a function with named parameters: `Tensor y = model(x)`.
//
// It says once, in list(), what it consists of: parameters, modules, random generators. All else follows from that list:
// the names, as in PyTorch ("layers.0.weight"), counting, zero_grad, the training mode, checkpoints.
//
//   struct Scorer final : Module {
//     Linear hidden, score;
//     explicit Scorer(Rng&& rng) : hidden(8, 16, rng.split()), score(16, 1, rng.split()) {}
//     void list(Parts& parts) override { parts.add("hidden", hidden), parts.add("score", score); }
//     Tensor operator()(At x) const { return score(tanh(hidden(x))); }                              // [N,8] -> [N,1]
//   };
//
// A module that starts from random numbers takes a generator of its own, a temporary: Rng(7), or rng.split() of another.
// So no two modules start equal by accident, and each start depends on its own sizes only.
// Copying a module copies handles: the copy shares the parameters.
#pragma once
#include <concepts>
#include <functional>

#include "engine/random.h"

namespace gradus {

class Module;

template <class T> struct Named {
  std::string name;
  T* part;
};

// The list that Module::list() fills, in its order. Pointers live as long as the module stays where it is.
class Parts {
 public:
  std::vector<Named<Tensor>> parameters;
  std::vector<Named<Rng>> generators;
  std::vector<Named<Module>> modules;

  void add(std::string_view name, Tensor& parameter);  // an undefined one is left out: a layer without a bias
  void add(std::string_view name, Rng& generator);
  void add(std::string_view name, Module& module);  // with all of its parts, as "name.part"
  template <std::derived_from<Module> M> void add(std::string_view name, std::vector<M>& list) {
    for (std::size_t k = 0; k < list.size(); ++k) add(std::string(name) + "." + std::to_string(k), list[k]);
  }

 private:
  std::string prefix_;
};

class Module {
 public:
  virtual ~Module() = default;
  virtual void list(Parts& parts) = 0;

  Parts parts();
  // In the order of list(), without repetition. Each gets its full name, which errors, listings and files then show.
  std::vector<Tensor> parameters();
  Index parameter_count();  // elements, not tensors
  void zero_grad();
  void to(DType dtype);  // both make new parameters: call them before an optimizer takes hold of these
  void to(Device& device);

  bool training = true;  // what dropout asks
  void train(bool on = true);
  void eval() { train(false); }

 private:
  void replace(const std::function<Tensor(const Tensor&)>& change);
};

}  // namespace gradus
