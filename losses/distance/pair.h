// Distances between two vectors, for kernels that handle one row, and the op that makes a loss of one distance per row.
//
//   Euclidean    d = |u - v|             dd/du = (u - v) / d                        d = 0: subgradient 0
//   Cosine       d = 1 - cos(u, v)       dd/du = (a - b - d a) / |u|                a = u / |u|, b = v / |v|
//   Similarity   c = cos(u, v)           dc/du = (b - c a) / |u|                    u or v zero: c = 0, gradient 0
//
// cos = <a, b>, and |a - b|^2 = 2 - 2 cos: Cosine is computed as |a - b|^2 / 2, which keeps its digits where u and v are
// nearly parallel. Its gradient is that of -cos, with b - cos a = b - a + d a for the same reason.
// Lengths neither overflow nor vanish: squares that leave the range are taken of x / max|x|.
#pragma once
#include "ops/elementwise.h"

namespace gradus {

// From here up a sum of squares has lost no digits to squares that vanished.
template <class T>
inline constexpr T least_safe_square = std::numeric_limits<T>::min() /
                                       (std::numeric_limits<T>::epsilon() * std::numeric_limits<T>::epsilon());

// |x|, x_k = f(k)
template <class T, class Team, class F> HD T length_of(Team team, Index n, F f) {
  const T s = team.template sum<T>(n, [=](Index k) { return f(k) * f(k); });
  if (s > least_safe_square<T> && s < vmath::infinity<T>) return std::sqrt(s);
  const T m = team.template max<T>(n, [=](Index k) { return f(k) < 0 ? -f(k) : f(k); });
  if (m != m || m == vmath::infinity<T>) return m;
  if (!(m > 0)) return 0;
  return m * std::sqrt(team.template sum<T>(n, [=](Index k) { return (f(k) / m) * (f(k) / m); }));
}

struct Euclidean {
  template <class T, class Team> HD static T of(Team team, Index n, const T* u, const T* v) {
    return length_of<T>(team, n, [=](Index k) { return u[k] - v[k]; });
  }
  // du += g dd/du, dv += g dd/dv; either may be null.
  template <class T, class Team>
  HD static void add_gradient(Team team, Index n, const T* u, const T* v, T d, T g, T* du, T* dv) {
    if (d == 0 || g == 0) return;
    if (du) team.each(n, [=](Index k) { du[k] += g * ((u[k] - v[k]) / d); });
    if (dv) team.each(n, [=](Index k) { dv[k] -= g * ((u[k] - v[k]) / d); });
  }
};

struct Cosine {
  template <class T, class Team> HD static T length(Team team, Index n, const T* u) {
    return length_of<T>(team, n, [=](Index k) { return u[k]; });
  }
  template <class T, class Team> HD static T of(Team team, Index n, const T* u, const T* v) {
    const T a = length(team, n, u), b = length(team, n, v);
    if (a == 0 || b == 0) return 1;
    return team.template sum<T>(n, [=](Index k) { return (u[k] / a - v[k] / b) * (u[k] / a - v[k] / b); }) / 2;
  }
  template <class T, class Team>
  HD static void add_gradient(Team team, Index n, const T* u, const T* v, T d, T g, T* du, T* dv) {
    const T a = length(team, n, u), b = length(team, n, v);
    if (a == 0 || b == 0 || g == 0) return;
    if (du) team.each(n, [=](Index k) { du[k] += g * ((u[k] / a - v[k] / b - d * (u[k] / a)) / a); });
    if (dv) team.each(n, [=](Index k) { dv[k] += g * ((v[k] / b - u[k] / a - d * (v[k] / b)) / b); });
  }
};

struct Similarity {
  template <class T, class Team> HD static T of(Team team, Index n, const T* u, const T* v) {
    const T a = Cosine::length(team, n, u), b = Cosine::length(team, n, v);
    if (a == 0 || b == 0) return 0;
    return team.template sum<T>(n, [=](Index k) { return (u[k] / a) * (v[k] / b); });
  }
  template <class T, class Team>
  HD static void add_gradient(Team team, Index n, const T* u, const T* v, T, T g, T* du, T* dv) {
    Cosine::add_gradient(team, n, u, v, Cosine::of(team, n, u, v), -g, du, dv);
  }
};

// ---- one loss per row, f(d, y): F states name, Distance, value(d, y) and slope(d, y) = df/dd

template <class T, class F> struct PairForward {
  F f;
  Index n;
  const T *u, *v, *y;  // y is null when the loss has no labels
  T *d, *loss;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T s = F::Distance::of(team, n, u + r * n, v + r * n);
    if (team.leads()) {
      d[r] = s;
      loss[r] = f.value(s, y ? y[r] : T(0));
    }
  }
};

template <class T, class F> struct PairBackward {
  F f;
  Index n;
  const T *dy, *u, *v, *y, *d;
  T *du, *dv;  // null when not wanted
  template <class Team> HD void operator()(Index r, Team team) const {
    const T g = dy[r] * f.slope(d[r], y ? y[r] : T(0));
    F::Distance::add_gradient(team, n, u + r * n, v + r * n, d[r], g, du ? du + r * n : nullptr,
                              dv ? dv + r * n : nullptr);
  }
};

template <class T> T* wanted(Out dx, int i) { return dx.wants(i) ? dx.into(i).template data_mut<T>() : nullptr; }

// in: u, v [..,D], labels [..] of the same type or undefined.  y: one loss per row, [..].
template <class F> struct Pair final : Op {
  F f;
  Tensor d;  // [rows], for the backward pass
  explicit Pair(F g) : f(g) {}
  const char* name() const override { return F::name; }
  Tensor forward(In in) override {
    const Tensor& u = in[0];
    const Index n = u.size(-1);
    Tensor loss = empty(u.shape().without(u.rank() - 1), u.dtype(), u.device());
    d = empty({loss.numel()}, u.dtype(), u.device());
    dispatch_float(F::name, u.dtype(), [&]<class T>() {
      launch_rows(
          u.device(), loss.numel(), n,
          PairForward<T, F>{f, n, u.data<T>(), in[1].data<T>(), kept<T>(in[2]), d.data_mut<T>(), loss.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index n = in[0].size(-1);
    dispatch_float(F::name, dy.dtype(), [&]<class T>() {
      launch_rows(dy.device(), dy.numel(), n,
                  PairBackward<T, F>{f, n, dy.data<T>(), in[0].data<T>(), in[1].data<T>(), kept<T>(in[2]), d.data<T>(),
                                     wanted<T>(dx, 0), wanted<T>(dx, 1)});
    });
  }
};

}  // namespace gradus
