// The way back of sinkhorn_core.h.
#include <cmath>

#include "losses/transport/sinkhorn_core.h"
#include "losses/transport/sinkhorn_kernel.h"
#include "ops/matmul.h"

namespace gradus {

using namespace sinkhorn_kernel;

namespace {

constexpr double infinity = vmath::infinity<double>;
constexpr Index most_ranks = 512;  // vectors kept before they go into dC

std::size_t at(Index i) { return std::size_t(i); }

bool within_reach(const double* x, const Numbers& base, double reach) {
  for (std::size_t i = 0; i < base.size(); ++i) {
    if (base[i] == -infinity ? x[i] != base[i] : !(std::abs(x[i] - base[i]) <= reach)) return false;
  }
  return true;
}

// Bars are those of L / (epsilon size): near 1, so that f32 holds what is collected, whatever the costs.
template <class T> struct WayBack {
  using Pair = const double* const[2];  // phi, gamma
  const SinkhornProblem<T>& p;
  double dy, size = 1;
  double* dC;
  Tensor kernel, x, y;  // x [most ranks,n], y [most ranks,m]: the collected vectors
  Index ranks = 0;
  bool at_end = true;  // the kernel is the plan, whose own P (1 - s) is still to be added
  Numbers inverse_mass[2], base[2], bar[2], sums[2];
  std::vector<T> factor[2], weight[2];
  const double* seen[2] = {nullptr, nullptr};  // the potentials that factor was computed from
  bool columns_known = false;                  // sums[1] = K^T weight[0]

  WayBack(const SinkhornProblem<T>& problem, Index iterations, double upstream, double* to, Pair& last)
      : p(problem), dy(upstream), dC(to), kernel(empty({p.n, p.m}, dtype_of<T>, Device::cpu())) {
    if (dC) {
      const Index most = std::min(most_ranks, 2 * iterations);
      x = empty({most, p.n}, dtype_of<T>, Device::cpu()), y = empty({most, p.m}, dtype_of<T>, Device::cpu());
    }
    for (const int side : {0, 1}) {
      const std::size_t n = at(p.size(side));
      inverse_mass[side].resize(n);
      for (std::size_t i = 0; i < n; ++i) {
        const double mass = vmath::exp(p.log_mass(side)[i]);
        inverse_mass[side][i] = mass > 0 ? 1 / mass : 0;
      }
      for (Numbers* v : {&bar[side], &sums[side]}) v->assign(n, 0.0);
      for (std::vector<T>* v : {&factor[side], &weight[side]}) v->assign(n, T(1));
    }
    absorb(last);
    start_bars();
  }

  // L / epsilon = sum P s: its bars are the sums of P s along rows and columns.
  void start_bars() {
    const T* K = kernel.template data<T>();
    const double scale = 1 / p.epsilon;
    double* columns = bar[1].data();
    for (Index i = 0; i < p.n; ++i) {
      const T *row = K + i * p.m, *cost = p.cost + i * p.m;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index j = 0; j < p.m; ++j) {
        const double price = double(row[j]) * double(cost[j]) * scale;
        sum += price;
        columns[j] += price;
      }
      bar[0][at(i)] = sum;
    }
    double most = 0;
    for (const Numbers& b : bar) {
      for (const double v : b) most = std::max(most, std::abs(v));
    }
    if (most > 0 && most < infinity) size = most;
    for (Numbers& b : bar) {
      for (double& v : b) v /= size;
    }
  }

  void flush() {
    if (dC && (ranks > 0 || at_end)) {
      Tensor product;
      if (ranks > 0) {
        product = matmul(x.untaped_view({ranks, p.n}), y.untaped_view({ranks, p.m}), {.transpose_a = true});  // [n,m]
      }
      const T *sum = ranks > 0 ? product.template data<T>() : nullptr, *K = kernel.template data<T>();
      const double own = at_end ? 1 : 0, scale = own / p.epsilon;
      parallel_for(p.n * p.m, serial_below, [&](Index begin, Index end) {
#pragma omp simd
        for (Index k = begin; k < end; ++k) {
          const double collected = sum ? size * double(sum[k]) : 0;
          dC[k] += dy * double(K[k]) * (collected + (own - double(p.cost[k]) * scale));
        }
      });
    }
    ranks = 0;
    at_end = false;
  }
  void absorb(Pair& potentials) {
    for (const int side : {0, 1}) {
      base[side].assign(potentials[side], potentials[side] + p.size(side));
      seen[side] = nullptr;
    }
    sinkhorn_plan_into(p, potentials[0], potentials[1], kernel.template data_mut<T>());
    columns_known = false;
  }
  void move_to(Pair& potentials) {
    if ((potentials[0] != seen[0] && !within_reach(potentials[0], base[0], sinkhorn_reach<T>)) ||
        (potentials[1] != seen[1] && !within_reach(potentials[1], base[1], sinkhorn_reach<T>))) {
      flush();
      absorb(potentials);
    }
    for (const int side : {0, 1}) {
      if (seen[side] == potentials[side]) continue;
      seen[side] = potentials[side];
      const double *now = potentials[side], *then = base[side].data();
      T* out = factor[side].data();
      // 1 where there is no mass: the kernel is 0 there
      for (Index i = 0; i < p.size(side); ++i) out[i] = then[i] == -infinity ? T(1) : T(vmath::exp(now[i] - then[i]));
    }
  }
  T weighted(int side, Index i) const {
    return T(double(factor[side][at(i)]) * (bar[side][at(i)] * inverse_mass[side][at(i)]));
  }
  // Through the step that gave `side` its potential: bar[side] goes to its log mass, to s and to the other side.
  void pull(int side, Pair& potentials, double* log_mass) {
    move_to(potentials);
    const T* K = kernel.template data<T>();
    for (Index i = 0; i < p.size(side); ++i) weight[side][at(i)] = weighted(side, i);
    if (side == 1) {
      // The row step before it comes next: its weight is known once row i is summed.
      const auto next = [&](Index i, double sum) {
        bar[0][at(i)] -= double(factor[0][at(i)]) * sum;
        return weighted(0, i);
      };
      rows_then_columns(K, p.n, p.m, weight[1].data(), next, sums[1].data());
    } else {
      if (!columns_known) columns_times(K, p.n, p.m, weight[0].data(), sums[1].data());
      for (Index j = 0; j < p.m; ++j) bar[1][at(j)] -= double(factor[1][at(j)]) * sums[1][at(j)];
    }
    columns_known = side == 1;
    if (log_mass) {
      for (Index i = 0; i < p.size(side); ++i) log_mass[i] += p.epsilon * dy * size * bar[side][at(i)];
    }
    std::fill(bar[side].begin(), bar[side].end(), 0.0);
    if (!dC) return;
    const std::vector<T>&left = side == 0 ? weight[0] : factor[0], &right = side == 0 ? factor[1] : weight[1];
    std::copy(left.begin(), left.end(), x.template data_mut<T>() + ranks * p.n);
    std::copy(right.begin(), right.end(), y.template data_mut<T>() + ranks * p.m);
    if (++ranks == x.size(0)) flush();
  }
};

}  // namespace

template <class T>
void sinkhorn_back(const SinkhornProblem<T>& p, Index iterations, const double* history, double dy, double* dC,
                   double* da, double* db) {
  const Index stride = p.n + p.m;
  const Numbers start(at(stride), 0.0);  // potentials of 0 before the first iteration
  double* const log_mass[2] = {da, db};
  const double* end = history + (iterations - 1) * stride;
  const double* const last[2] = {end, end + p.n};
  WayBack<T> way(p, iterations, dy, dC, last);
  for (Index k = iterations - 1; k >= 0; --k) {
    const double *now = history + k * stride, *before = k > 0 ? now - stride : start.data();
    const double* const both[2] = {now, now + p.n};
    way.pull(1 - p.first, both, log_mass[1 - p.first]);
    const double* const mixed[2] = {p.first == 0 ? now : before, p.first == 0 ? before + p.n : now + p.n};
    way.pull(p.first, mixed, log_mass[p.first]);
    // What the earlier potentials of the other side have received stays in bar for their own step.
  }
  way.flush();
}

template void sinkhorn_back(const SinkhornProblem<float>&, Index, const double*, double, double*, double*, double*);
template void sinkhorn_back(const SinkhornProblem<double>&, Index, const double*, double, double*, double*, double*);

}  // namespace gradus
