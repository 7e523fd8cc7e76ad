#include "losses/softmax/gamma_ce.h"

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/log_pt.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

bool is_hard(const Tensor& target) { return !is_floating(target.dtype()); }

// ---- as the derivation starts, on log p

Tensor phi(const Tensor& l, double g) { return g == 1 ? 1 - exp(l) : -log(g + (1 - g) * exp(l)) / (1 - g); }

Tensor hard_definition(const Tensor& logits, const Tensor& target, const GammaCeOptions& o) {
  const Tensor w = label_weights(target, {}, o.ignore_index, logits.dtype());
  return w * phi(log_pt_definition(logits, target, o.ignore_index), o.gamma);  // [N]
}

Tensor soft_definition(const Tensor& logits, const Tensor& q, const GammaCeOptions& o) {
  const Tensor unused = equal(sum(q.detach(), {1}, true), zeros({}, q.dtype()));  // [N,1] ignored rows
  return sum(q * phi(log_softmax(masked_fill(logits, unused, 0)), o.gamma), {1});
}

// ---- as the derivation ends

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

// in: logits [N,C], q [N,C].  y: one loss per row.
struct SoftGammaCe final : Op {
  Phi phi;
  Tensor m, log_z, best;  // [N], for the backward pass
  explicit SoftGammaCe(double gamma) : phi(gamma) {}
  const char* name() const override { return "gamma_ce_soft"; }
  Tensor forward(In in) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    Tensor loss = empty({N}, z.dtype(), z.device());
    m = empty({N}, z.dtype(), z.device());
    log_z = empty({N}, z.dtype(), z.device());
    best = empty({N}, DType::i64, z.device());
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      launch_rows(z.device(), N, C,
                  SoftLoss<T>{phi, z.data<T>(), in[1].data<T>(), C, loss.data_mut<T>(), m.data_mut<T>(),
                              log_z.data_mut<T>(), best.data_mut<Index>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    dispatch_float(name(), z.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *logits = z.data<T>(), *top = m.data<T>(), *rest = log_z.data<T>();
      if (dx.wants(0)) {
        auto [dz, started] = dx.sum(0);
        with_flag(started, [&, &to = dz]<bool Add>() {
          launch_rows(z.device(), N, C,
                      SoftLogitGradient<T, Add>{phi, g, logits, in[1].data<T>(), top, rest, best.data<Index>(), C,
                                                to.template data_mut<T>()});
        });
      }
      if (dx.wants(1)) {
        launch_grid(z.device(), N, C,
                    SoftTargetGradient<T>{phi, g, logits, top, rest, C, dx.into(1).template data_mut<T>()});
      }
    });
  }
};

// ---- the public function

void check_arguments(const Tensor& logits, const Tensor& target, const GammaCeOptions& o) {
  constexpr auto op = "gamma_ce";
  if (target && !is_hard(target)) {
    if (!logits || logits.rank() != 2 || logits.size(1) == 0 || target.shape() != logits.shape()) {
      fail(op, "needs logits [N,C] with C >= 1 and soft targets of that shape, got " +
                   (logits ? logits.describe() : "no logits") + " and " + target.describe());
    }
    check_same_kind(op, logits, target);
  } else {
    check_labelled_logits(op, logits, target, o.ignore_index);
  }
  if (!(o.gamma >= 0 && o.gamma <= 1)) fail(op, "gamma must lie in [0,1], got " + std::to_string(o.gamma));
  if (!(o.label_smoothing >= 0 && o.label_smoothing <= 1)) {
    fail(op, "label_smoothing must lie in [0,1], got " + std::to_string(o.label_smoothing));
  }
}

// q_c = (1 - eps) t_c + eps / C; an ignored row is all 0.  [N,C]
Tensor soft_targets(const Tensor& logits, const Tensor& target, const GammaCeOptions& o) {
  const Index N = logits.size(0), C = logits.size(1);
  const double share = o.label_smoothing / double(C);
  if (!is_hard(target)) return o.label_smoothing == 0 ? target : (1 - o.label_smoothing) * target + share;
  Tensor q = full({N, C}, share, logits.dtype());
  for (Index r = 0; r < N; ++r) {
    const Index t = Index(value_at(target, r));
    if (t != o.ignore_index) {
      set_value(q, r * C + t, share + 1 - o.label_smoothing);
    } else {
      for (Index c = 0; c < C; ++c) set_value(q, r * C + c, 0);
    }
  }
  return q;
}

}  // namespace

Tensor gamma_ce(At logits, const Tensor& target, GammaCeOptions o) {
  check_arguments(logits, target, o);
  const bool definition = o.form == Form::definition;
  if (o.gamma == 0 && !definition) {
    return cross_entropy(
        logits, target,
        {.ignore_index = o.ignore_index, .reduction = o.reduction, .label_smoothing = o.label_smoothing});
  }
  Tensor rows;
  if (is_hard(target) && o.label_smoothing == 0) {
    rows = definition ? hard_definition(logits, target, o)
                      : log_pt(logits, target, Phi(o.gamma), {.ignore_index = o.ignore_index});
  } else {
    const Tensor q = soft_targets(logits, target, o);
    rows = definition ? soft_definition(logits, q, o) : apply(SoftGammaCe(o.gamma), logits, q);
  }
  const double N = is_hard(target) ? kept_rows(target, o.ignore_index) : double(target.size(0));
  return reduce_rows(At(rows, logits.line), o.reduction, N);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> hard_samples(Rng& rng) {
  auto all = labelled_samples(rng, {{"gamma 0.2", {}},
                                    {"gamma 0", {{"gamma", 0.0}}},
                                    {"gamma 0.9", {{"gamma", 0.9}}},
                                    {"gamma 1", {{"gamma", 1.0}}},
                                    {"gamma 1e-6", {{"gamma", 1e-6}}}});
  for (LossSample& sample : labelled_samples(rng, {{"smoothing 0.1", {{"label_smoothing", 0.1}}}})) {
    // Left out where the whole gradient is below the normal numbers of f32.
    if (!sample.what.ends_with("1e-40")) all.push_back(std::move(sample));
  }
  return all;
}

std::vector<LossSample> soft_samples(Rng& rng) {
  const auto logits = [&](Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); };
  const auto rows = [&](Index N, Index C) { return softmax(randn({N, C}, rng, DType::f64)); };
  return {
      {"gamma 0.2", {{"logits", logits(4, 3)}, {"target_probs", rows(4, 3)}}},
      {"gamma 0.5, smoothing 0.2, none",
       {{"logits", logits(5, 2)}, {"target_probs", rows(5, 2)}},
       {{"gamma", 0.5}, {"label_smoothing", 0.2}, {"reduction", "none"}}},
      {"gamma 1, sum",
       {{"logits", logits(2, 5)}, {"target_probs", rows(2, 5)}},
       {{"gamma", 1.0}, {"reduction", "sum"}}},
      {"gamma 0", {{"logits", logits(3, 4)}, {"target_probs", rows(3, 4)}}, {{"gamma", 0.0}}},
      {"no rows", {{"logits", logits(0, 3)}, {"target_probs", rows(0, 3)}}},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0}, {1, 3}, DType::f64)},
                  {"target_probs", tensor({.25, .5, .25}, {1, 3}, DType::f64)}},
       .extreme = true},
      {.what = "one hot, p_t = 1 - 1e-26",
       .inputs = {{"logits", tensor({60, 0, 0}, {1, 3}, DType::f64)},
                  {"target_probs", tensor({1, 0, 0}, {1, 3}, DType::f64)}},
       .extreme = true},
  };
}

LossInfo entry(const char* name, const char* formula, const char* seeds, const char* task, InputSpec target) {
  return {.name = name,
          .family = Family::softmax,
          .formula = formula,
          .seeds = seeds,
          .task = task,
          .inputs = {{"logits", "[N,C]"}, target},
          .options = {{"gamma", 0.2}, {"label_smoothing", 0.0}, reduction_option()}};
}

Tensor call(const Arguments& a, const char* target, Index ignore_index) {
  return gamma_ce(a["logits"], a[target],
                  {.gamma = a.number("gamma"),
                   .ignore_index = ignore_index,
                   .reduction = a.reduction(),
                   .label_smoothing = a.number("label_smoothing"),
                   .form = a.form});
}

}  // namespace

Losses gamma_ce_losses() {
  LossInfo hard = entry("gamma_ce", "-log(g + (1 - g) p_t) / (1 - g)", "A034-A036", "classification with wrong labels",
                        {"target", "[N]", Kind::integer});
  hard.options.push_back({"ignore_index", -100});
  hard.run = [](const Arguments& a) { return call(a, "target", a.integer("ignore_index")); };
  hard.samples = hard_samples;
  LossInfo soft = entry("gamma_ce_soft", "-sum_c t_c log(g + (1 - g) p_c) / (1 - g)", "A036",
                        "classification with soft labels of doubtful quality", {"target_probs", "[N,C]"});
  soft.run = [](const Arguments& a) { return call(a, "target_probs", -100); };
  soft.samples = soft_samples;
  return {hard, soft};
}

}  // namespace gradus
