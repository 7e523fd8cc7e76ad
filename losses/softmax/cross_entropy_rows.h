// The rows of cross entropy, for the one node of cross_entropy.cpp: where q comes from, the loss, the gradients of the logits
// and of soft targets. cross_entropy.h derives them.
#pragma once
#include <type_traits>

#include "losses/softmax/partition.h"

namespace gradus::ce {

// q_c = own [c = label] + spread(c). Two parts, so that no loop over the classes asks for the label.
// Hard targets: own = (1 - eps) w_t, spread = w_c eps / C; soft: own = 0, spread = w_c ((1 - eps) t_c + eps / C).
template <class T> struct Even {  // all classes alike; label smoothing without class weights, or none
  T share;
  HD T at(Index) const { return share; }
};
template <class T> struct EvenWeighted {
  T share;
  const T* w;
  HD T at(Index c) const { return w[c] * share; }
};
template <class T> struct Soft {
  T share, kept;
  const T* t;
  HD T at(Index c) const { return kept * t[c] + share; }
};
template <class T> struct SoftWeighted {
  T share, kept;
  const T *t, *w;
  HD T at(Index c) const { return w[c] * (kept * t[c] + share); }
};

template <class T> struct Targets {
  const Index* label;      // [N], or null
  const T *soft, *weight;  // [N,C] or null; [C] or null
  Index classes, ignore;
  T eps;
  HD bool counts(Index r) const { return !label || label[r] != ignore; }
  HD T own(Index r) const { return !label ? T(0) : (1 - eps) * (weight ? weight[label[r]] : T(1)); }
  HD void spread(Index, Even<T>& s) const { s = {eps / T(classes)}; }
  HD void spread(Index, EvenWeighted<T>& s) const { s = {eps / T(classes), weight}; }
  HD void spread(Index r, Soft<T>& s) const { s = {eps / T(classes), 1 - eps, soft + r * classes}; }
  HD void spread(Index r, SoftWeighted<T>& s) const { s = {eps / T(classes), 1 - eps, soft + r * classes, weight}; }
};

// L_r = sum_c q_c (log_z + m - z_c),  log_z = lse - m
template <class T, class Spread> struct RowLoss {
  Targets<T> targets;
  const T* logits;
  T *loss, *m, *log_z;  // [N] each
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const Index C = targets.classes;
    const T* z = logits + r * C;
    T sum = 0, top = 0, rest = 0;
    if (targets.counts(r)) {
      const Partition<T> p = partition<T>(team, C, [=](Index j) { return z[j]; });
      top = p.top, rest = p.rest;
      const auto term = [=](T q, Index c) {
        const T nll = p.rest + (p.top - z[c]), product = q * nll;
        return q == 0 && nll == vmath::infinity<T> ? T(0) : product;
      };
      if (targets.label) sum = term(targets.own(r), targets.label[r]);
      if (!targets.label || targets.eps != 0) {
        Spread q;
        targets.spread(r, q);
        sum += team.template sum<T>(C, [=](Index c) { return term(q.at(c), c); });
      }
    }
    if (team.leads()) {
      loss[r] = sum;
      m[r] = top;
      log_z[r] = rest;
    }
  }
};

// dL_r/dz_j = Q p_j - q_j, Q = own + S, S = sum_c spread(c); at the label own (p_t - 1) + S p_t - spread(t)
template <class T, class Spread, bool Add> struct LogitGradient {
  Targets<T> targets;
  const T *dy, *logits, *m, *log_z;
  T* dz;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const Index C = targets.classes;
    const T *z = logits + r * C, top = m[r], rest = log_z[r], g = targets.counts(r) ? dy[r] : T(0);
    T* to = dz + r * C;
    const auto put = [=](Index j, T v) { to[j] = Add ? to[j] + v : v; };
    if (g == 0) return team.each(C, [=](Index j) { put(j, T(0)); });
    Spread q;
    targets.spread(r, q);
    const T own = targets.own(r);
    T S = targets.eps;
    if constexpr (!std::is_same_v<Spread, Even<T>>) S = team.template sum<T>(C, [=](Index c) { return q.at(c); });
    const T Q = own + S;
    const auto entry = [=](Index j) { put(j, g * (Q * vmath::exp_below((z[j] - top) - rest) - q.at(j))); };
    if (!targets.label) return team.each(C, entry);
    const Index t = targets.label[r];
    team.each(t, entry);
    team.each(C - 1 - t, [=](Index j) { entry(t + 1 + j); });
    // p_t - 1 keeps its digits as expm1(log p_t): at p_t = 1 - 1e-20 too.
    const T l = (z[t] - top) - rest;
    if (team.leads()) put(t, g * (own * vmath::expm1(l) + S * vmath::exp_below(l) - q.at(t)));
  }
};

// dL_r/dt_c = w_c (1 - eps) (-log p_c), soft targets only
template <class T, class Spread, bool Add> struct TargetGradient {
  Targets<T> targets;
  const T *dy, *logits, *m, *log_z;
  T* dt;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const Index C = targets.classes;
    const T *z = logits + r * C, *w = targets.weight, top = m[r], rest = log_z[r], g = dy[r] * (1 - targets.eps);
    T* to = dt + r * C;
    Spread q;
    targets.spread(r, q);
    team.each(C, [=](Index c) {
      const T nll = rest + (top - z[c]), slope = (w ? g * w[c] : g) * nll;
      const T v = q.at(c) == 0 && nll == vmath::infinity<T> ? T(0) : slope;
      to[c] = Add ? to[c] + v : v;
    });
  }
};

}  // namespace gradus::ce
