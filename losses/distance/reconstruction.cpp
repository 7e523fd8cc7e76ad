#include "losses/distance/reconstruction.h"

#include "losses/distance/checks.h"
#include "ops/math.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

// L_r = sum_j (a_rj - b_rj)^2
template <class T> struct SampleLoss {
  Index n;
  const T *a, *b;
  T* loss;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *u = a + r * n, *v = b + r * n;
    const T s = team.template sum<T>(n, [=](Index j) { return (u[j] - v[j]) * (u[j] - v[j]); });
    if (team.leads()) loss[r] = s;
  }
};

// dL_r/da_rj = 2 (a_rj - b_rj)
template <class T> struct SampleGradient {
  Index n;
  const T *dy, *a, *b;
  T* da;
  HD void operator()(Index r, Index j) const { da[r * n + j] += 2 * dy[r] * (a[r * n + j] - b[r * n + j]); }
};

// in: pred, target [N,..].  y: one loss per sample.
struct Reconstruction final : Op {
  const char* name() const override { return "reconstruction"; }
  Tensor forward(In in) override {
    const Tensor& a = in[0];
    const Index N = a.size(0);
    Tensor loss = empty({N}, a.dtype(), a.device());
    dispatch_float(name(), a.dtype(), [&]<class T>() {
      const Index n = features(a);
      launch_rows(a.device(), N, n, SampleLoss<T>{n, a.data<T>(), in[1].data<T>(), loss.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index N = in[0].size(0), n = features(in[0]);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *a = in[0].data<T>(), *b = in[1].data<T>();
      if (dx.wants(0)) launch_grid(dy.device(), N, n, SampleGradient<T>{n, g, a, b, dx.into(0).data_mut<T>()});
      if (dx.wants(1)) launch_grid(dy.device(), N, n, SampleGradient<T>{n, g, b, a, dx.into(1).data_mut<T>()});
    });
  }

 private:
  static Index features(const Tensor& x) { return x.shape().product(1, x.rank()); }
};

}  // namespace

Tensor reconstruction(At pred, const Tensor& target, ReconstructionOptions o) {
  constexpr auto op = "reconstruction";
  check_same_shape(op, pred, target);
  if (pred->rank() == 0) fail(op, "needs samples along the first axis, [N,..], got " + pred->describe());
  Tensor rows;
  if (o.form == Form::definition) {
    std::vector<int> axes;
    for (int axis = 1; axis < pred->rank(); ++axis) axes.push_back(axis);
    const Tensor squares = square(pred - target);
    rows = axes.empty() ? squares : sum(squares, axes);
  } else {
    rows = apply(Reconstruction{}, pred, target);
  }
  return reduce_elements(At(rows, pred.line), o.reduction);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> reconstruction_samples(Rng& rng) {
  const auto pair = [&](const Shape& shape) -> Inputs {
    return {{"pred", randn(shape, rng, DType::f64)}, {"target", randn(shape, rng, DType::f64)}};
  };
  return {
      {"vectors", pair({4, 7})},
      {"images, none", pair({2, 3, 5}), {{"reduction", "none"}}},
      {"numbers, sum", pair({6}), {{"reduction", "sum"}}},
      {"no samples", pair({0, 3})},
      {"no features", pair({2, 0})},
      {.what = "errors of 1e18 and 1e-15",
       .inputs = {{"pred", tensor({1e18, 2e18, 1e-15, 0}, {2, 2}, DType::f64)}, {"target", zeros({2, 2}, DType::f64)}},
       .options = {{"reduction", "none"}},
       .extreme = true},
  };
}

}  // namespace

Losses reconstruction_losses() {
  return {{.name = "reconstruction",
           .family = Family::distance,
           .formula = "sum_j (pred_j - target_j)^2 per sample",
           .seeds = "A140",
           .task = "auto-encoders",
           .inputs = {{"pred", "[...]"}, {"target", "[...]"}},
           .options = {reduction_option()},
           .run =
               [](const Arguments& a) {
                 return reconstruction(a["pred"], a["target"], {.reduction = a.reduction(), .form = a.form});
               },
           .samples = reconstruction_samples}};
}

}  // namespace gradus
