#include "losses/softmax/entropy.h"

#include "losses/softmax/divergence_rows.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// ---- as the derivation starts

Tensor definition(const Tensor& logits) {
  const Tensor log_p = log_softmax(logits);
  return -sum(exp(log_p) * log_p, {1});  // [N]
}

// ---- as the derivation ends: one node

// -p log p
template <class T> HD T surprise(const LogitRow<T>& p, Index c) {
  const T log_p = finite_log(p.log_at(c));
  return -vmath::exp(log_p) * log_p;
}

// H = -sum_c p_c log p_c
template <class T> struct EntropyValue {
  LogitRows<T> softmax;
  T* h;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const LogitRow<T> p = softmax.fit(r, team);
    const T s = team.template sum<T>(softmax.classes, [=](Index c) { return surprise(p, c); });
    if (team.leads()) h[r] = s;
  }
};

// dH/dz_j = a_j - p_j sum_c a_c,  a_c = -p_c log p_c
template <class T> struct EntropySlope {
  LogitRows<T> softmax;
  const T* dh;
  T* dz;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const LogitRow<T> p = softmax.row(r);
    pull_to_logits(
        team, softmax.classes, p, dh[r], [=](Index c) { return surprise(p, c); }, dz + r * softmax.classes);
  }
};

struct Entropy final : Op {
  SoftmaxRows p;
  const char* name() const override { return "entropy"; }

  Tensor forward(In in) override {
    const Tensor& z = in[0];
    Tensor h = empty({z.size(0)}, z.dtype(), z.device());
    p.make(z);
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(z.device(), z.size(0), z.size(1), EntropyValue<T>{p.of<T>(z), h.template data_mut<T>()});
    });
    return h;
  }

  void backward(const Tensor& dh, In in, const Tensor&, Out dx) override {
    const Tensor& z = in[0];
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(z.device(), z.size(0), z.size(1),
                  EntropySlope<T>{p.of<T>(z), dh.data<T>(), dx.into(0).template data_mut<T>()});
    });
  }
};

}  // namespace

Tensor entropy(At logits, EntropyOptions o) {
  if (!logits.tensor) fail("entropy", "needs logits [N,C]; they are undefined");
  if (logits->rank() != 2 || logits->size(1) == 0) {
    fail("entropy",
         "needs logits [N,C] with C >= 1, got " + logits->describe() + "; classes are the last axis, reshape({-1, C})");
  }
  const Tensor rows = o.form == Form::definition ? definition(logits) : apply(Entropy(), logits);
  return reduce_rows(At(rows, logits.line), o.reduction, double(logits->size(0)));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto logits = [&](Index N, Index C) { return Inputs{{"logits", 2 * randn({N, C}, rng, DType::f64)}}; };
  return {
      {"four classes", logits(5, 4)},
      {"two classes, mean", logits(3, 2), {{"reduction", "mean"}}},
      {"nine classes, sum", logits(2, 9), {{"reduction", "sum"}}},
      {"one class", logits(3, 1)},
      {"no rows", logits(0, 3), {{"reduction", "mean"}}},
      {.what = "sure rows: logits of 1e4 and 60",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, -60, 0, 1, 0, 0, 0}, {3, 3}, DType::f64)}},
       .extreme = true},
      {.what = "H = 1e-24", .inputs = {{"logits", tensor({60, 0, -1}, {1, 3}, DType::f64)}}, .extreme = true},
  };
}

}  // namespace

Losses entropy_losses() {
  return {{.name = "entropy",
           .family = Family::softmax,
           .formula = "-sum_c p_c log p_c, p = softmax(z)",
           .seeds = "A001 A022",
           .task = "how undecided a prediction is: acquisition, regularisation",
           .inputs = {{"logits", "[N,C]"}},
           .options = {reduction_option("none")},
           .run = [](const Arguments& a) { return entropy(a["logits"], {.reduction = a.reduction(), .form = a.form}); },
           .samples = samples}};
}

}  // namespace gradus
