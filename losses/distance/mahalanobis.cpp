#include "losses/distance/mahalanobis.h"

#include "losses/distance/checks.h"
#include "losses/distance/hinge.h"
#include "losses/distance/pair.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as the derivation starts, with M itself

Tensor distance(const Tensor& x, const Tensor& M) {
  const Tensor d2 = sum(matmul(x, M) * x, {1});  // [N]
  const Tensor same = less_equal(d2, zeros({}, d2.dtype(), d2.device()));
  return masked_fill(sqrt(masked_fill(d2, same, 1)), same, 0);
}

Tensor definition(const Tensor& a, const Tensor& p, const Tensor& n, const Tensor& L, double margin) {
  const Tensor M = matmul(L, L, {.transpose_b = true});  // [D,D]
  return clamp(distance(a - p, M) - distance(a - n, M) + margin, 0, vmath::infinity<double>);
}

// ---- as it ends: one node

// x_r = a_r - p_r, x_{N+r} = a_r - n_r
template <class T> struct Gaps {
  Index N, D;
  const T *a, *p, *n;
  T* x;
  HD void operator()(Index r, Index k) const {
    const Index i = r * D + k;
    x[i] = a[i] - p[i];
    x[N * D + i] = a[i] - n[i];
  }
};

// d = |w|, L_r = max(0, d_r - d_{N+r} + margin)
template <class T> struct GapHinge {
  Index N, K;
  T margin;
  const T* w;
  T *d, *loss;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *near = w + r * K, *far = w + (N + r) * K;
    const T dp = length_of<T>(team, K, [=](Index k) { return near[k]; });
    const T dn = length_of<T>(team, K, [=](Index k) { return far[k]; });
    if (team.leads()) {
      d[r] = dp;
      d[N + r] = dn;
      loss[r] = hinge(dp - dn + margin);
    }
  }
};

// g_r = dy_r w_r / d_r and g_{N+r} = -dy_r w_{N+r} / d_{N+r} where the hinge is open
template <class T> struct GapHingeGradient {
  Index N, K;
  T margin;
  const T *dy, *w, *d;
  T* g;
  HD void operator()(Index r, Index k) const {
    const T s = dy[r] * hinge_slope(d[r] - d[N + r] + margin);
    const Index near = r * K + k, far = (N + r) * K + k;
    g[near] = d[r] == 0 ? T(0) : s * (w[near] / d[r]);
    g[far] = d[N + r] == 0 ? T(0) : -s * (w[far] / d[N + r]);
  }
};

// da += dx_r + dx_{N+r}, dp -= dx_r, dn -= dx_{N+r}
template <class T> struct SpreadGaps {
  Index N, D;
  const T* dx;
  T *da, *dp, *dn;  // null when not wanted
  HD void operator()(Index r, Index k) const {
    const Index i = r * D + k;
    const T near = dx[i], far = dx[N * D + i];
    if (da) da[i] += near + far;
    if (dp) dp[i] -= near;
    if (dn) dn[i] -= far;
  }
};

// in: anchor, positive, negative [N,D], L [D,K].  y: one loss per row.
struct TripletMahalanobis final : Op {
  double margin;
  Tensor x, w, d;  // [2N,D], [2N,K], [2N], for the backward pass
  explicit TripletMahalanobis(double m) : margin(m) {}
  const char* name() const override { return "triplet_mahalanobis"; }

  Tensor forward(In in) override {
    const Tensor &a = in[0], &L = in[3];
    const Index N = a.size(0), D = a.size(1), K = L.size(1);
    const auto fresh = [&](const Shape& shape) { return empty(shape, a.dtype(), a.device()); };
    x = fresh({2 * N, D}), w = fresh({2 * N, K}), d = fresh({2 * N});
    Tensor loss = fresh({N});
    dispatch_float(name(), a.dtype(), [&]<class T>() {
      launch_grid(a.device(), N, D, Gaps<T>{N, D, a.data<T>(), in[1].data<T>(), in[2].data<T>(), x.data_mut<T>()});
      a.device().gemm(a.dtype(), {.m = 2 * N, .n = K, .k = D}, x.data<T>(), L.data<T>(), w.data_mut<T>());
      launch_rows(a.device(), N, K, GapHinge<T>{N, K, T(margin), w.data<T>(), d.data_mut<T>(), loss.data_mut<T>()});
    });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out out) override {
    const Tensor& L = in[3];
    const Index N = dy.size(0), D = L.size(0), K = L.size(1);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      Tensor g = empty(w.shape(), dy.dtype(), dy.device());
      launch_grid(dy.device(), N, K,
                  GapHingeGradient<T>{N, K, T(margin), dy.data<T>(), w.data<T>(), d.data<T>(), g.data_mut<T>()});
      if (out.wants(3)) {  // dL += X^T G
        dy.device().gemm(dy.dtype(), {.transpose_a = true, .accumulate = true, .m = D, .n = K, .k = 2 * N}, x.data<T>(),
                         g.data<T>(), out.into(3).data_mut<T>());
      }
      if (!out.wants(0) && !out.wants(1) && !out.wants(2)) return;
      Tensor dx = empty(x.shape(), dy.dtype(), dy.device());  // G L^T
      dy.device().gemm(dy.dtype(), {.transpose_b = true, .m = 2 * N, .n = D, .k = K}, g.data<T>(), L.data<T>(),
                       dx.data_mut<T>());
      launch_grid(dy.device(), N, D,
                  SpreadGaps<T>{N, D, dx.data<T>(), wanted<T>(out, 0), wanted<T>(out, 1), wanted<T>(out, 2)});
    });
  }
};

}  // namespace

Tensor triplet_mahalanobis(At anchor, const Tensor& positive, const Tensor& negative, const Tensor& L,
                           TripletOptions o) {
  constexpr auto op = "triplet_mahalanobis";
  check_row_pairs(op, anchor, positive);
  check_row_pairs(op, anchor, negative);
  if (!L) fail(op, "L is undefined: it was declared but never assigned");
  check_same_kind(op, anchor, L);
  if (L.rank() != 2 || L.size(0) != anchor->size(1)) {
    fail(op, "needs L [D,K] for vectors [N,D]: anchor " + anchor->describe() + ", L " + L.describe());
  }
  check_at_least(op, "margin", o.margin, 0);
  const Tensor rows = o.form == Form::definition ? definition(anchor, positive, negative, L, o.margin)
                                                 : apply(TripletMahalanobis(o.margin), anchor, positive, negative, L);
  return reduce_elements(At(rows, anchor.line), o.reduction);
}

// ---- for the table of losses

namespace {

// Rows in turn with an open and a closed hinge.
Inputs triples(Index N, Index D, Index K, Rng& rng) {
  const Tensor a = randn({N, D}, rng, DType::f64), L = randn({D, K}, rng, DType::f64);
  const Tensor step = rand({N, D}, rng, DType::f64) + 0.1;
  Tensor p = (a + 2.0 * step).clone(), n = (a - step).clone();
  for (Index r = 1; r < N; r += 2) {
    for (Index k = 0; k < D; ++k) {
      const double x = value_at(a, r * D + k), s = value_at(step, r * D + k);
      set_value(p, r * D + k, x + 0.1 * s);
      set_value(n, r * D + k, x - 9 * s);
    }
  }
  return {{"anchor", a}, {"positive", p}, {"negative", n}, {"L", L}};
}

std::vector<LossSample> mahalanobis_samples(Rng& rng) {
  Inputs equal = triples(2, 3, 3, rng), huge = triples(2, 3, 2, rng);
  equal["positive"] = equal["negative"] = equal["anchor"];
  for (const char* which : {"anchor", "positive", "negative"}) huge[which] = 1e18 * huge[which];
  return {
      {"mean", triples(5, 3, 3, rng), {{"margin", 0.2}}},
      {"two directions of four, none", triples(4, 4, 2, rng), {{"margin", 0.2}, {"reduction", "none"}}},
      {"more columns than axes, sum", triples(3, 2, 5, rng), {{"margin", 0.2}, {"reduction", "sum"}}},
      {"no rows", triples(0, 3, 2, rng)},
      {.what = "equal points", .inputs = equal, .extreme = true},
      {.what = "lengths of 1e18", .inputs = huge, .options = {{"margin", 1e19}}, .extreme = true},
  };
}

}  // namespace

Losses mahalanobis_losses() {
  return {{.name = "triplet_mahalanobis",
           .family = Family::distance,
           .formula = "max(0, |(a-p) L| - |(a-n) L| + margin)",
           .seeds = "A053 A055",
           .task = "embeddings, metric learning",
           .inputs = {{"anchor", "[N,D]"}, {"positive", "[N,D]"}, {"negative", "[N,D]"}, {"L", "[D,K]"}},
           .options = {{"margin", 1.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return triplet_mahalanobis(a["anchor"], a["positive"], a["negative"], a["L"],
                                            {.margin = a.number("margin"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = mahalanobis_samples}};
}

}  // namespace gradus
