#include "losses/logsumexp/circle.h"

#include <cmath>

#include "losses/logsumexp/circle_sides.h"
#include "ops/distance.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

CircleMargins margins(const CircleOptions& o) { return {o.gamma, 1 - o.m, o.m, o.m, true}; }
CircleMargins margins(const CircleConstOptions& o) { return {o.gamma, o.delta_p, o.delta_n, 0, false}; }

// ---- as the derivation starts: two log-sum-exps on the tape. The weights are made of `sp_still` and `sn_still`.

Tensor definition(const Tensor& sp, const Tensor& sn, const Tensor& sp_still, const Tensor& sn_still,
                  const CircleMargins& k) {
  Tensor n = k.gamma * (sn - k.delta_n), p = -k.gamma * (sp - k.delta_p);  // [Q], [P]
  if (k.weighted) {
    n = n * relu(sn_still.detach() + k.m);
    p = p * relu(1 + k.m - sp_still.detach());
  }
  return softplus(logsumexp(n, 0) + logsumexp(p, 0));
}

// ---- as the derivation ends: one node

// y = log(1 + e^{A + B})
// dy/dn_j = g a_j e^{g a_j (n_j - Dn) - A} (1 - e^{-y}),  dy/dp_i = -g b_i e^{-g b_i (p_i - Dp) - B} (1 - e^{-y})
struct Circle final : Op {
  CircleMargins k;
  Tensor sums;  // [3] f64
  explicit Circle(const CircleMargins& margins) : k(margins) {}
  const char* name() const override { return "circle"; }

  Tensor forward(In in) override {
    Tensor y = empty({}, in[0].dtype(), in[0].device());
    sums = empty({3}, DType::f64, y.device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      const auto rows = [&](int i) {
        const Tensor& s = in[std::size_t(i)];
        return chunk_max_sums(s.device(), s.numel(), SideExponent<T>{circle_side<T>(s, k, i)});
      };
      finish_circle<T>(rows(0), rows(1), sums, y);
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (in[0].numel() == 0 || in[1].numel() == 0) return;
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      for (const int i : {0, 1}) {
        if (!dx.wants(i)) continue;
        const Tensor& s = in[std::size_t(i)];
        launch(dy.device(), s.numel(),
               CircleGradient<T>{circle_side<T>(s, k, i), dy.data<T>(), sums.data<double>() + i,
                                 dx.into(i).template data_mut<T>()});
      }
    });
  }
};

// The same over the pairs i < j of a similarity matrix, by labels: the node in[0] [N,N], in[1] [N].
// y = log(1 + e^{A + B})
// dy/dS_ij = that of circle for n_j or p_i = S_ij, and 0 for j <= i
struct CircleBatch final : Op {
  CircleMargins k;
  Tensor sums;  // [3] f64
  explicit CircleBatch(const CircleMargins& margins) : k(margins) {}
  const char* name() const override { return "circle_batch"; }

  Tensor forward(In in) override {
    const Tensor& s = in[0];
    const Index N = s.size(0), rows = N > 0 ? N - 1 : 0;
    Tensor y = empty({}, s.dtype(), s.device());
    sums = empty({3}, DType::f64, y.device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      const auto side = [&](int i) {
        return row_max_sums(s.device(), rows, N,
                            PairExponents<T>{circle_side<T>(s, k, i), in[1].template data<Index>(), N, i == 0});
      };
      finish_circle<T>(side(0), side(1), sums, y);
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!dx.wants(0)) return;
    const Tensor& s = in[0];
    const Index N = s.size(0);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch_grid(dy.device(), N, N,
                  PairGradient<T>{circle_side<T>(s, k, 0), circle_side<T>(s, k, 1), in[1].data<Index>(), N,
                                  dy.data<T>(), sums.data<double>(), dx.into(0).template data_mut<T>()});
    });
  }
};

void check_gamma(const char* name, double gamma) {
  if (!(gamma > 0 && std::isfinite(gamma)))
    fail(name, "gamma must be a finite number above 0, got " + std::to_string(gamma));
}

void check(const char* name, const Tensor& sp, const Tensor& sn, double gamma) {
  if (!sp || !sn) fail(name, "needs similarities sp [P] and sn [Q]; one of them is undefined");
  check_same_kind(name, sp, sn);
  if (sp.rank() != 1 || sn.rank() != 1) {
    fail(name, "needs similarities sp [P] and sn [Q], got " + sp.describe() + " and " + sn.describe());
  }
  check_gamma(name, gamma);
}

void check_margin(const char* name, const char* option, double m) {
  if (!std::isfinite(m)) fail(name, "the margin must be a finite number, got " + std::to_string(m) + " for " + option);
}

void check_batch(const Tensor& x, const Tensor& labels) {
  const char* name = "circle_batch";
  if (!x || !labels) fail(name, "needs embeddings and labels; one of them is undefined");
  if (x.rank() != 2 || labels.rank() != 1 || labels.numel() != x.size(0)) {
    fail(name, "needs a label for each row: embeddings " + x.describe() + " and labels " + labels.describe() +
                   " must be [N,D] and [N]");
  }
  check_same_device(name, x, labels);
}

// For the definition: the cosines of the pairs i < j, which are chosen on the CPU.
struct PairCosines {
  Tensor sp, sn;
};
PairCosines pair_cosines(At x, const Tensor& labels) {
  const Tensor y = as_index("circle_batch", labels).detach().cpu();
  const Index N = y.numel(), *label = y.data<Index>();
  std::vector<Index> of[2];
  for (Index i = 0; i < N; ++i) {
    for (Index j = i + 1; j < N; ++j) of[label[i] == label[j]].push_back(i * N + j);
  }
  const Tensor cosines = cosine_matrix(x, x).reshape({-1});  // [N N]
  const auto picked = [&](const std::vector<Index>& pairs) {
    return index_select(At(cosines, x.line), 0, gradus::labels(pairs, x->device()));
  };
  return {picked(of[1]), picked(of[0])};
}

Tensor run(At sp, const Tensor& sn, const CircleMargins& k, Form form) {
  return form == Form::closed ? apply(Circle{k}, sp, sn) : definition(sp, sn, sp, sn, k);
}

}  // namespace

Tensor circle(At sp, const Tensor& sn, CircleOptions o) {
  check("circle", sp, sn, o.gamma);
  check_margin("circle", "m", o.m);
  return run(sp, sn, margins(o), o.form);
}

Tensor circle_const(At sp, const Tensor& sn, CircleConstOptions o) {
  check("circle_const", sp, sn, o.gamma);
  check_margin("circle_const", "delta_p", o.delta_p);
  check_margin("circle_const", "delta_n", o.delta_n);
  return run(sp, sn, margins(o), o.form);
}

Tensor circle_batch(At embeddings, const Tensor& labels, CircleOptions o) {
  check_margin("circle_batch", "m", o.m);
  check_batch(embeddings, labels);
  check_gamma("circle_batch", o.gamma);
  const Tensor ids = as_index("circle_batch", labels).detach();
  if (o.form == Form::closed) {
    const Tensor cosines = cosine_matrix(embeddings, embeddings);  // [N,N]
    return apply(CircleBatch{margins(o)}, At(cosines, embeddings.line), ids);
  }
  const PairCosines c = pair_cosines(embeddings, ids);
  return definition(c.sp, c.sn, c.sp, c.sn, margins(o));
}

// ---- for the table of losses

namespace {

// Similarities in (-1, 1), away from the kinks of the weights at -m and 1 + m.
Inputs sets(Index P, Index Q, Rng& rng) {
  return {{"sp", 1.1 * rand({P}, rng, DType::f64) - .15}, {"sn", 1.1 * rand({Q}, rng, DType::f64) - .15}};
}

std::vector<LossSample> circle_samples(Rng& rng) {
  return {
      {"3 positive, 5 negative", sets(3, 5, rng), {{"gamma", 8.0}}},
      {"one positive, 7 negative, margin 0.4", sets(1, 7, rng), {{"gamma", 16.0}, {"m", 0.4}}},
      {"one of each", sets(1, 1, rng), {{"gamma", 2.0}}},
      {"9 positive, 2 negative", sets(9, 2, rng), {{"gamma", 32.0}}},
      {"no positive", sets(0, 4, rng)},
      {"no negative", sets(3, 0, rng)},
      {.what = "gamma 256", .inputs = sets(6, 8, rng), .extreme = true},
      {.what = "gamma 1e4", .inputs = sets(4, 3, rng), .options = {{"gamma", 1e4}}, .extreme = true},
      {.what = "all goals reached: L is 1e-50",
       .inputs = {{"sp", tensor({.98, .95}, DType::f64)}, {"sn", tensor({-.1, .0}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> const_samples(Rng& rng) {
  return {
      {"3 positive, 5 negative", sets(3, 5, rng), {{"gamma", 8.0}}},
      {"no margin", sets(2, 6, rng), {{"gamma", 1.0}, {"delta_p", 0.0}, {"delta_n", 0.0}}},
      {"margin 0.3", sets(4, 1, rng), {{"gamma", 20.0}, {"delta_p", 0.4}, {"delta_n", 0.1}}},
      {"no positive", sets(0, 4, rng)},
      {"no pair", sets(0, 0, rng)},
      {.what = "gamma 256", .inputs = sets(6, 8, rng), .extreme = true},
      {.what = "gamma 1e4", .inputs = sets(4, 3, rng), .options = {{"gamma", 1e4}}, .extreme = true},
  };
}

std::vector<LossSample> batch_samples(Rng& rng) {
  const auto batch = [&](Index N, Index D, Index C) {
    return Inputs{{"embeddings", randn({N, D}, rng, DType::f64)}, {"labels", randint(C, {N}, rng)}};
  };
  Inputs one_class = batch(4, 3, 2);
  one_class["labels"] = labels({1, 1, 1, 1});
  return {
      {"6 rows, 2 classes", batch(6, 4, 2), {{"gamma", 4.0}}},
      {"9 rows, 3 classes", batch(9, 5, 3), {{"gamma", 8.0}, {"m", 0.4}}},
      {"7 rows in the plane", batch(7, 2, 3), {{"gamma", 2.0}}},
      {"one class", one_class},
      {"one row", batch(1, 3, 2)},
  };
}

CircleOptions options(const Arguments& a) { return {.m = a.number("m"), .gamma = a.number("gamma"), .form = a.form}; }

const std::vector<InputSpec> two_sets = {{"sp", "[P]"}, {"sn", "[Q]"}};

}  // namespace

Losses circle_losses() {
  return {{.name = "circle",
           .family = Family::logsumexp,
           .formula = "log(1 + sum_j e^{g [n_j + m]+ (n_j - m)} sum_i e^{-g [1 + m - p_i]+ (p_i - 1 + m)})",
           .seeds = "A056-A059",
           .task = "embeddings by class labels: faces, retrieval",
           .inputs = two_sets,
           .options = {{"m", 0.25}, {"gamma", 256.0}},
           .run = [](const Arguments& a) { return circle(a["sp"], a["sn"], options(a)); },
           .samples = circle_samples,
           .frozen =
               [](const Arguments& a, const Arguments& still) {
                 return definition(a["sp"], a["sn"], still["sp"], still["sn"], margins(options(a)));
               }},
          {.name = "circle_const",
           .family = Family::logsumexp,
           .formula = "log(1 + sum_j e^{g (n_j - Dn)} sum_i e^{-g (p_i - Dp)})",
           .seeds = "A056 A057 A058",
           .task = "embeddings by class labels",
           .inputs = two_sets,
           .options = {{"delta_p", 0.75}, {"delta_n", 0.25}, {"gamma", 256.0}},
           .run =
               [](const Arguments& a) {
                 return circle_const(a["sp"], a["sn"],
                                     {.delta_p = a.number("delta_p"),
                                      .delta_n = a.number("delta_n"),
                                      .gamma = a.number("gamma"),
                                      .form = a.form});
               },
           .samples = const_samples},
          {.name = "circle_batch",
           .family = Family::logsumexp,
           .formula = "circle over the cosines of all pairs i < j, equal labels against different ones",
           .seeds = "A056 A060",
           .task = "embeddings by class labels: faces, retrieval",
           .inputs = {{"embeddings", "[N,D]"}, {"labels", "[N]", Kind::integer}},
           .options = {{"m", 0.25}, {"gamma", 256.0}},
           .run = [](const Arguments& a) { return circle_batch(a["embeddings"], a["labels"], options(a)); },
           .samples = batch_samples,
           .frozen =
               [](const Arguments& a, const Arguments& still) {
                 const PairCosines c = pair_cosines(a["embeddings"], a["labels"]),
                                   s = pair_cosines(still["embeddings"], still["labels"]);
                 return definition(c.sp, c.sn, s.sp, s.sn, margins(options(a)));
               }}};
}

}  // namespace gradus
