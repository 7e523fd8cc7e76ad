// log_odds of nm.h: f_j = s_j - log sum_{k != j} e^{s_k}, the logit of a softmax probability, without cancellation.
#include "losses/logsumexp/nm.h"
#include "ops/elementwise.h"

namespace gradus {
namespace {

// One row around its greatest entry k: log sum_{j != c} e^{s_j} is top + log(1 + rest - e^{s_c - top}) for c != k, and
// second + log_rest for c = k.
template <class T> struct Around {
  Index k;
  T top, rest, second, log_rest;
  template <class Team> HD Around(Team team, Index m, const T* s) {
    const Index at = k = team.template argmax<T>(m, [=](Index j) { return s[j]; });
    const T a = top = s[at];
    rest = team.template sum<T>(m, [=](Index j) { return j == at ? T(0) : vmath::exp(s[j] - a); });
    const T b = second = team.template max<T>(m, [=](Index j) { return j == at ? -vmath::infinity<T> : s[j]; });
    const T all = team.template sum<T>(m, [=](Index j) { return j == at ? T(0) : vmath::exp(s[j] - b); });
    log_rest = vmath::log(all);
  }
};

template <class T> struct OddsForward {
  Index m;
  const T* s;
  T* f;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* x = s + r * m;
    T* y = f + r * m;
    if (m <= 1) return team.each(m, [=](Index j) { y[j] = vmath::infinity<T>; });
    const Around<T> a(team, m, x);
    const Index k = a.k;
    const T top = a.top, rest = a.rest, at_top = (a.top - a.second) - a.log_rest;
    team.each(m, [=](Index j) {
      const T gap = x[j] - top;
      y[j] = j == k ? at_top : gap - vmath::log1p(rest - vmath::exp(gap));
    });
  }
};

// ds_c = g_c - sum_{j != c} g_j e^{s_c - log sum_{l != j} e^{s_l}}
template <class T> struct OddsBackward {
  Index m;
  const T *dy, *s;
  T* ds;
  template <class Team> HD void operator()(Index r, Team team) const {
    if (m <= 1) return;
    const T *x = s + r * m, *g = dy + r * m;
    T* to = ds + r * m;
    const Around<T> a(team, m, x);
    const Index k = a.k;
    const T top = a.top, rest = a.rest, second = a.second, log_rest = a.log_rest, at_top = g[k];
    const auto share = [=](Index j) { return g[j] / (1 + rest - vmath::exp(x[j] - top)); };  // g_j e^{top - log sum}
    const T others = team.template sum<T>(m, [=](Index j) { return j == k ? T(0) : share(j); });
    team.each(m, [=](Index j) {
      const T from_others = vmath::exp(x[j] - top) * (others - share(j));
      const T from_top = at_top * vmath::exp((x[j] - second) - log_rest);
      to[j] += j == k ? at_top - others : g[j] - from_others - from_top;
    });
  }
};

// f_j = s_j - log sum_{k != j} e^{s_k}
// df_j/ds_k = [k = j] - [k != j] e^{s_k} / sum_{l != j} e^{s_l}
struct LogOdds final : Op {
  const char* name() const override { return "log_odds"; }
  bool makes_infinity() const override { return true; }  // one class has no odds
  Tensor forward(In in) override {
    const Tensor& s = in[0];
    Tensor f = empty(s.shape(), s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), s.size(0), s.size(1), OddsForward<T>{s.size(1), s.data<T>(), f.data_mut<T>()});
    });
    return f;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& s = in[0];
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), s.size(0), s.size(1),
                  OddsBackward<T>{s.size(1), dy.data<T>(), s.data<T>(), dx.into(0).template data_mut<T>()});
    });
  }
};

}  // namespace

Tensor log_odds(At s) {
  if (s->rank() != 2) fail("log_odds", "needs scores [n,m], got " + s->describe());
  return apply(LogOdds{}, s);
}

}  // namespace gradus
