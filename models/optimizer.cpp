#include "models/optimizer.h"

#include <algorithm>

#include "models/fused_update.h"

namespace gradus {
namespace {

// Sgd (Sutskever et al. 2013, in PyTorch's form: the rate is outside of the velocity v)
//   g += weight_decay p
//   v = g at the first step, then momentum v + (1 - dampening) g
//   p -= lr v;   nesterov: p -= lr (g + momentum v);   without momentum: p -= lr g
template <bool Momentum> struct SgdRule {
  static constexpr int rates = 2, averages = Momentum ? 1 : 0;
  double momentum, dampening, weight_decay;
  bool nesterov;
  HD void at(double lr, Index t, double* rate) const {
    rate[0] = lr;
    rate[1] = t == 1 ? 1 : 1 - dampening;
  }
  template <class T> HD void operator()(const T* rate, T g, T& p, [[maybe_unused]] T* v, T*) const {
    T d = g + T(weight_decay) * p;
    if constexpr (Momentum) {
      *v = T(momentum) * *v + rate[1] * d;
      d = nesterov ? d + T(momentum) * *v : *v;
    }
    p -= rate[0] * d;
  }
};

// Adam (Kingma and Ba 2015); AdamW (Loshchilov and Hutter 2019), which takes weight decay out of the averages
//   Adam:  g += weight_decay p         AdamW:  p -= lr weight_decay p
//   m = beta1 m + (1 - beta1) g
//   v = beta2 v + (1 - beta2) g^2
//   p -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)         t = 1, 2, ...
struct AdamRule {
  static constexpr int rates = 3, averages = 2;
  double beta1, beta2, rest1, rest2, eps;  // rest = 1 - beta, taken in double: 1 - 0.999f has lost three digits
  double coupled, decay;                   // Adam: weight_decay and 0; AdamW: 0 and weight_decay
  HD void at(double lr, Index t, double* rate) const {
    rate[0] = lr / (1 - std::pow(beta1, double(t)));
    rate[1] = std::sqrt(1 - std::pow(beta2, double(t)));
    rate[2] = 1 - lr * decay;
  }
  template <class T> HD void operator()(const T* rate, T g, T& p, T* m, T* v) const {
    const T d = g + T(coupled) * p;
    *m = T(beta1) * *m + T(rest1) * d;
    *v = T(beta2) * *v + T(rest2) * d * d;
    p = rate[2] * p - rate[0] * *m / (std::sqrt(*v) / rate[1] + T(eps));
  }
};

// NaN fails every comparison, so these refuse it as well.
void check_not_negative(std::string_view op, const char* option, double value) {
  if (!(value >= 0 && std::isfinite(value))) {
    fail(op, std::string(option) + " must be 0 or greater, and finite; got " + std::to_string(value));
  }
}

void check_below_one(std::string_view op, const char* option, double value) {
  if (!(value >= 0 && value < 1)) {
    fail(op, std::string(option) + " must be 0 or greater, and less than 1; got " + std::to_string(value));
  }
}

void check_parameters(std::string_view op, const std::vector<Tensor>& parameters) {
  if (parameters.empty()) fail(op, "got no parameters; pass model.parameters()");
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const Tensor& p = parameters[k];
    const std::string which = "parameter " + std::to_string(k) + ", " + p.describe() + ", ";
    if (!p) fail(op, which + "is undefined");
    if (!is_floating(p.dtype())) fail(op, which + "is not of a floating type");
    if (&p.device() != &parameters[0].device()) fail(op, which + "is on another device than the first");
    if (!p.is_leaf()) fail(op, which + "was computed by an op; only leaves can be trained");
    const auto same = [&](const Tensor& other) { return other.handle() == p.handle(); };
    if (std::count_if(parameters.begin(), parameters.end(), same) > 1) fail(op, which + "is given twice");
  }
}

}  // namespace

Optimizer::Optimizer(std::string_view op, std::vector<Tensor> parameters, double lr, std::vector<std::string> averages)
    : parameters_(std::move(parameters)), lr_(lr), averages_each_(averages.size()) {
  check_not_negative(op, "lr", lr);
  check_parameters(op, parameters_);
  Device& device = parameters_[0].device();
  steps_ = zeros({Index(parameters_.size())}, DType::i64, device);
  steps_.body().name = "step";
  lr_on_device_ = scalar(lr, DType::f64, device);
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    for (const std::string& average : averages) {
      averages_.push_back(zeros(parameters_[k].shape(), parameters_[k].dtype(), device));
      averages_.back().body().name = average + "." + std::to_string(k);
    }
  }
}

void Optimizer::step() {
  std::vector<Update> updates;
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    const Tensor g = parameters_[k].grad();
    if (!g) continue;
    const auto averages = std::span(averages_).subspan(k * averages_each_, averages_each_);
    updates.push_back({parameters_[k], g, averages, Index(k)});
  }
  update(updates);
}

void Optimizer::zero_grad() {
  for (Tensor& p : parameters_) p.zero_grad();
}

void Optimizer::set_lr(double lr) {
  check_not_negative(name(), "lr", lr);
  if (lr == lr_) return;
  lr_ = lr;
  if (!parameters_[0].device().is_cpu()) lr_on_device_.copy_from(scalar(lr, DType::f64, Device::cpu()));
}

std::vector<Tensor> Optimizer::state() const {
  std::vector<Tensor> all = {steps_};
  all.insert(all.end(), averages_.begin(), averages_.end());
  return all;
}

Sgd::Sgd(std::vector<Tensor> parameters, SgdOptions options)
    : Optimizer("Sgd", std::move(parameters), options.lr,
                options.momentum > 0 ? std::vector<std::string>{"momentum_buffer"} : std::vector<std::string>{}),
      options_(options) {
  check_not_negative("Sgd", "momentum", options.momentum);
  check_not_negative("Sgd", "weight_decay", options.weight_decay);
  check_below_one("Sgd", "dampening", options.dampening);
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0)) {
    fail("Sgd", "nesterov needs momentum > 0 and dampening = 0");
  }
}

void Sgd::update(const std::vector<Update>& updates) {
  const auto run = [&]<bool Momentum>() {
    const SgdRule<Momentum> rule{options_.momentum, options_.dampening, options_.weight_decay, options_.nesterov};
    update_all("Sgd", rule, updates, clock());
  };
  options_.momentum > 0 ? run.operator()<true>() : run.operator()<false>();
}

Adam::Adam(std::vector<Tensor> parameters, AdamOptions options) : Adam("Adam", std::move(parameters), options, false) {}

Adam::Adam(std::string_view op, std::vector<Tensor> parameters, AdamOptions options, bool decoupled)
    : Optimizer(op, std::move(parameters), options.lr, {"exp_avg", "exp_avg_sq"}),
      options_(options),
      decoupled_(decoupled) {
  check_below_one(op, "betas[0]", options.betas[0]);
  check_below_one(op, "betas[1]", options.betas[1]);
  check_not_negative(op, "eps", options.eps);
  check_not_negative(op, "weight_decay", options.weight_decay);
}

void Adam::update(const std::vector<Update>& updates) {
  const auto [beta1, beta2] = options_.betas;
  const double decay = options_.weight_decay;
  update_all("Adam",
             AdamRule{beta1, beta2, 1 - beta1, 1 - beta2, options_.eps, decoupled_ ? 0 : decay, decoupled_ ? decay : 0},
             updates, clock());
}

AdamW::AdamW(std::vector<Tensor> parameters, AdamWOptions options)
    : Adam("AdamW", std::move(parameters), {options.lr, options.betas, options.eps, options.weight_decay}, true) {}

}  // namespace gradus
