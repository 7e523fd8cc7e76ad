#include "models/clip.h"

#include <algorithm>
#include <cmath>

#include "engine/finite.h"
#include "ops/launch.h"

namespace gradus {
namespace {

// Part r of n elements, cut into 64, in doubles: the parts are added up on the host, in order.
template <class T> struct SumOfSquares {
  static constexpr Index parts = 64;
  const T* g;
  Index n;
  double* out;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Index begin = n * r / parts, end = n * (r + 1) / parts;
    const T* v = g + begin;
    const double s = team.template sum<double>(end - begin, [=](Index j) { return double(v[j]) * double(v[j]); });
    if (team.leads()) out[r] = s;
  }
};

// g = g factor
template <class T> struct Scale {
  T factor;
  T* g;
  HD void operator()(Index i) const { g[i] *= factor; }
};
// g = min(max(g, -limit), limit); NaN stays
template <class T> struct Clamp {
  T limit;
  T* g;
  HD void operator()(Index i) const { g[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i]; }
};

void check_limit(std::string_view op, const char* what, double limit) {
  if (!(limit > 0)) fail(op, std::string(what) + " must be greater than 0, got " + std::to_string(limit));
}

}  // namespace

double grad_norm(const std::vector<Tensor>& parameters) {
  constexpr Index parts = SumOfSquares<double>::parts;
  std::vector<Tensor> gradients;
  for (const Tensor& p : parameters) {
    if (p.grad()) gradients.push_back(p.grad());
  }
  if (gradients.empty()) return 0;
  Device& device = gradients[0].device();
  Tensor sums = empty({Index(gradients.size()), parts}, DType::f64, device);
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    const Tensor& g = gradients[k];
    dispatch_float("grad_norm", g.dtype(), [&]<class T>() {
      launch_rows(device, parts, g.numel() / parts,
                  SumOfSquares<T>{g.data<T>(), g.numel(), sums.data_mut<double>() + Index(k) * parts});
    });
  }
  double sum = 0;
  for (const double s : sums.to_vector()) sum += s;  // one read-back for all
  return std::sqrt(sum);
}

double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm) {
  check_limit("clip_grad_norm", "max_norm", max_norm);
  const double norm = grad_norm(parameters);
  if (!std::isfinite(norm)) {
    for (const Tensor& p : parameters) {
      const Index at = p.grad() ? first_non_finite(p.grad()) : -1;
      if (at < 0) continue;
      fail("clip_grad_norm", "the gradient of " + p.describe() + " has " + std::to_string(value_at(p.grad(), at)) +
                                 " at element " + std::to_string(at) +
                                 "; rerun with a debug tape to see where it began");
    }
    fail("clip_grad_norm", "the norm of the gradients is too large for a double");
  }
  const double factor = max_norm / (norm + 1e-6);
  if (factor >= 1) return norm;
  for (const Tensor& p : parameters) {
    if (!p.grad()) continue;
    dispatch_float("clip", p.dtype(), [&, g = p.grad()]<class T>() mutable {
      launch(g.device(), g.numel(), Scale<T>{T(factor), g.template data_mut<T>()});
    });
  }
  return norm;
}

void clip_grad_value(const std::vector<Tensor>& parameters, double clip_value) {
  check_limit("clip_grad_value", "clip_value", clip_value);
  for (const Tensor& p : parameters) {
    if (!p.grad()) continue;
    dispatch_float("clip", p.dtype(), [&, g = p.grad()]<class T>() mutable {
      launch(g.device(), g.numel(), Clamp<T>{T(clip_value), g.template data_mut<T>()});
    });
  }
}

}  // namespace gradus
