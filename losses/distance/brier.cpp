#include "losses/distance/brier.h"

#include "losses/distance/checks.h"
#include "losses/softmax/partition.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

Tensor definition(const Tensor& logits, const Tensor& labels) {
  return sum(square(softmax(logits) - one_hot(labels, logits.size(1), logits.dtype())), {1});  // [N]
}

// L_r = (1 - p_t)^2 + sum_{c != t} p_c^2
template <class T> struct RowBrier {
  Index classes;
  const Index* label;
  const T* logits;
  T *loss, *m, *log_z;  // [N] each: L, greatest logit, lse - m
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* z = logits + r * classes;
    const Partition<T> p = partition<T>(team, classes, [=](Index j) { return z[j]; });
    const T top = p.top, rest = p.rest;
    const Index t = label[r];
    const T miss = -vmath::expm1((z[t] - top) - rest);
    const T others = team.template sum<T>(classes, [=](Index j) {
      const T p = j == t ? T(0) : vmath::exp((z[j] - top) - rest);
      return p * p;
    });
    if (team.leads()) {
      loss[r] = miss * miss + others;
      m[r] = top;
      log_z[r] = rest;
    }
  }
};

// dL_r/dz_t = -2 p_t L;  else 2 p_j (p_j + p_t (1 - p_t) - sum_{c != t} p_c^2)
template <class T> struct RowBrierGradient {
  Index classes;
  const Index* label;
  const T *dy, *logits, *loss, *m, *log_z;
  T* dz;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Index C = classes, t = label[r];
    const T *z = logits + r * C, top = m[r], rest = log_z[r], g = 2 * dy[r], L = loss[r];
    const Index k = team.template argmax<T>(C, [=](Index j) { return z[j]; });
    const T log_p = (z[t] - top) - rest, p_t = vmath::exp(log_p), both = -p_t * vmath::expm1(log_p);
    const T p_k = k == t ? T(0) : vmath::exp(-rest), miss_k = -vmath::expm1(-rest);
    // The greatest p_k stands apart: p_k - p_k^2 = p_k (1 - p_k).
    const T small = team.template sum<T>(C, [=](Index j) {
      const T p = j == t || j == k ? T(0) : vmath::exp((z[j] - top) - rest);
      return p * p;
    });
    T* to = dz + r * C;
    team.each(C, [=](Index j) {
      const T p = vmath::exp((z[j] - top) - rest);
      const T pull = j == t ? -L : j == k ? p_k * miss_k + both - small : p + both - small - p_k * p_k;
      to[j] += g * p * pull;
    });
  }
};

// in: logits, labels i64 [N].  y: one loss per row.
struct Brier final : Op {
  Tensor m, log_z;  // [N], for the backward pass
  const char* name() const override { return "brier"; }
  Keep keep() const override { return Keep::both; }
  Tensor forward(In in) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    Tensor loss = empty({N}, z.dtype(), z.device());
    m = empty({N}, z.dtype(), z.device());
    log_z = empty({N}, z.dtype(), z.device());
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(
          z.device(), N, C,
          RowBrier<T>{C, in[1].data<Index>(), z.data<T>(), loss.data_mut<T>(), m.data_mut<T>(), log_z.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor& loss, Out dx) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(z.device(), N, C,
                  RowBrierGradient<T>{C, in[1].data<Index>(), dy.data<T>(), z.data<T>(), loss.data<T>(), m.data<T>(),
                                      log_z.data<T>(), dx.into(0).data_mut<T>()});
    });
  }
};

}  // namespace

Tensor brier(At logits, const Tensor& target, BrierOptions o) {
  constexpr auto op = "brier";
  if (!logits.tensor || !target) fail(op, "needs logits and a target; one of them is undefined");
  if (logits->rank() != 2 || logits->size(1) == 0) {
    fail(op, "needs logits [N,C] with C >= 1, got " + logits->describe());
  }
  check_row_labels(op, logits, target);
  check_indices(op, "label", target, logits->size(1));
  const Tensor labels = as_index(op, target);
  const Tensor rows = o.form == Form::definition ? definition(logits, labels) : apply(Brier{}, logits, labels);
  return reduce_elements(At(rows, logits.line), o.reduction);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> brier_samples(Rng& rng) {
  const auto rows = [&](Index N, Index C) -> Inputs {
    return {{"logits", 2 * randn({N, C}, rng, DType::f64)}, {"target", randint(C, {N}, rng)}};
  };
  return {
      {"mean", rows(6, 4)},
      {"two classes, none", rows(3, 2), {{"reduction", "none"}}},
      {"sum", rows(4, 9), {{"reduction", "sum"}}},
      {"one class", rows(3, 1)},
      {"no rows", {{"logits", zeros({0, 3}, DType::f64)}, {"target", labels({})}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, -1e4, 1e4, 3}, {2, 3}, DType::f64)}, {"target", labels({1, 1})}},
       .extreme = true},
      {.what = "p_t = 1 - 1e-10",
       .inputs = {{"logits", tensor({23, 0, -1}, {1, 3}, DType::f64)}, {"target", labels({0})}},
       .extreme = true},
      {.what = "p_t = 1e-10",
       .inputs = {{"logits", tensor({23, 0, -1}, {1, 3}, DType::f64)}, {"target", labels({1})}},
       .extreme = true},
  };
}

}  // namespace

Losses brier_losses() {
  return {{.name = "brier",
           .family = Family::distance,
           .formula = "sum_c (softmax(z)_c - [c = t])^2",
           .seeds = "A018",
           .task = "classification with calibrated probabilities",
           .inputs = {{"logits", "[N,C]"}, {"target", "[N]", Kind::integer}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return brier(a["logits"], a["target"], {.reduction = a.reduction(), .form = a.form});
               },
           .samples = brier_samples}};
}

}  // namespace gradus
