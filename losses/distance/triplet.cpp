#include "losses/distance/triplet.h"

#include "losses/distance/checks.h"
#include "losses/distance/hinge.h"
#include "losses/distance/pair.h"
#include "ops/distance.h"
#include "ops/math.h"

namespace gradus {
namespace {

// ---- the two distances: on the tape, and in a kernel

struct EuclideanTriplet : Euclidean {
  static constexpr auto name = "triplet";
  static Tensor definition(const Tensor& u, const Tensor& v) { return euclidean_distance(u, v); }
};

struct CosineTriplet : Cosine {
  static constexpr auto name = "triplet_cosine";
  static Tensor definition(const Tensor& u, const Tensor& v) { return 1.0 - cosine_similarity(u, v); }
};

// L_r = max(0, d(a,p) - d(a,n) + margin)
template <class T, class Distance> struct TripletRow {
  Index n;
  T margin;
  const T *anchor, *positive, *negative;
  T *near, *far, *loss;  // [N] each: d(a,p), d(a,n), L
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* a = anchor + r * n;
    const T dp = Distance::of(team, n, a, positive + r * n), dn = Distance::of(team, n, a, negative + r * n);
    if (team.leads()) {
      near[r] = dp;
      far[r] = dn;
      loss[r] = hinge(dp - dn + margin);
    }
  }
};

// dL/da = d'(a,p) - d'(a,n),  dL/dp = d'(p,a),  dL/dn = -d'(n,a)    where the hinge is open
template <class T, class Distance> struct TripletRowGradient {
  Index n;
  T margin;
  const T *dy, *anchor, *positive, *negative, *near, *far;
  T *da, *dp, *dn;  // null when not wanted
  template <class Team> HD void operator()(Index r, Team team) const {
    const T g = dy[r] * hinge_slope(near[r] - far[r] + margin);
    const T* a = anchor + r * n;
    T* to = da ? da + r * n : nullptr;
    Distance::add_gradient(team, n, a, positive + r * n, near[r], g, to, dp ? dp + r * n : nullptr);
    Distance::add_gradient(team, n, a, negative + r * n, far[r], -g, to, dn ? dn + r * n : nullptr);
  }
};

// in: anchor, positive, negative [N,D].  y: one loss per row.
template <class Distance> struct Triplet final : Op {
  double margin;
  Tensor near, far;  // [N], for the backward pass
  explicit Triplet(double m) : margin(m) {}
  const char* name() const override { return Distance::name; }
  Tensor forward(In in) override {
    const Tensor& a = in[0];
    const Index N = a.size(0), D = a.size(1);
    Tensor loss = empty({N}, a.dtype(), a.device());
    near = empty({N}, a.dtype(), a.device());
    far = empty({N}, a.dtype(), a.device());
    dispatch_float(name(), a.dtype(), [&]<class T>() {
      launch_rows(a.device(), N, D,
                  TripletRow<T, Distance>{D, T(margin), a.data<T>(), in[1].data<T>(), in[2].data<T>(),
                                          near.data_mut<T>(), far.data_mut<T>(), loss.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& a = in[0];
    dispatch_float(name(), a.dtype(), [&]<class T>() {
      launch_rows(a.device(), a.size(0), a.size(1),
                  TripletRowGradient<T, Distance>{a.size(1), T(margin), dy.data<T>(), a.data<T>(), in[1].data<T>(),
                                                  in[2].data<T>(), near.data<T>(), far.data<T>(), wanted<T>(dx, 0),
                                                  wanted<T>(dx, 1), wanted<T>(dx, 2)});
    });
  }
};

template <class Distance> Tensor any_triplet(At a, const Tensor& p, const Tensor& n, const TripletOptions& o) {
  check_row_pairs(Distance::name, a, p);
  check_row_pairs(Distance::name, a, n);
  check_at_least(Distance::name, "margin", o.margin, 0);
  const Tensor rows =
      o.form == Form::definition
          ? clamp(Distance::definition(a, p) - Distance::definition(a, n) + o.margin, 0, vmath::infinity<double>)
          : apply(Triplet<Distance>(o.margin), a, p, n);
  return reduce_elements(At(rows, a.line), o.reduction);
}

}  // namespace

Tensor triplet(At anchor, const Tensor& positive, const Tensor& negative, TripletOptions o) {
  return any_triplet<EuclideanTriplet>(anchor, positive, negative, o);
}

Tensor triplet_cosine(At anchor, const Tensor& positive, const Tensor& negative, TripletOptions o) {
  return any_triplet<CosineTriplet>(anchor, positive, negative, o);
}

// ---- for the table of losses

namespace {

// Rows in turn well inside and well outside the margin of 0.5, for both distances.
Inputs triples(Index N, Index D, Rng& rng) {
  const Tensor a = randn({N, D}, rng, DType::f64) + 1.0, step = 0.3 * randn({N, D}, rng, DType::f64);
  Tensor p = (a + step).clone(), n = (a - 2.0 * step).clone();
  for (Index r = 1; r < N; r += 2) {
    for (Index k = 0; k < D; ++k) {
      set_value(p, r * D + k, value_at(a, r * D + k) * 1.1 + 0.01 * double(k));
      set_value(n, r * D + k, -2 * value_at(a, r * D + k) + 0.02 * double(k));
    }
  }
  return {{"anchor", a}, {"positive", p}, {"negative", n}};
}

std::vector<LossSample> triplet_samples(Rng& rng) {
  const Tensor x = randn({2, 3}, rng, DType::f64), y = randn({2, 3}, rng, DType::f64), z = x - y;
  return {
      {"mean", triples(6, 4, rng), {{"margin", 0.5}}},
      {"none", triples(3, 7, rng), {{"margin", 0.5}, {"reduction", "none"}}},
      {"sum", triples(4, 2, rng), {{"margin", 0.5}, {"reduction", "sum"}}},
      {"no rows", triples(0, 3, rng)},
      {.what = "three equal points, which nothing pulls apart",
       .inputs = {{"anchor", x}, {"positive", x}, {"negative", x}},
       .extreme = true},
      {.what = "lengths of 1e18",
       .inputs = {{"anchor", 1e18 * x}, {"positive", 1e18 * y}, {"negative", 1e18 * z}},
       .options = {{"margin", 1e19}},
       .extreme = true},
      {.what = "lengths of 1e-25, where squares vanish",
       .inputs = {{"anchor", 1e-25 * x}, {"positive", 1e-25 * y}, {"negative", 1e-25 * z}},
       .extreme = true},
  };
}

const std::vector<InputSpec> three_points = {{"anchor", "[N,D]"}, {"positive", "[N,D]"}, {"negative", "[N,D]"}};

}  // namespace

Losses triplet_losses() {
  return {{.name = "triplet",
           .family = Family::distance,
           .formula = "max(0, |a-p| - |a-n| + margin)",
           .seeds = "A053 A055",
           .task = "embeddings, retrieval",
           .inputs = three_points,
           .options = {{"margin", 1.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return triplet(a["anchor"], a["positive"], a["negative"],
                                {.margin = a.number("margin"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = triplet_samples},
          {.name = "triplet_cosine",
           .family = Family::distance,
           .formula = "max(0, cos(a,n) - cos(a,p) + margin)",
           .seeds = "A053 A055",
           .task = "sentence embeddings",
           .inputs = three_points,
           .options = {{"margin", 1.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return triplet_cosine(a["anchor"], a["positive"], a["negative"],
                                       {.margin = a.number("margin"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = triplet_samples}};
}

}  // namespace gradus
