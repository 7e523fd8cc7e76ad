#include "losses/schemes/curriculum.h"

#include <algorithm>
#include <cmath>

#include "losses/schemes/selection.h"
#include "ops/arithmetic.h"
#include "ops/elementwise.h"

namespace gradus {
namespace {

// y_i = w_i l_i, 0 where w_i = 0 whatever l_i        dy_i/dl_i = w_i
template <class T> struct Chosen {
  const T *x, *w;
  T* y;
  HD void operator()(Index i) const { y[i] = w[i] == 0 ? T(0) : x[i]; }
};
template <class T> struct ChosenGradient {
  const T *dy, *w;
  T* dx;
  HD void operator()(Index i) const { dx[i] += w[i] == 0 ? T(0) : dy[i]; }
};

// in: losses [N], mask [N] of 0 and 1.
struct ChosenRows final : Op {
  const char* name() const override { return "chosen_rows"; }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape(), in[0].dtype(), in[0].device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch(y.device(), y.numel(), Chosen<T>{in[0].data<T>(), in[1].data<T>(), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch(dy.device(), dy.numel(), ChosenGradient<T>{dy.data<T>(), in[1].data<T>(), dx.into(0).data_mut<T>()});
    });
  }
};

void check_options(const CurriculumOptions& o) {
  if (!(o.epoch >= 0)) fail("curriculum", "epoch must not be negative, got " + std::to_string(o.epoch));
  if (!(o.start >= 0 && o.start <= 1)) fail("curriculum", "start must lie in [0,1], got " + std::to_string(o.start));
  if (!(o.time_constant > 0)) {
    fail("curriculum", "time_constant must be positive, got " + std::to_string(o.time_constant));
  }
}

}  // namespace

double curriculum_pace(const CurriculumOptions& o) {
  check_options(o);
  return 1 - (1 - o.start) * std::exp(-o.epoch / o.time_constant);
}

Index curriculum_rows(Index rows, const CurriculumOptions& o) {
  // The product may exceed by a rounding the integer it means.
  const double wanted = std::ceil(curriculum_pace(o) * double(rows) * (1 - 0x1p-50));
  return std::min(rows, std::max<Index>(1, Index(wanted)));
}

Tensor curriculum(At losses, const Tensor& difficulty, CurriculumOptions o) {
  if (!losses.tensor || !difficulty || losses->rank() != 1 || difficulty.shape() != losses->shape()) {
    fail("curriculum", "needs losses [N] and a difficulty for each, [N]");
  }
  check_same_kind("curriculum", losses, difficulty);
  const Index k = curriculum_rows(losses->size(0), o);
  const Tensor mask = least_mask(difficulty.detach(), k, o.form);
  const Tensor rows = o.form == Form::definition ? losses.tensor * mask : apply(ChosenRows(), losses, mask);
  return reduce_rows(At(rows, losses.line), o.reduction, double(k));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> curriculum_samples(Rng& rng) {
  const auto inputs = [&](Index N) {
    return Inputs{{"losses", 2 * rand({N}, rng, DType::f64)}, {"difficulty", randn({N}, rng, DType::f64)}};
  };
  return {
      {"epoch 0: one row of five", inputs(5)},
      {"epoch 5, none", inputs(8), {{"epoch", 5.0}, {"reduction", "none"}}},
      {"epoch 2.5, sum", inputs(13), {{"epoch", 2.5}, {"time_constant", 2.0}, {"reduction", "sum"}}},
      {"all difficulties equal",
       {{"losses", rand({6}, rng, DType::f64)}, {"difficulty", ones({6}, DType::f64)}},
       {{"start", 0.5}}},
      {"no rows", inputs(0)},
      {.what = "losses of 1e-30 and 1e30",
       .inputs = {{"losses", tensor({1e-30, 1e30}, {2}, DType::f64)},
                  {"difficulty", tensor({-1e30, 1e30}, {2}, DType::f64)}},
       .extreme = true},
  };
}

}  // namespace

Losses curriculum_losses() {
  return {{.name = "curriculum",
           .family = Family::scheme,
           .formula = "mean of l over the ceil(pace N) rows of least difficulty, pace = 1 - (1 - start) e^{-epoch/tau}",
           .seeds = "A158 A160 B042 C92",
           .task = "easy rows first",
           .inputs = {{"losses", "[N]"}, {"difficulty", "[N]", Kind::constant}},
           .options = {{"epoch", 0.0}, {"start", 0.2}, {"time_constant", 10.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return curriculum(a["losses"], a["difficulty"],
                                   {.epoch = a.number("epoch"),
                                    .start = a.number("start"),
                                    .time_constant = a.number("time_constant"),
                                    .reduction = a.reduction(),
                                    .form = a.form});
               },
           .samples = curriculum_samples}};
}

}  // namespace gradus
