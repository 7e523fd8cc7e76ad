#include "losses/transport/wasserstein_device.h"

#include <cmath>

#include "ops/launch.h"
#include "ops/sort.h"

namespace gradus {
namespace {

template <class T> struct InOrder {
  const T* x;
  const Index* order;
  double* sorted;
  HD void operator()(Index k) const { sorted[k] = double(x[order[k]]); }
};

struct CumulatedWeights {
  using Value = double;
  const double* weight;
  const Index* order;
  double* upper;
  HD double load(Index k) const { return weight[order[k]]; }
  HD static double join(double a, double b) { return a + b; }
  HD void store(Index k, double v) const { upper[k] = v; }
};

struct View {
  const double *points, *upper;
  Index n;
  HD double below(Index k) const { return k > 0 ? upper[k - 1] : 0.0; }
  // The first l whose upper end is greater than `mass`, or not less than it.
  HD Index first_beyond(double mass, bool or_equal) const {
    Index low = 0, high = n;
    while (low < high) {
      const Index middle = low + (high - low) / 2;
      const bool beyond = or_equal ? upper[middle] >= mass : upper[middle] > mass;
      (beyond ? high : low) = beyond ? middle : middle + 1;
    }
    return low;
  }
};

// sum over the pairs of point k of mass f(x_k - y_l)
template <class Team, class F> HD double over_pairs(const View& mine, const View& other, Index k, Team team, F f) {
  const double low = mine.below(k), high = mine.upper[k], x = mine.points[k];
  const View y = other;
  const Index first = y.first_beyond(low, false), end = y.first_beyond(high, true) + 1, last = end < y.n ? end : y.n;
  return team.template sum<double>(last > first ? last - first : 0, [=](Index i) {
    const Index l = first + i;
    const double from = y.below(l) > low ? y.below(l) : low, to = y.upper[l] < high ? y.upper[l] : high;
    return to > from ? (to - from) * f(x - y.points[l]) : 0.0;
  });
}

struct PairPrices {
  View mine, other;
  bool squared;
  double* price;
  template <class Team> HD void operator()(Index k, Team team) const {
    const bool square = squared;
    const double sum = over_pairs(mine, other, k, team, [=](double d) { return square ? d * d : std::abs(d); });
    if (team.leads()) price[k] = sum;
  }
};

struct Total {
  const double* x;
  Index n;
  bool root;
  double* total;
  template <class Team> HD void operator()(Index, Team team) const {
    const double* v = x;
    const double sum = team.template sum<double>(n, [=](Index k) { return v[k]; });
    if (team.leads()) *total = root ? std::sqrt(sum) : sum;
  }
};

template <class T, class G> struct PairSlopes {
  View mine, other;
  const Index* order;
  bool squared, power;
  const double* value;
  const G* dy;
  T* sum;
  template <class Team> HD void operator()(Index k, Team team) const {
    const bool square = squared;
    const double slope =
        over_pairs(mine, other, k, team, [=](double d) { return square ? d : double(d > 0) - double(d < 0); });
    const double w = *value, scale = !square ? 1.0 : power ? 2.0 : w > 0 ? 1 / w : 0.0;
    if (team.leads()) sum[order[k]] += T(double(*dy) * scale * slope);
  }
};

View view(const Cloud& c) { return {c.points.data<double>(), c.upper.data<double>(), c.points.numel()}; }

Cloud sorted_cloud(const Tensor& x, const Tensor& weight) {
  const Index n = x.numel();
  Cloud c{argsort(x.detach(), 0), empty({n}, DType::f64, x.device()), empty({n}, DType::f64, x.device())};
  const Index* order = c.order.data<Index>();
  dispatch_float("wasserstein_1d", x.dtype(), [&]<class T>() {
    launch(x.device(), n, InOrder<T>{x.data<T>(), order, c.points.data_mut<double>()});
  });
  launch_scan(x.device(), n, CumulatedWeights{weight.data<double>(), order, c.upper.data_mut<double>()});
  return c;
}

}  // namespace

Clouds::Clouds(const Tensor& x, const Tensor& y, const Tensor& wx, const Tensor& wy, Index order, bool keep_power)
    : of{sorted_cloud(x, wx), sorted_cloud(y, wy)},
      p(order),
      power(keep_power),
      value(empty({1}, DType::f64, x.device())) {
  const Index n = x.numel();
  Tensor prices = empty({n}, DType::f64, x.device());
  launch_rows(x.device(), n, y.numel() / n, PairPrices{view(of[0]), view(of[1]), p == 2, prices.data_mut<double>()});
  launch_rows(x.device(), 1, n, Total{prices.data<double>(), n, p == 2 && !power, value.data_mut<double>()});
}

void Clouds::gradient(int side, const Tensor& dy, Tensor& sum) const {
  const Cloud &mine = of[side], &other = of[1 - side];
  dispatch_float("wasserstein_1d", sum.dtype(), [&]<class T>() {
    dispatch_float("wasserstein_1d", dy.dtype(), [&]<class G>() {
      launch_rows(sum.device(), sum.numel(), other.points.numel() / sum.numel(),
                  PairSlopes<T, G>{view(mine), view(other), mine.order.data<Index>(), p == 2, power,
                                   value.data<double>(), dy.data<G>(), sum.data_mut<T>()});
    });
  });
}

}  // namespace gradus
