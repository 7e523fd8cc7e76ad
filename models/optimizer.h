// Optimizers: Sgd, Adam, AdamW, with the update rules, names and defaults of PyTorch. Their formulas stand in optimizer.cpp.
//
//   Adam adam(model.parameters(), {.lr = 1e-3});
//   ... backward(loss);  adam.step();  adam.zero_grad();
//
// A parameter without a gradient is skipped: its value, its step count and its averages stay. Parameters are f32 or f64;
// the averages have the same type.
#pragma once
#include <array>

#include "engine/tensor.h"

namespace gradus {

// What one parameter brings to a step: its gradient, and the averages that are kept for it.
struct Update {
  Tensor parameter, gradient;
  std::span<Tensor> averages;
  Index place;  // in the list of all parameters
};

// What a step counts by. All three lie on the parameters' device.
struct UpdateClock {
  double lr;
  Tensor lr_on_device;  // f64 []
  Tensor steps;         // i64 [P], updates so far
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  virtual const char* name() const = 0;  // "Adam"

  void step();       // updates every parameter that has a gradient
  void zero_grad();  // drops the gradients
  double lr() const { return lr_; }
  void set_lr(double lr);
  const std::vector<Tensor>& parameters() const { return parameters_; }

  // All that a checkpoint has to hold beside the parameters, named; writing to these tensors restores it.
  // "step" i64 [P], the updates of each of the P parameters so far, then "exp_avg.0", "exp_avg.1", ... and so on.
  std::vector<Tensor> state() const;

 protected:
  // Averages start at zero, one of each name for each parameter.
  Optimizer(std::string_view op, std::vector<Tensor> parameters, double lr, std::vector<std::string> averages);
  virtual void update(const std::vector<Update>& updates) = 0;
  UpdateClock clock() const { return {lr_, lr_on_device_, steps_}; }

 private:
  std::vector<Tensor> parameters_;
  double lr_;
  std::size_t averages_each_;
  Tensor steps_;                  // i64 [P]
  Tensor lr_on_device_;           // f64 []; a captured step reads it at each replay
  std::vector<Tensor> averages_;  // averages_each_ for each parameter, one parameter after the other
};

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;  // needs momentum > 0 and dampening = 0
};

class Sgd final : public Optimizer {
 public:
  explicit Sgd(std::vector<Tensor> parameters, SgdOptions options = {});
  const char* name() const override { return "Sgd"; }

 private:
  SgdOptions options_;
  void update(const std::vector<Update>& updates) override;
};

struct AdamOptions {
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;  // added to the gradient
};

struct AdamWOptions {
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 1e-2;  // taken off the parameter
};

class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<Tensor> parameters, AdamOptions options = {});
  const char* name() const override { return "Adam"; }

 protected:
  Adam(std::string_view op, std::vector<Tensor> parameters, AdamOptions options, bool decoupled);

 private:
  AdamOptions options_;
  bool decoupled_;
  void update(const std::vector<Update>& updates) override;
};

class AdamW final : public Adam {
 public:
  explicit AdamW(std::vector<Tensor> parameters, AdamWOptions options = {});
  const char* name() const override { return "AdamW"; }
};

}  // namespace gradus
