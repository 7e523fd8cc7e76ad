#include "models/clip.h"

#include <algorithm>
#include <cmath>

#include "engine/finite.h"
#include "engine/parallel.h"

namespace gradus {
namespace {

double sum_of_squares(const Tensor& g) {
  return dispatch_float("grad_norm", g.dtype(), [&]<class T>() {
    const T* v = g.data<T>();
    return block_sum<double>(g.numel(), [v](Index i) { return double(v[i]) * double(v[i]); });
  });
}

// g[i] = f(g[i])
template <class F> void change(Tensor g, const F& f) {
  dispatch_float("clip", g.dtype(), [&]<class T>() {
    T* v = g.data_mut<T>();
    parallel_for(g.numel(), serial_below, [&](Index begin, Index end) {
#pragma omp simd
      for (Index i = begin; i < end; ++i) v[i] = T(f(v[i]));
    });
  });
}

void check_limit(std::string_view op, const char* what, double limit) {
  if (!(limit > 0)) fail(op, std::string(what) + " must be greater than 0, got " + std::to_string(limit));
}

}  // namespace

double grad_norm(const std::vector<Tensor>& parameters) {
  double sum = 0;
  for (const Tensor& p : parameters) sum += p.grad() ? sum_of_squares(p.grad()) : 0;
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
    if (p.grad()) change(p.grad(), [factor]<class T>(T g) { return g * T(factor); });
  }
  return norm;
}

void clip_grad_value(const std::vector<Tensor>& parameters, double clip_value) {
  check_limit("clip_grad_value", "clip_value", clip_value);
  for (const Tensor& p : parameters) {
    const auto limited = [clip_value]<class T>(T g) {
      return g > T(clip_value) ? T(clip_value) : g < T(-clip_value) ? T(-clip_value) : g;
    };
    if (p.grad()) change(p.grad(), limited);
  }
}

}  // namespace gradus
