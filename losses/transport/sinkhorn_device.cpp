#include "losses/transport/sinkhorn_device.h"

#include <algorithm>

#include "losses/transport/sinkhorn_device_rows.h"

namespace gradus {

using namespace sinkhorn_device;

namespace {

void add_slabs(Tensor& sum, const Tensor& x, Index slabs) {
  dispatch_float("sinkhorn", sum.dtype(), [&]<class T>() {
    launch(sum.device(), sum.numel(), AddSlabs<T>{x.data<double>(), slabs, sum.numel(), sum.data_mut<T>()});
  });
}

}  // namespace

void add_rounded(Tensor& sum, const Tensor& x) { add_slabs(sum, x, 1); }

SinkhornOnDevice::SinkhornOnDevice(const Tensor& log_a, const Tensor& log_b, const Tensor& cost, double epsilon,
                                   int first)
    : N_(log_a.numel() / cost.size(0)),
      size_{cost.size(0), cost.size(1)},
      places_(size_[0] + size_[1]),
      epsilon_(epsilon),
      first_(first),
      log_mass_(empty({N_, 1, places_}, DType::f64, cost.device())),
      s_{empty(cost.shape(), DType::f64, cost.device()), empty({size_[1], size_[0]}, DType::f64, cost.device())},
      start_(zeros({places_}, DType::f64, cost.device())) {
  dispatch_float("sinkhorn", cost.dtype(), [&]<class T>() {
    launch_grid(device(), size_[0], size_[1],
                ScaledCost<T>{cost.data<T>(), 1 / epsilon, size_[0], size_[1], s_[0].data_mut<double>(),
                              s_[1].data_mut<double>()});
  });
  for (const int side : {0, 1}) {
    const Tensor& logs = side == 0 ? log_a : log_b;
    dispatch_float("sinkhorn", logs.dtype(), [&]<class T>() {
      launch_grid(device(), N_, size_[side],
                  CopyLogs<T>{logs.data<T>(), size_[side], places_, into(log_mass_, 0, side)});
    });
  }
}

ProblemVectors SinkhornOnDevice::of(const Tensor& set, Index slot, int side) const {
  return {set.data<double>() + slot * places_ + offset(side), set.size(1) * places_};
}
double* SinkhornOnDevice::into(Tensor& set, Index slot, int side) const {
  return set.data_mut<double>() + slot * places_ + offset(side);
}

Tensor SinkhornOnDevice::room(Index slots) const { return empty({N_, slots, places_}, DType::f64, device()); }

void SinkhornOnDevice::step(int side, Tensor& set, Index slot, const ProblemVectors& other) const {
  const Index size = size_[side], width = size_[1 - side];
  launch_rows(device(), N_ * size, width,
              LogStep{s_[side].data<double>(), size, width, of(log_mass_, 0, side), other, into(set, slot, side),
                      set.size(1) * places_});
}

void SinkhornOnDevice::iterate(Tensor& set, Index k) const {
  const Index slots = set.size(1), now = k % slots;
  const int second = 1 - first_;
  const ProblemVectors before =
      k > 0 ? of(set, (k - 1) % slots, second) : ProblemVectors{start_.data<double>() + offset(second), 0};
  step(first_, set, now, before);
  step(second, set, now, of(set, now, first_));
}

Tensor SinkhornOnDevice::run(Index iterations) const {
  Tensor set = room(1);
  for (Index k = 0; k < iterations; ++k) iterate(set, k);
  return set;
}

template <bool Priced>
void SinkhornOnDevice::sum_along(int side, const Tensor& set, Index slot, double* to, Index stride) const {
  const Index size = size_[side], width = size_[1 - side];
  launch_rows(
      device(), N_ * size, width,
      PlanSums<Priced>{s_[side].data<double>(), size, width, of(set, slot, side), of(set, slot, 1 - side), to, stride});
}

Tensor SinkhornOnDevice::price(const Tensor& set, Index slot) const {
  Tensor rows = empty({N_, size_[0]}, DType::f64, device()), total = empty({N_}, DType::f64, device());
  sum_along<true>(0, set, slot, rows.data_mut<double>(), size_[0]);
  launch_rows(device(), N_, size_[0], ScaledTotal{rows.data<double>(), size_[0], epsilon_, total.data_mut<double>()});
  return total;
}

Tensor SinkhornOnDevice::plan(const Tensor& set, Index slot, DType dtype, bool transposed) const {
  const int side = transposed ? 1 : 0;
  Tensor P = empty(s_[side].shape(), dtype, device());
  dispatch_float("sinkhorn_plan", dtype, [&]<class T>() {
    launch_grid(device(), size_[side], size_[1 - side],
                PlanElements<T>{s_[side].data<double>(), of(set, slot, side).at, of(set, slot, 1 - side).at,
                                size_[1 - side], P.data_mut<T>()});
  });
  return P;
}

Tensor SinkhornOnDevice::regularised(const Tensor& set, Index slot) const {
  Tensor mass = empty({places_}, DType::f64, device()), value = empty({1}, DType::f64, device());
  for (const int side : {0, 1}) sum_along<false>(side, set, slot, mass.data_mut<double>() + offset(side), places_);
  launch_rows(device(), 1, places_,
              RegularisedValue{mass.data<double>(), of(set, slot, 0).at, log_mass_.data<double>(), places_, epsilon_,
                               value.data_mut<double>()});
  return value;
}

// bars of `side` at iteration `from` to those of the other side at iteration `to`
void SinkhornOnDevice::pull(int side, const ProblemVectors& own, const ProblemVectors& other, Tensor& bars, Index from,
                            Index to, bool started) const {
  const Index size = size_[1 - side], width = size_[side];
  launch_rows(device(), N_ * size, width,
              PullBars{s_[1 - side].data<double>(), size, width, own, of(log_mass_, 0, side), other,
                       of(bars, from, side), into(bars, to, 1 - side), bars.size(1) * places_, started});
}

void SinkhornOnDevice::cost_gradient(const Tensor& set, const Tensor& bars, const Tensor& dy, Tensor& to) const {
  // Few elements and many problems: each element's problems are shared out, so that the device has enough to do.
  const Index elements = size_[0] * size_[1], slabs = std::clamp<Index>(65536 / elements, 1, std::max<Index>(1, N_));
  Tensor terms = empty({slabs, elements}, DType::f64, device());
  launch_grid(device(), slabs, elements,
              CostTerms{s_[0].data<double>(), set.data<double>(), bars.data<double>(), log_mass_.data<double>(),
                        dy.data<double>(), start_.data<double>(), N_, set.size(1), size_[0], size_[1], slabs, first_,
                        terms.data_mut<double>()});
  add_slabs(to, terms, slabs);
}

void SinkhornOnDevice::back(const Tensor& set, const Tensor& dy, Out dx) const {
  const Index last = set.size(1) - 1;
  const int F = first_, S = 1 - first_;
  Tensor bars = room(set.size(1));
  const Tensor g = dy.detach().to(DType::f64);
  for (const int side : {0, 1}) sum_along<true>(side, set, last, into(bars, last, side), set.size(1) * places_);
  for (Index k = last; k >= 0; --k) {
    pull(S, of(set, k, S), of(set, k, F), bars, k, k, k == last);
    if (k > 0) pull(F, of(set, k, F), of(set, k - 1, S), bars, k, k - 1, false);
  }
  for (const int side : {0, 1}) {
    if (!dx.wants(side)) continue;
    Tensor& to = dx.into(side);
    dispatch_float("sinkhorn", to.dtype(), [&]<class T>() {
      launch_grid(device(), N_, size_[side],
                  LogMassGradient<T>{bars.data<double>() + offset(side), g.data<double>(), set.size(1), places_,
                                     size_[side], epsilon_, to.data_mut<T>()});
    });
  }
  if (dx.wants(2)) cost_gradient(set, bars, g, dx.into(2));
}

}  // namespace gradus
