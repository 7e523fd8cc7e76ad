#include "engine/grad_check_subject.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace gradus {
namespace {

using Vector = GradCheckSubject::Vector;

bool same_bits(const Vector& a, const Vector& b) {
  const auto bits = [](double x) { return std::bit_cast<std::uint64_t>(x); };  // NaN equals itself
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](double x, double y) { return bits(x) == bits(y); });
}

}  // namespace

GradCheckSubject::GradCheckSubject(const TensorFunction& f, const std::vector<Tensor>& inputs,
                                   const std::vector<int>& wrt)
    : f_(f), point_(inputs) {
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!inputs[k] || !is_floating(inputs[k].dtype())) continue;
    point_[k] = inputs[k].detach().to(DType::f64).clone();
    point_[k].body().name = inputs[k].name();
    if (wrt.empty() || std::find(wrt.begin(), wrt.end(), int(k)) != wrt.end()) {
      point_[k].requires_grad_();
      checked_.push_back(k);
    }
  }
  for (const int k : wrt) {
    if (k < 0 || std::size_t(k) >= inputs.size()) fail("grad_check", "there is no input " + std::to_string(k));
  }
  if (checked_.empty()) fail("grad_check", "no floating-point input to differentiate by");
  const NoGrad no_grad;
  const Tensor y = f_(point_);
  if (y.dtype() != DType::f64) {
    fault = "the inputs are f64 but the result is " + y.describe() + ": does the function convert, or count?";
    return;
  }
  values_ = y.to_vector();
  if (!std::all_of(values_.begin(), values_.end(), [](double v) { return std::isfinite(v); })) {
    fault = "the function is not finite here: " + to_text(y);
  } else if (!same_bits(f_(point_).to_vector(), values_)) {
    fault = "the function gives another value each time: is it random? start its generator anew inside";
  }
}

std::string GradCheckSubject::about(std::size_t k) const {
  return "input " + std::to_string(k) + ", " + point_[k].describe() + ": ";
}

Vector GradCheckSubject::value(const Direction& d, double t) const {
  const NoGrad no_grad;
  Vector x = point_[d.input].to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += t * d.v[i];
  std::vector<Tensor> moved = point_;
  moved[d.input] = tensor(x, point_[d.input].shape(), DType::f64, point_[d.input].device());
  return f_(moved).to_vector();
}

Vector GradCheckSubject::slope(const Direction& d, double h) const {
  const Vector right = value(d, h), left = value(d, -h), further = value(d, 2 * h), opposite = value(d, -2 * h);
  Vector out(right.size());
  for (std::size_t j = 0; j < out.size(); ++j) {
    out[j] = (8 * (right[j] - left[j]) - (further[j] - opposite[j])) / (12 * h);
  }
  return out;
}

// Three sweeps over one tape: the second must repeat the first, and in the third a gradient has arrived before.
std::vector<Vector> GradCheckSubject::gradients(const Vector& u) {
  Tape tape;
  const Tensor y = f_(point_);
  tape.id_of("grad_check", y);  // f may return its input
  std::vector<Vector> first = sweep(tape, y, u, 0);
  const std::vector<Vector> second = sweep(tape, y, u, 0), third = sweep(tape, y, u, 1);
  for (const std::size_t k : checked_) {
    if (!same_bits(first[k], second[k])) {
      fault = about(k) + "two backward passes over one tape differ: does an op change what it kept?";
      break;
    }
    for (std::size_t i = 0; i < first[k].size(); ++i) {
      if (std::abs(third[k][i] - (1 + first[k][i])) > 1e-9 * (1 + std::abs(first[k][i]))) {
        fault = about(k) + "a gradient that had arrived before is lost: `=` where `+=` belongs?";
      }
    }
  }
  return first;
}

std::vector<Vector> GradCheckSubject::sweep(Tape& tape, const Tensor& y, const Vector& u, double arrived_before) const {
  BackwardPass pass(tape, Retain::yes);
  if (tape.find(y) >= 0) pass.seed(y, tensor(u, y.shape(), DType::f64, y.device()));
  std::vector<Vector> out(point_.size());
  for (const std::size_t k : checked_) {
    const Tensor& x = point_[k];
    out[k] = Vector(std::size_t(x.numel()), arrived_before);
    if (arrived_before != 0 && tape.find(x) >= 0) pass.seed(x, full(x.shape(), arrived_before, DType::f64, x.device()));
  }
  pass.finish_without_grad();
  for (const std::size_t k : checked_) {
    if (const Tensor sum = pass.gradient(point_[k])) out[k] = sum.to_vector();
  }
  return out;
}

}  // namespace gradus
