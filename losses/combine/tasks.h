// What the losses of this folder share: the losses of K tasks as one tensor [K], and sums over the tasks as one node.
//
//   y = sum_i f(L_i, w_i)        L [K] losses, w [K] what goes with each: a weight, a reference, a noise level
//
// A loss states f and its two slopes, nothing else:
//
//   struct Product {
//     static constexpr auto name = "weighted_sum";
//     HD double value(double L, double w) const { return L * w; }
//     HD double by_loss(double, double w) const { return w; }      // df/dL
//     HD double by_weight(double L, double) const { return L; }    // df/dw
//   };
//
// K is a handful, so all of this runs in double, in f32 too: no task is too large or too small for the others.
#pragma once
#include "losses/loss.h"
#include "ops/elementwise.h"

namespace gradus {

// Errors: losses not [K]; w not [K] of the same type.
void check_tasks(const char* op, const Tensor& losses);
void check_tasks(const char* op, const Tensor& losses, const char* what, const Tensor& w);
// An error that names the first entry of x that is below `low`, or equal to it where it must be above; NaN passes.
void check_at_least(const char* op, const char* what, const Tensor& x, double low);
void check_above(const char* op, const char* what, const Tensor& x, double low);
void check_sums_to_one(const char* op, const char* what, const Tensor& x, double tolerance, const char* remedy);

// For samples: K losses in 0.2 .. 3.2, f64.
Tensor sample_losses(Index K, Rng& rng);

template <class T, class F> struct TermSumForward {
  F f;
  const T *loss, *weight;
  Index tasks;
  T* y;
  template <class Team> HD void operator()(Index, Team team) const {
    const F g = f;
    const T *L = loss, *w = weight;
    const double total = team.template sum<double>(tasks, [=](Index i) { return g.value(double(L[i]), double(w[i])); });
    if (team.leads()) *y = T(total);
  }
};

template <class T, class F, bool OfLoss> struct TermSumBackward {
  F f;
  const T *dy, *loss, *weight;
  T* dx;
  HD void operator()(Index i) const {
    const double L = double(loss[i]), w = double(weight[i]);
    dx[i] += T(double(dy[0]) * (OfLoss ? f.by_loss(L, w) : f.by_weight(L, w)));
  }
};

// in: L [K], w [K].  y: []
template <class F> struct TermSum final : Op {
  F f;
  explicit TermSum(F g) : f(g) {}
  const char* name() const override { return F::name; }

  Tensor forward(In in) override {
    Tensor y = empty({}, in[0].dtype(), in[0].device());
    dispatch_float(F::name, y.dtype(), [&]<class T>() {
      launch_rows(y.device(), 1, in[0].numel(),
                  TermSumForward<T, F>{f, in[0].data<T>(), in[1].data<T>(), in[0].numel(), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    dispatch_float(F::name, dy.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *L = in[0].data<T>(), *w = in[1].data<T>();
      const Index K = in[0].numel();
      if (dx.wants(0)) {
        launch(dy.device(), K, TermSumBackward<T, F, true>{f, g, L, w, dx.into(0).template data_mut<T>()});
      }
      if (dx.wants(1)) {
        launch(dy.device(), K, TermSumBackward<T, F, false>{f, g, L, w, dx.into(1).template data_mut<T>()});
      }
    });
  }
};

}  // namespace gradus
