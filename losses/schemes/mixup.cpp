#include "losses/schemes/mixup.h"

#include <cmath>

#include "losses/schemes/log_partition.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/arithmetic.h"

namespace gradus {
namespace {

// ---- as the derivation starts

Tensor definition(At z, const Tensor& a, const Tensor& b, double lam) {
  const CrossEntropyOptions rows{.reduction = Reduction::none, .form = Form::definition};
  return lam * cross_entropy(z, a, rows) + (1 - lam) * cross_entropy(z, b, rows);  // [N]
}

// ---- as the derivation ends

// L_r = lam (lse - z_a) + (1 - lam) (lse - z_b)
template <class T> struct MixedLoss {
  LogProbabilities<T> row;
  const Index *a, *b;
  T lam, rest;  // rest = 1 - lam
  T* loss;
  HD void operator()(Index r) const {
    const T first = lam == 0 ? T(0) : lam * row.nll(r, a[r]), second = rest == 0 ? T(0) : rest * row.nll(r, b[r]);
    loss[r] = a[r] == b[r] ? row.nll(r, a[r]) : first + second;
  }
};

// dL_r/dz_j = p_j - lam [j = a] - (1 - lam) [j = b]
template <class T> struct MixedGradient {
  LogProbabilities<T> row;
  const Index *a, *b;
  T lam, rest;
  const T* dy;
  T* dz;
  HD void operator()(Index r, Index j) const {
    const T q = a[r] == b[r] ? T(a[r] == j) : (a[r] == j ? lam : T(0)) + (b[r] == j ? rest : T(0));
    dz[r * row.classes + j] += dy[r] * (q == 1 ? vmath::expm1(row.log_p(r, j)) : row.p(r, j) - q);
  }
};

// in: logits, both labels i64 [N].  y: one loss per row.
struct MixupCe final : Op {
  double lam;
  LogPartition partition;
  explicit MixupCe(double l) : lam(l) {}
  const char* name() const override { return "mixup_ce"; }

  Tensor forward(In in) override {
    const Tensor& z = in[0];
    partition = LogPartition(z);
    Tensor loss = empty({z.size(0)}, z.dtype(), z.device());
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch(z.device(), z.size(0),
             MixedLoss<T>{LogProbabilities<T>(z, partition), in[1].data<Index>(), in[2].data<Index>(), T(lam),
                          T(1 - lam), loss.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& z = in[0];
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_grid(z.device(), z.size(0), z.size(1),
                  MixedGradient<T>{LogProbabilities<T>(z, partition), in[1].data<Index>(), in[2].data<Index>(), T(lam),
                                   T(1 - lam), dy.data<T>(), dx.into(0).data_mut<T>()});
    });
  }
};

void check_lam(const char* op, double lam) {
  if (!(lam >= 0 && lam <= 1)) fail(op, "lam must lie in [0,1], got " + std::to_string(lam));
}
void check_positive(const char* op, const char* what, double v) {
  if (!(v > 0 && v < INFINITY)) fail(op, std::string(what) + " must be positive and finite, got " + std::to_string(v));
}

}  // namespace

Tensor mixup_ce(At logits, const Tensor& target, const Tensor& target_b, MixupOptions o) {
  check_logits("mixup_ce", logits);
  const Tensor a = checked_labels("mixup_ce", "target", logits, target);
  const Tensor b = checked_labels("mixup_ce", "target_b", logits, target_b);
  check_lam("mixup_ce", o.lam);
  const Tensor rows =
      o.form == Form::definition ? definition(logits, a, b, o.lam) : apply(MixupCe(o.lam), logits, a, b);
  return reduce_elements(At(rows, logits.line), o.reduction);
}

Tensor mix(At x, const Tensor& partner, double lam) {
  check_lam("mix", lam);
  if (!x.tensor || !partner || x->rank() == 0 || partner.shape() != Shape{x->size(0)}) {
    fail("mix", "needs inputs [N,..] and a partner for each row, int [N]");
  }
  return lam * x + (1 - lam) * index_select(x, 0, partner);
}

double gamma_log_sample(Rng& rng, double shape) {
  check_positive("gamma_log_sample", "shape", shape);
  if (shape < 1) return gamma_log_sample(rng, shape + 1) + std::log(1 - rng.uniform()) / shape;
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = rng.normal(), root = 1 + c * x, u = 1 - rng.uniform();
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d) + std::log(v);
  }
}

double beta_sample(Rng& rng, double alpha, double beta) {
  check_positive("beta_sample", "alpha", alpha);
  check_positive("beta_sample", "beta", beta);
  const double x = gamma_log_sample(rng, alpha), y = gamma_log_sample(rng, beta);
  return 1 / (1 + std::exp(y - x));
}

double mixup_lam(Rng& rng, double alpha) { return beta_sample(rng, alpha, alpha); }

// ---- for the table of losses

namespace {

std::vector<LossSample> mixup_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index C) {
    return Inputs{{"logits", 2 * randn({N, C}, rng, DType::f64)},
                  {"target", randint(C, {N}, rng)},
                  {"target_b", randint(C, {N}, rng)}};
  };
  return {
      {"lam 0.3", inputs(5, 3), {{"lam", 0.3}}},
      {"two classes, none", inputs(3, 2), {{"lam", 0.8}, {"reduction", "none"}}},
      {"lam 1, sum", inputs(2, 7), {{"lam", 1.0}, {"reduction", "sum"}}},
      {"lam 0", inputs(4, 3), {{"lam", 0.0}}},
      {"one class", inputs(3, 1)},
      {"no rows", inputs(0, 3)},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, 5, 9000, -1e4}, {2, 3}, DType::f64)},
                  {"target", labels({1, 1})},
                  {"target_b", labels({0, 2})}},
       .options = {{"lam", 0.25}},
       .extreme = true},
      {.what = "both labels agree, p = 1 - 1e-30",
       .inputs = {{"logits", tensor({69, 0, -1}, {1, 3}, DType::f64)},
                  {"target", labels({0})},
                  {"target_b", labels({0})}},
       .options = {{"lam", 0.3}},
       .extreme = true},
  };
}

}  // namespace

Losses mixup_losses() {
  return {{.name = "mixup_ce",
           .family = Family::scheme,
           .formula = "lam CE(z, a) + (1 - lam) CE(z, b)",
           .seeds = "A156 B041",
           .task = "classification on mixed inputs",
           .inputs = {{"logits", "[N,C]"}, {"target", "[N]", Kind::integer}, {"target_b", "[N]", Kind::integer}},
           .options = {{"lam", 0.5}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return mixup_ce(a["logits"], a["target"], a["target_b"],
                                 {.lam = a.number("lam"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = mixup_samples}};
}

}  // namespace gradus
