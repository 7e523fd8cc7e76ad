// The rows of gamma-CE, for gamma_ce.cpp: the function of log p, the loss and gradients of soft targets, and smoothed labels.
#pragma once
#include <cmath>

#include "losses/softmax/partition.h"

namespace gradus::gammace {

// y = -log(g + (1 - g) e^l) / (1 - g)
// dy/dl = -e^l / (g + (1 - g) e^l)
struct Phi {
  static constexpr auto name = "gamma_ce";
  double g, rest, log_gamma, log_rest;  // rest = 1 - g; g > 0, since g = 0 is cross_entropy
  explicit Phi(double gamma) : g(gamma), rest(1 - gamma), log_gamma(std::log(gamma)), log_rest(std::log1p(-gamma)) {}
  // y = -log1p(-(1 - g)(1 - p)) / (1 - g) near u = g + (1 - g) p = 1, else -logaddexp(log g, log(1 - g) + l) / (1 - g)
  template <class T> HD T value(T l) const {
    const T a = T(rest), q = -vmath::expm1(l);  // 1 - p
    if (a == 0) return q;
    if (a * q < T(0.5)) return -vmath::log1p(-a * q) / a;
    const T one = T(log_gamma), two = T(log_rest) + l;
    return -((one > two ? one : two) + vmath::log1p(vmath::exp(one > two ? two - one : one - two))) / a;
  }
  template <class T> HD T slope(T l) const { return -vmath::exp(l + T(rest) * value(l)); }

  // The same of p <= 1/2, without branches: a loop over a row runs in vector lanes. Near u = 1 its logarithm gets back
  // what rounding took: log(1 + x) = log u + (x - (u - 1)) / u,  u = fl(1 + x).
  template <class T> [[gnu::always_inline]] HD T mix(T p) const { return T(g) + T(rest) * p; }
  template <class T> [[gnu::always_inline]] HD T small_value(T p) const {
    const T a = T(rest), u = mix(p), x = -a * (1 - p), lost = x > T(-0.5) ? x - (u - 1) : T(0);
    const T log_u = vmath::log(u) + lost / u, inverse = 1 / a, y = -(u > 0 ? log_u : T(log_gamma)) * inverse;
    return a == 0 ? 1 - p : y;
  }
  template <class T> [[gnu::always_inline]] HD T small_slope(T p) const {
    const T y = -p / mix(p);
    return p == 0 ? T(0) : y;
  }
};

// L_r = sum_c q_c phi(l_c),  l_c = (z_c - m) - log_z
template <class T> struct SoftLoss {
  Phi phi;
  const T *logits, *q;
  Index classes;
  T *loss, *m, *log_z;  // [N] each
  Index* best;          // [N] the likeliest class, or -1 where q is 0
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const T *z = logits + r * classes, *w = q + r * classes;
    const bool counts = team.template sum<T>(classes, [=](Index c) { return w[c] < 0 ? -w[c] : w[c]; }) != 0;
    Index k = -1;
    T L = 0, top = 0, rest = 0;
    if (counts) {
      const Partition<T> p = partition<T>(team, classes, [=](Index c) { return z[c]; });
      const Phi f = phi;
      const auto rival = [=](Index c) {
        const T p_c = vmath::exp_below((z[c] - p.top) - p.rest);
        return w[c] * f.small_value(p_c);
      };
      k = team.template argmax<T>(classes, [=](Index c) { return z[c]; });
      L = w[k] * f.value((z[k] - p.top) - p.rest) + team.template sum<T>(k, rival) +
          team.template sum<T>(classes - 1 - k, [=](Index c) { return rival(k + 1 + c); });
      top = p.top, rest = p.rest;
    }
    if (team.leads()) {
      loss[r] = L;
      m[r] = top;
      log_z[r] = rest;
      best[r] = k;
    }
  }
};

// dL_r/dz_j = s_j - p_j S,  S = sum_c s_c,  s_c = q_c dphi/dl_c; the likeliest class: s_k (1 - p_k) - p_k (S - s_k)
template <class T, bool Add> struct SoftLogitGradient {
  Phi phi;
  const T *dy, *logits, *q, *m, *log_z;
  const Index* best;
  Index classes;
  T* dz;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const T *z = logits + r * classes, *w = q + r * classes, top = m[r], rest = log_z[r], g = dy[r];
    const Index k = best[r];
    T* to = dz + r * classes;
    const auto put = [=](Index j, T v) { to[j] = Add ? to[j] + v : v; };
    if (k < 0) return team.each(classes, [=](Index j) { put(j, T(0)); });
    const Phi f = phi;
    const auto p = [=](Index c) { return vmath::exp_below((z[c] - top) - rest); };
    const auto s = [=](Index c) { return w[c] * f.small_slope(p(c)); };
    const T others =
        team.template sum<T>(k, s) + team.template sum<T>(classes - 1 - k, [=](Index c) { return s(k + 1 + c); });
    const T l = (z[k] - top) - rest, own = w[k] * f.slope(l), all = own + others;
    const auto rival = [=](Index j) {
      const T p_j = p(j);
      put(j, g * (w[j] * f.small_slope(p_j) - p_j * all));
    };
    team.each(k, rival);
    team.each(classes - 1 - k, [=](Index j) { rival(k + 1 + j); });
    if (team.leads()) put(k, -g * (own * vmath::expm1(l) + vmath::exp_below(l) * others));
  }
};

// dL_r/dq_c = phi(l_c)
template <class T> struct SoftTargetGradient {
  Phi phi;
  const T *dy, *logits, *m, *log_z;
  Index classes;
  T* dq;
  HD void operator()(Index r, Index c) const {
    dq[r * classes + c] += dy[r] * phi.value((logits[r * classes + c] - m[r]) - log_z[r]);
  }
};

// q_c = (1 - eps) t_c + eps / C; an ignored row is all 0.  [N,C]
template <class T> struct SmoothedLabels {
  const Index* label;
  Index ignore, classes;
  T at_label, elsewhere;
  T* q;
  HD void operator()(Index r, Index c) const {
    q[r * classes + c] = label[r] == ignore ? T(0) : c == label[r] ? at_label : elsewhere;
  }
};

}  // namespace gradus::gammace
