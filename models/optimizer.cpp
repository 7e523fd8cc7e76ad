#include "models/optimizer.h"

#include <algorithm>

#include "ops/launch.h"

namespace gradus {
namespace {

// Sgd (Sutskever et al. 2013, in PyTorch's form: the rate is outside of the velocity v)
//   g += weight_decay p
//   v = g at the first step, then momentum v + (1 - dampening) g
//   p -= lr v;   nesterov: p -= lr (g + momentum v);   without momentum: p -= lr g
template <class T> struct SgdStep {
  T lr, momentum, keep, weight_decay;  // keep = 1 - dampening, 1 at the first step
  bool nesterov;
  const T* g;
  T *p, *v;  // v is null without momentum
  HD void operator()(Index i) const {
    T d = g[i] + weight_decay * p[i];
    if (v) {
      v[i] = momentum * v[i] + keep * d;
      d = nesterov ? d + momentum * v[i] : v[i];
    }
    p[i] -= lr * d;
  }
};

// Adam (Kingma and Ba 2015); AdamW (Loshchilov and Hutter 2019), which takes weight decay out of the averages
//   Adam:  g += weight_decay p         AdamW:  p -= lr weight_decay p
//   m = beta1 m + (1 - beta1) g
//   v = beta2 v + (1 - beta2) g^2
//   p -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)         t = 1, 2, ...
template <class T> struct AdamStep {
  T beta1, beta2, rest1, rest2;  // rest = 1 - beta, taken in double: 1 - 0.999f has lost three digits
  T rate, root, eps;             // rate = lr / (1 - beta1^t), root = sqrt(1 - beta2^t)
  T coupled, shrink;             // Adam: weight_decay and 1; AdamW: 0 and 1 - lr weight_decay
  const T* g;
  T *p, *m, *v;
  HD void operator()(Index i) const {
    const T d = g[i] + coupled * p[i];
    m[i] = beta1 * m[i] + rest1 * d;
    v[i] = beta2 * v[i] + rest2 * d * d;
    p[i] = shrink * p[i] - rate * m[i] / (std::sqrt(v[i]) / root + eps);
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
  steps_ = zeros({Index(parameters_.size())}, DType::i64);
  steps_.body().name = "step";
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    for (const std::string& average : averages) {
      averages_.push_back(zeros(parameters_[k].shape(), parameters_[k].dtype()));
      averages_.back().body().name = average + "." + std::to_string(k);
    }
  }
}

void Optimizer::step() {
  Index* steps = steps_.data_mut<Index>();
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    const Tensor g = parameters_[k].grad();
    if (g) update(parameters_[k], g, std::span(averages_).subspan(k * averages_each_, averages_each_), ++steps[k]);
  }
}

void Optimizer::zero_grad() {
  for (Tensor& p : parameters_) p.zero_grad();
}

void Optimizer::set_lr(double lr) {
  check_not_negative(name(), "lr", lr);
  lr_ = lr;
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

void Sgd::update(Tensor& parameter, const Tensor& g, std::span<Tensor> averages, Index step) {
  dispatch_float("Sgd", parameter.dtype(), [&]<class T>() {
    const double keep = step == 1 ? 1 : 1 - options_.dampening;
    launch(parameter.device(), parameter.numel(),
           SgdStep<T>{T(lr()), T(options_.momentum), T(keep), T(options_.weight_decay), options_.nesterov, g.data<T>(),
                      parameter.data_mut<T>(), averages.empty() ? nullptr : averages[0].data_mut<T>()});
  });
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

void Adam::update(Tensor& parameter, const Tensor& g, std::span<Tensor> averages, Index step) {
  const auto [beta1, beta2] = options_.betas;
  const double rate = lr() / (1 - std::pow(beta1, double(step))), root = std::sqrt(1 - std::pow(beta2, double(step)));
  const double decay = options_.weight_decay;
  dispatch_float("Adam", parameter.dtype(), [&, beta1 = beta1, beta2 = beta2]<class T>() {
    launch(parameter.device(), parameter.numel(),
           AdamStep<T>{T(beta1), T(beta2), T(1 - beta1), T(1 - beta2), T(rate), T(root), T(options_.eps),
                       T(decoupled_ ? 0 : decay), T(decoupled_ ? 1 - lr() * decay : 1), g.data<T>(),
                       parameter.data_mut<T>(), averages[0].data_mut<T>(), averages[1].data_mut<T>()});
  });
}

AdamW::AdamW(std::vector<Tensor> parameters, AdamWOptions options)
    : Adam("AdamW", std::move(parameters), {options.lr, options.betas, options.eps, options.weight_decay}, true) {}

}  // namespace gradus
