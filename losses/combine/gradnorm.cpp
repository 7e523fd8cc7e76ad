#include "losses/combine/gradnorm.h"

#include <cmath>

#include "engine/backward.h"
#include "losses/combine/chunks.h"
#include "losses/combine/tasks.h"
#include "losses/distance/checks.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

constexpr auto op = "gradnorm";

// The parts without a gradient. `weights` are those of which the target is made.
struct Pace {
  Tensor weights, norms, losses, init;  // [K]
};

// ---- on the tape

Tensor definition(const Tensor& weights, const Pace& p, double alpha) {
  const Tensor ratio = p.losses / p.init, average = mean(ratio);
  const Tensor over = equal(average, zeros({}, average.dtype(), average.device()));  // no task has anything left
  const Tensor r = masked_fill(ratio / masked_fill(average, over, 1), over, 1);
  const Tensor target = mean(p.weights * p.norms) * pow(r, alpha);
  return sum(abs(weights * p.norms - target));
}

// ---- one node

// r_i^alpha and mean G, from f32 or f64 in double.
template <class T> struct Targets {
  const T *weight, *norm, *loss, *init;
  Index tasks;
  double alpha;
  double* target;
  template <class Team> HD void operator()(Index, Team team) const {
    const Targets s = *this;
    const double K = double(tasks);
    const double G = team.template sum<double>(tasks, [=](Index i) { return double(s.weight[i]) * double(s.norm[i]); });
    const double average =
        team.template sum<double>(tasks, [=](Index i) { return double(s.loss[i]) / double(s.init[i]); }) / K;
    team.each(tasks, [=](Index i) {
      const double r = average == 0 ? 1. : double(s.loss[i]) / double(s.init[i]) / average;
      s.target[i] = G / K * (r == 0 ? double(s.alpha == 0) : vmath::exp(s.alpha * vmath::log(r)));
    });
  }
};

// y = sum_i |w_i g_i - T_i|
template <class T> struct Gap {
  const T *weight, *norm;
  const double* target;
  Index tasks;
  T* y;
  template <class Team> HD void operator()(Index, Team team) const {
    const Gap s = *this;
    const double total = team.template sum<double>(tasks, [=](Index i) {
      const double d = double(s.weight[i]) * double(s.norm[i]) - s.target[i];
      return d < 0 ? -d : d;
    });
    if (team.leads()) *y = T(total);
  }
};

// dy/dw_i = sign(w_i g_i - T_i) g_i
template <class T> struct GapSlope {
  const T *dy, *weight, *norm;
  const double* target;
  T* dx;
  HD void operator()(Index i) const {
    const double g = double(norm[i]), d = double(weight[i]) * g - target[i];
    dx[i] += T(double(dy[0]) * (d > 0 ? g : d < 0 ? -g : 0.));
  }
};

// in: weights [K] (differentiated), and without a gradient the weights of the target, norms, losses, init.  y: []
struct GradNorm final : Op {
  double alpha;
  Tensor target;  // [K] f64
  explicit GradNorm(double a) : alpha(a) {}
  const char* name() const override { return "gradnorm"; }

  Tensor forward(In in) override {
    const Index K = in[0].numel();
    Tensor y = empty({}, in[0].dtype(), in[0].device());
    target = empty({K}, DType::f64, in[0].device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      double* t = target.data_mut<double>();
      const T *w = in[0].data<T>(), *norm = in[2].data<T>();
      launch_rows(y.device(), 1, K, Targets<T>{in[1].data<T>(), norm, in[3].data<T>(), in[4].data<T>(), K, alpha, t});
      launch_rows(y.device(), 1, K, Gap<T>{w, norm, t, K, y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!dx.wants(0)) return;
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch(dy.device(), in[0].numel(),
             GapSlope<T>{dy.data<T>(), in[0].data<T>(), in[2].data<T>(), target.data<double>(),
                         dx.into(0).template data_mut<T>()});
    });
  }
};

Tensor gap(At weights, const Pace& p, const GradNormOptions& o) {
  if (weights->numel() == 0) return sum(weights);
  if (o.form == Form::definition) return definition(weights, p, o.alpha);
  return apply(GradNorm(o.alpha), weights, p.weights, p.norms, p.losses, p.init);
}

}  // namespace

Tensor gradnorm(At weights, const Tensor& grad_norms, const Tensor& losses, const Tensor& init_losses,
                GradNormOptions o) {
  check_tasks(op, weights, "grad_norms", grad_norms);
  check_tasks(op, weights, "losses", losses);
  check_tasks(op, weights, "init_losses", init_losses);
  check_at_least(op, "grad_norms", grad_norms, 0);
  check_at_least(op, "losses", losses, 0);
  check_above(op, "init_losses", init_losses, 0);
  if (!(o.alpha >= 0 && std::isfinite(o.alpha))) {
    fail(op, "alpha must be >= 0 and finite, got " + std::to_string(o.alpha));
  }
  return gap(weights, {weights->detach(), grad_norms.detach(), losses.detach(), init_losses.detach()}, o);
}

namespace {

// The squares of one chunk of a gradient added up, in double.
template <class T> struct ChunkSquare {
  Index n;
  const T* g;
  double* sums;
  template <class Team> HD void operator()(Index b, Team team) const {
    const Chunk c = chunk(b, n);
    const T* v = g + c.begin;
    const double s = team.template sum<double>(c.length, [=](Index i) { return double(v[i]) * double(v[i]); });
    if (team.leads()) sums[b] = s;
  }
};

template <class T> struct RootOfSum {
  Index n;
  const double* terms;
  T* y;
  template <class Team> HD void operator()(Index, Team team) const {
    const double* t = terms;
    const double s = team.template sum<double>(n, [=](Index i) { return t[i]; });
    if (team.leads()) *y = T(std::sqrt(s));
  }
};

struct NotPositive {
  HD bool operator()(double v) const { return !(v > 0); }
};

}  // namespace

Tensor gradient_norms(const Tensor& losses, const std::vector<Tensor>& shared) {
  check_tasks("gradient_norms", losses);
  Index chunks = 0;
  for (const Tensor& w : shared) chunks += chunks_of(w.numel());
  Device& device = losses.device();
  Tensor norms = empty(losses.shape(), losses.dtype(), device), squares = empty({chunks}, DType::f64, device);
  for (Index k = 0; k < losses.numel(); ++k) {
    double* to = squares.data_mut<double>();
    for (const Tensor& g : grad(losses[k], shared, Retain::yes)) {
      dispatch_float("gradient_norms", g.dtype(), [&]<class T>() {
        launch_rows(device, chunks_of(g.numel()), chunk_length, ChunkSquare<T>{g.numel(), g.data<T>(), to});
      });
      to += chunks_of(g.numel());
    }
    dispatch_float("gradient_norms", norms.dtype(), [&]<class T>() {
      launch_rows(device, 1, chunks, RootOfSum<T>{chunks, squares.data<double>(), norms.data_mut<T>() + k});
    });
  }
  return norms;
}

Tensor renormalised(const Tensor& weights) {
  check_tasks("renormalised", weights);
  const Tensor w = weights.detach(), total = sum(w.to(DType::f64));
  if (first_bad(total, NotPositive{}) >= 0) {
    fail("renormalised",
         "the weights must have a sum > 0, got " + std::to_string(total.item()) + "; lower their learning rate");
  }
  return w * (double(w.numel()) / total).to(w.dtype());
}

// ---- for the table of losses

namespace {

LossSample sample(const char* what, const std::vector<double>& w, const std::vector<double>& norms,
                  const std::vector<double>& losses, const std::vector<double>& init, double alpha,
                  bool extreme = false) {
  const auto t = [](const std::vector<double>& v) { return tensor(v, DType::f64); };
  return {.what = what,
          .inputs = {{"weights", t(w)}, {"grad_norms", t(norms)}, {"losses", t(losses)}, {"init_losses", t(init)}},
          .options = {{"alpha", alpha}},
          .extreme = extreme};
}

std::vector<LossSample> gradnorm_samples(Rng&) {
  return {
      sample("norms 2 and 40", {1, 1}, {2, 40}, {.9, .3}, {1, 1}, 1.5),
      sample("4 tasks", {.5, 1, 2, .5}, {1, 3, .2, 2}, {.5, 2, 1, .1}, {1, 3, 5, .4}, 1),
      sample("alpha 0, 3 tasks", {.6, 1.4, 1}, {1, 2, 3}, {.5, 2, 1}, {1, 3, 5}, 0),
      sample("all losses 0", {1, .5}, {1, 3}, {0, 0}, {1, 2}, 1.5),
      sample("one loss 0", {1, .5, 1.5}, {1, 3, .5}, {0, 1, 2}, {1, 2, 2}, .5),
      sample("one task off its target of alpha 3", {1}, {2}, {.5}, {1}, 3, true),
      sample("no task", {}, {}, {}, {}, 1.5),
      sample("losses of 1e-30 and 1e30", {1, 1}, {1e-20, 3e10}, {1e-30, 1e30}, {2e-30, 9e30}, 1.5, true),
  };
}

}  // namespace

Losses gradnorm_losses() {
  return {{.name = op,
           .family = Family::combine,
           .formula = "sum_i |w_i g_i - sg(mean_j(w_j g_j) r_i^alpha)|",
           .seeds = "A133",
           .task = "the weights of four and more tasks on one trunk",
           .inputs = {{"weights", "[K]"},
                      {"grad_norms", "[K]", Kind::constant},
                      {"losses", "[K]", Kind::constant},
                      {"init_losses", "[K]", Kind::constant}},
           .options = {{"alpha", 1.5}},
           .run =
               [](const Arguments& a) {
                 return gradnorm(a["weights"], a["grad_norms"], a["losses"], a["init_losses"],
                                 {.alpha = a.number("alpha"), .form = a.form});
               },
           .samples = gradnorm_samples,
           .frozen =
               [](const Arguments& moving, const Arguments& still) {
                 return gap(moving["weights"],
                            {still["weights"], still["grad_norms"], still["losses"], still["init_losses"]},
                            {.alpha = moving.number("alpha"), .form = moving.form});
               }}};
}

}  // namespace gradus
