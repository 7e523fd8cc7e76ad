// What the divergences share: rows of probabilities, given as they are or as the softmax of logits, the sum over the
// classes of a term, and the way back to the logits.
//
//   D_r = sum_c f(t_c, p_c),   p = softmax(scale z)
//   dD/dz_j = scale (a_j - p_j sum_c a_c),   a_c = p_c df/dp_c        since dlog p_c/dz_j = [c = j] - p_j
//
// Safe form. With k the greatest logit, log p_c = scale (z_c - z_k) - log(1 + sum_{j != k} e^{scale (z_j - z_k)}),
// which keeps its digits when p_k is 1 - 1e-20. There the slope is -expm1(log p_k) a_k - p_k sum_{c != k} a_c.
//
// Choices between two values are written as sums with factors 0 and 1 where a branch would keep a loop from running in
// vector lanes.
#pragma once
#include <cmath>
#include <type_traits>

#include "losses/reduction.h"
#include "ops/elementwise.h"

namespace gradus {

// One row of logits, with their greatest and the logarithm of their sum.
template <class T> struct LogitRow {
  const T* z;
  Index top;
  T scale, peak, log_z;
  HD T log_at(Index c) const { return scale * (z[c] - peak) - log_z; }
  HD T at(Index, T log_p) const { return vmath::exp(log_p); }
};

template <class T> struct LogitRows {
  const T* z;
  Index classes;
  T scale;
  Index* top;
  T* log_z;  // [N] each

  HD LogitRow<T> row(Index r) const { return {z + r * classes, top[r], scale, z[r * classes + top[r]], log_z[r]}; }
  // Finds top and log_z of row r, and keeps them for the backward pass.
  template <class Team> HD LogitRow<T> fit(Index r, Team team) const {
    const T *x = z + r * classes, s = scale;
    const Index k = team.template argmax<T>(classes, [=](Index j) { return x[j]; });
    const T peak = x[k];
    const T rest = vmath::log1p(
        team.template sum<T>(classes, [=](Index j) { return j == k ? T(0) : vmath::exp(s * (x[j] - peak)); }));
    if (team.leads()) {
      top[r] = k;
      log_z[r] = rest;
    }
    return {x, k, s, peak, rest};
  }
};

// The same for probabilities that are given as they are.
template <class T> struct GivenRow {
  const T* p;
  HD T log_at(Index c) const { return vmath::log(p[c]); }
  HD T at(Index c, T) const { return p[c]; }
};
template <class T> struct GivenRows {
  const T* p;
  Index classes;
  HD GivenRow<T> row(Index r) const { return {p + r * classes}; }
  template <class Team> HD GivenRow<T> fit(Index r, Team) const { return row(r); }
};

// log p kept finite, so that 0 log 0 = 0 needs no branch: p is 0 long before.
template <class T> HD T finite_log(T log_p) { return log_p < T(-1e30) ? T(-1e30) : log_p; }

// to_j += g scale (a_j - p_j sum_c a_c)
template <class T, class Team, class A>
HD void pull_to_logits(Team team, Index classes, LogitRow<T> p, T g, A a, T* to) {
  const Index k = p.top;
  const T at_top = a(k), log_top = p.log_at(k), step = g * p.scale;
  const T rest = team.template sum<T>(classes, [=](Index c) { return T(c != k) * a(c); }), total = rest + at_top;
  const T top_slope = -vmath::expm1(log_top) * at_top - vmath::exp(log_top) * rest;
  team.each(classes, [=](Index j) {
    const T slope = a(j) - vmath::exp(p.log_at(j)) * total;
    to[j] += step * (T(j != k) * slope + T(j == k) * top_slope);
  });
}

// The top and log_z of one input, kept by an op from its forward to its backward pass.
struct SoftmaxRows {
  Tensor top, log_z;  // [N]
  void make(const Tensor& logits) {
    top = empty({logits.size(0)}, DType::i64, logits.device());
    log_z = empty({logits.size(0)}, logits.dtype(), logits.device());
  }
  template <class T> LogitRows<T> of(const Tensor& z, double scale = 1) {
    return {z.data<T>(), z.size(1), T(scale), top.data_mut<Index>(), log_z.data_mut<T>()};
  }
};

// ---- an op for each Term, which states f and its slopes at one class; t, p with their logarithms:
//   value(t, log_t, p, log_p)       f
//   by_log_p(..), by_log_t(..)      p df/dp, t df/dt, up to what is the same multiple of p, or t, for all classes
//   by_t(..)                        df/dt

template <class T, class Term, class Targets> struct DivergenceValue {
  Targets targets;
  LogitRows<T> softmax;
  bool root;
  T* y;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const auto t = targets.fit(r, team);
    const auto p = softmax.fit(r, team);
    const T s = team.template sum<T>(softmax.classes, [=](Index c) {
      const T log_t = t.log_at(c), log_p = p.log_at(c);
      return Term::value(t.at(c, log_t), log_t, p.at(c, log_p), log_p);
    });
    if (team.leads()) y[r] = root ? std::sqrt(s) : s;
  }
};

// What arrives at the sum: for y = sqrt(sum), dy / 2y, and 0 at y = 0.
template <class T> struct SumGradient {
  const T *dy, *y;
  bool root;
  HD T at(Index r) const { return !root ? dy[r] : y[r] > 0 ? dy[r] / (2 * y[r]) : T(0); }
};

// The side of p, or the side of t where t is a softmax too; `own` are the logits of that side.
template <class T, class Term, class Targets, bool OfTarget> struct DivergenceLogits {
  Targets targets;
  LogitRows<T> softmax, own;
  SumGradient<T> sums;
  T* dz;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const auto t = targets.row(r);
    const auto p = softmax.row(r);
    const auto a = [=](Index c) {
      const T log_t = t.log_at(c), log_p = p.log_at(c), vt = t.at(c, log_t), vp = p.at(c, log_p);
      return OfTarget ? Term::by_log_t(vt, log_t, vp, log_p) : Term::by_log_p(vt, log_t, vp, log_p);
    };
    pull_to_logits(team, own.classes, own.row(r), sums.at(r), a, dz + r * own.classes);
  }
};

template <class T, class Term> struct DivergenceTarget {
  GivenRows<T> targets;
  LogitRows<T> softmax;
  SumGradient<T> sums;
  T* dt;
  HD void operator()(Index r, Index c) const {
    const auto t = targets.row(r);
    const auto p = softmax.row(r);
    const T log_t = t.log_at(c), log_p = p.log_at(c);
    dt[r * softmax.classes + c] += sums.at(r) * Term::by_t(t.at(c, log_t), log_t, p.at(c, log_p), log_p);
  }
};

// in: logits [N,C], targets [N,C] as logits (OfLogits) or as probabilities.  y: one divergence per row, or its root.
template <class Term, bool OfLogits> struct Divergence final : Op {
  double scale = 1;
  bool root = false;
  SoftmaxRows t, p;
  explicit Divergence(double s = 1, bool r = false) : scale(s), root(r) {}
  const char* name() const override { return Term::name; }
  Keep keep() const override { return Keep::both; }

  template <class T> auto targets(const Tensor& x) {
    if constexpr (OfLogits) {
      return t.of<T>(x, scale);
    } else {
      return GivenRows<T>{x.data<T>(), x.size(1)};
    }
  }

  Tensor forward(In in) override {
    const Tensor& z = in[0];
    Tensor y = empty({z.size(0)}, z.dtype(), z.device());
    p.make(z);
    if (OfLogits) t.make(z);
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      const auto rows = targets<T>(in[1]);
      launch_rows(z.device(), z.size(0), z.size(1),
                  DivergenceValue<T, Term, std::remove_const_t<decltype(rows)>>{rows, p.of<T>(z, scale), root,
                                                                                y.template data_mut<T>()});
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      const auto rows = targets<T>(in[1]);
      const LogitRows<T> softmax = p.of<T>(in[0], scale);
      const SumGradient<T> sums{dy.data<T>(), y.data<T>(), root};
      if (dx.wants(0)) to_logits<T, false>(rows, softmax, softmax, sums, dx);
      if (!dx.wants(1)) return;
      if constexpr (OfLogits) {
        to_logits<T, true>(rows, softmax, rows, sums, dx);
      } else {
        launch_grid(dy.device(), dy.size(0), softmax.classes,
                    DivergenceTarget<T, Term>{rows, softmax, sums, dx.into(1).template data_mut<T>()});
      }
    });
  }

 private:
  template <class T, bool OfTarget, class Targets>
  void to_logits(const Targets& rows, const LogitRows<T>& softmax, const LogitRows<T>& own, const SumGradient<T>& sums,
                 Out dx) {
    Tensor& dz = dx.into(OfTarget ? 1 : 0);
    launch_rows(dz.device(), dz.size(0), dz.size(1),
                DivergenceLogits<T, Term, Targets, OfTarget>{rows, softmax, own, sums, dz.data_mut<T>()});
  }
};

// logits [N,C] and a second operand of the same kind and shape.
inline void check_rows(const char* op, const Tensor& logits, const Tensor& other, const char* what) {
  if (!logits || !other) fail(op, std::string("needs logits and ") + what + "; one of them is undefined");
  if (logits.rank() != 2 || logits.size(1) == 0) {
    fail(op,
         "needs logits [N,C] with C >= 1, got " + logits.describe() + "; classes are the last axis, reshape({-1, C})");
  }
  check_same_kind(op, logits, other);
  if (other.shape() != logits.shape()) {
    fail(op, std::string(what) + " need the shape of the logits " + logits.describe() + ", got " + other.describe());
  }
}

}  // namespace gradus
