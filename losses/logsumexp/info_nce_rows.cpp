#include "losses/logsumexp/info_nce_rows.h"

#include <cmath>

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// The sets A and P of row r. Types, and | and & instead of || and &&, so that the loops have no branches and vectorise.
struct OwnColumn {  // Positives::diagonal, no ids
  static constexpr bool one_positive = true;
  std::int32_t r;
  HD OwnColumn(const Index*, Index row) : r(std::int32_t(row)) {}
  HD bool candidate(Index) const { return true; }
  HD bool positive(Index c) const { return std::int32_t(c) == r; }
};
struct OwnColumnOfId {  // Positives::diagonal
  static constexpr bool one_positive = true;
  std::int32_t r;
  const Index* id;
  Index own;
  HD OwnColumnOfId(const Index* ids, Index row) : r(std::int32_t(row)), id(ids), own(ids[row]) {}
  HD bool candidate(Index c) const { return (std::int32_t(c) == r) | (id[c] != own); }
  HD bool positive(Index c) const { return std::int32_t(c) == r; }
};
struct OthersOfId {  // Positives::same_id
  static constexpr bool one_positive = false;
  std::int32_t r;
  const Index* id;
  Index own;
  HD OthersOfId(const Index* ids, Index row) : r(std::int32_t(row)), id(ids), own(ids[row]) {}
  HD bool candidate(Index c) const { return std::int32_t(c) != r; }
  HD bool positive(Index c) const { return (std::int32_t(c) != r) & (id[c] == own); }
};

template <class F> void with_choice(Positives positives, const Index* ids, const F& f) {
  if (positives == Positives::same_id) return f.template operator()<OthersOfId>();
  if (ids) return f.template operator()<OwnColumnOfId>();
  f.template operator()<OwnColumn>();
}

// ---- as the derivation starts: a log softmax over the candidates, on the tape

Tensor definition(const Tensor& similarity, const Index* ids, Positives kind, double temperature) {
  const Index N = similarity.size(0);
  Tensor outside = zeros({N, N}, DType::u8), weight = zeros({N, N}, similarity.dtype());
  with_choice(kind, ids, [&]<class Choice>() {
    for (Index r = 0; r < N; ++r) {
      const Choice in(ids, r);
      Index positives = 0;
      for (Index c = 0; c < N; ++c) positives += in.positive(c);
      for (Index c = 0; c < N; ++c) {
        if (positives) set_value(outside, r * N + c, !in.candidate(c));
        if (in.positive(c)) set_value(weight, r * N + c, 1 / double(positives));
      }
    }
  });
  const Tensor log_p = log_softmax(masked_fill(similarity / temperature, outside, -vmath::infinity<double>));  // [N,N]
  return -sum(weight * masked_fill(log_p, outside, 0), {1});                                                   // [N]
}

// ---- as the derivation ends: one node

template <class T, class Choice> struct RowLoss {
  const Index* ids;
  const T* similarity;
  Index N;
  T sharpness;                   // 1 / temperature
  T *loss, *top, *rest, *count;  // [N] each; lse = sharpness top + rest
  template <class Team> HD void operator()(Index r, Team team) const {
    const Choice in(ids, r);
    const T *s = similarity + r * N, k = sharpness;
    const T positives =
        Choice::one_positive ? T(1) : team.template sum<T>(N, [=](Index c) { return T(in.positive(c)); });
    T m = 0, log_sum = 0, gaps = 0;
    if (positives > 0) {
      m = team.template max<T>(N, [=](Index c) { return in.candidate(c) ? s[c] : -vmath::infinity<T>; });
      // The greatest terms are 1 each. One of them is the 1 of log1p, so that small others keep their digits.
      const T greatest = team.template sum<T>(N, [=](Index c) { return T(in.candidate(c) & (s[c] == m)); });
      const T others = team.template sum<T>(
          N, [=](Index c) { return (in.candidate(c) & (s[c] < m)) ? vmath::exp(k * (s[c] - m)) : T(0); });
      log_sum = vmath::log1p(others + (greatest - 1));
      gaps = Choice::one_positive ? m - s[r]
                                  : team.template sum<T>(N, [=](Index c) { return in.positive(c) ? m - s[c] : T(0); });
    }
    if (team.leads()) {
      loss[r] = positives > 0 ? log_sum + k * (gaps / positives) : T(0);
      top[r] = m;
      rest[r] = log_sum;
      count[r] = positives;
    }
  }
};

template <class T, class Choice> struct SimilarityGradient {
  const Index* ids;
  const T *dy, *similarity, *loss, *top, *rest, *count;
  Index N;
  T sharpness;
  T* ds;
  bool add;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Choice in(ids, r);
    const T *s = similarity + r * N, k = sharpness, m = top[r], log_sum = rest[r], positives = count[r];
    const T g = positives > 0 ? dy[r] * k : T(0);
    T* to = ds + r * N;
    const bool plus = add;
    if (g == 0) return team.each(N, [=](Index c) { to[c] = plus ? to[c] : T(0); });
    // A single positive has log p = -L, and p - 1 keeps its digits as expm1(-L): also where p is 1 - 1e-20.
    const bool single = positives == 1;
    const T fixed = single ? vmath::expm1(-loss[r]) : -1 / positives, moving = single ? T(0) : T(1);
    team.each(N, [=](Index c) {
      const T p = vmath::exp(k * (s[c] - m) - log_sum);
      const T pull = in.positive(c) ? fixed + moving * p : p;
      const T v = in.candidate(c) ? g * pull : T(0);
      to[c] = plus ? to[c] + v : v;
    });
  }
};

// y_r = log sum_{c in A} e^{S_rc / t} - 1/|P| sum_{c in P} S_rc / t
// dy_r/dS_rc = ([c in A] p_rc - [c in P] / |P|) / t
struct InfoNceRows final : Op {
  Positives positives;
  double temperature;
  Tensor top, rest, count;  // [N]
  InfoNceRows(Positives p, double t) : positives(p), temperature(t) {}
  const char* name() const override { return "info_nce_rows"; }
  Keep keep() const override { return Keep::both; }

  template <class F> void with_types(In in, const F& f) const {
    dispatch_float(name(), in[0].dtype(), [&]<class T>() {
      with_choice(positives, kept<Index>(in[1]), [&]<class Choice>() { f.template operator()<T, Choice>(); });
    });
  }

  Tensor forward(In in) override {
    const Tensor& s = in[0];
    const Index N = s.size(0);
    Tensor loss = empty({N}, s.dtype(), s.device());
    top = empty({N}, s.dtype(), s.device());
    rest = empty({N}, s.dtype(), s.device());
    count = empty({N}, s.dtype(), s.device());
    with_types(in, [&]<class T, class Choice>() {
      launch_rows(s.device(), N, N,
                  RowLoss<T, Choice>{kept<Index>(in[1]), s.data<T>(), N, T(1 / temperature), loss.data_mut<T>(),
                                     top.data_mut<T>(), rest.data_mut<T>(), count.data_mut<T>()});
    });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    if (!dx.wants(0)) return;
    const Tensor& s = in[0];
    const Index N = s.size(0);
    auto [ds, started] = dx.sum(0);
    with_types(in, [&, &to = ds, add = started]<class T, class Choice>() {
      launch_rows(s.device(), N, N,
                  SimilarityGradient<T, Choice>{kept<Index>(in[1]), dy.data<T>(), s.data<T>(), y.data<T>(),
                                                top.data<T>(), rest.data<T>(), count.data<T>(), N, T(1 / temperature),
                                                to.template data_mut<T>(), add});
    });
  }
};

}  // namespace

Tensor info_nce_rows(At similarity, const Tensor& ids, Positives positives, double temperature, Form form) {
  if (form == Form::closed) return apply(InfoNceRows{positives, temperature}, similarity, ids);
  return definition(similarity, kept<Index>(ids), positives, temperature);
}

void check_temperature(const char* loss, double temperature) {
  if (!(temperature > 0 && std::isfinite(temperature))) {
    fail(loss, "the temperature must be a finite number above 0, got " + std::to_string(temperature));
  }
}

void check_views(const char* loss, const Tensor& a, const Tensor& b) {
  if (!a || !b) fail(loss, "needs two tensors [N,D]; one of them is undefined");
  check_same_kind(loss, a, b);
  if (a.rank() != 2 || a.shape() != b.shape()) {
    fail(loss, "needs two tensors [N,D] of one shape, got " + a.describe() + " and " + b.describe());
  }
}

}  // namespace gradus
