// What one row, column or element does in sinkhorn_device.h. P_ij = e^{phi_i + gamma_j - s_ij}; "own" is the side whose row
// it is, rows [n,m] or, transposed, columns [m,n].
#pragma once
#include "losses/transport/sinkhorn_device.h"
#include "ops/launch.h"

namespace gradus::sinkhorn_device {

HD inline double at(const ProblemVectors& x, Index r, Index i) { return x.at[r * x.stride + i]; }
// -log sum of a step; out of reach where there is no mass
HD inline double weight_shift(double potential, double log_mass) {
  return potential == -vmath::infinity<double> ? potential : potential - log_mass;
}

template <class T> struct ScaledCost {
  const T* cost;
  double scale;
  Index n, m;
  double *s, *transposed;
  HD void operator()(Index i, Index j) const {
    const double x = double(cost[i * m + j]) * scale;
    s[i * m + j] = x;
    transposed[j * n + i] = x;
  }
};

template <class T> struct CopyLogs {
  const T* from;
  Index size, places;
  double* to;
  HD void operator()(Index r, Index i) const { to[r * places + i] = double(from[r * size + i]); }
};

// potential_i = log mass_i - log sum_j e^{other_j - s_ij}
struct LogStep {
  const double* s;
  Index size, width;
  ProblemVectors log_mass, other;
  double* to;
  Index stride;
  template <class Team> HD void operator()(Index q, Team team) const {
    const Index r = q / size, i = q % size;
    const double *row = s + i * width, *seen = other.at + r * other.stride;
    const double top = team.template max<double>(width, [=](Index j) { return seen[j] - row[j]; });
    const double sum = team.template sum<double>(width, [=](Index j) { return vmath::exp((seen[j] - row[j]) - top); });
    const double l = at(log_mass, r, i);
    if (team.leads()) {
      to[r * stride + i] = vmath::exp(l) > 0 ? (l - top) - vmath::log(sum) : -vmath::infinity<double>;
    }
  }
};

// sum_j P_ij, times s_ij when Priced
template <bool Priced> struct PlanSums {
  const double* s;
  Index size, width;
  ProblemVectors own, other;
  double* to;
  Index stride;
  template <class Team> HD void operator()(Index q, Team team) const {
    const Index r = q / size, i = q % size;
    const double *row = s + i * width, *seen = other.at + r * other.stride, mine = at(own, r, i);
    const double sum = team.template sum<double>(width, [=](Index j) {
      const double p = vmath::exp((mine + seen[j]) - row[j]);
      return Priced ? p * row[j] : p;
    });
    if (team.leads()) to[r * stride + i] = sum;
  }
};

// to_j = (to_j) - sum_i w_ij bar_i, through the step that gave `own` its potentials; s [j,i]
struct PullBars {
  const double* s;
  Index size, width;
  ProblemVectors own, log_mass, other, bar;
  double* to;
  Index stride;
  bool started;
  template <class Team> HD void operator()(Index q, Team team) const {
    const Index r = q / size, j = q % size;
    const double *row = s + j * width, *potential = own.at + r * own.stride;
    const double *mass = log_mass.at + r * log_mass.stride, *bars = bar.at + r * bar.stride, seen = at(other, r, j);
    const double sum = team.template sum<double>(
        width, [=](Index i) { return vmath::exp((weight_shift(potential[i], mass[i]) + seen) - row[i]) * bars[i]; });
    double* out = to + r * stride + j;
    if (team.leads()) *out = (started ? *out : 0.0) - sum;
  }
};

struct ScaledTotal {
  const double* x;
  Index length;
  double scale;
  double* total;
  template <class Team> HD void operator()(Index r, Team team) const {
    const double* row = x + r * length;
    const double sum = team.template sum<double>(length, [=](Index i) { return row[i]; });
    if (team.leads()) total[r] = scale * sum;
  }
};

template <class T> struct PlanElements {
  const double *s, *own, *other;
  Index m;
  T* P;
  HD void operator()(Index i, Index j) const { P[i * m + j] = T(vmath::exp((own[i] + other[j]) - s[i * m + j])); }
};

// eps sum_i mass_i (potential_i - log mass_i) over the places of both sides
struct RegularisedValue {
  const double *mass, *potential, *log_mass;
  Index places;
  double epsilon;
  double* value;
  template <class Team> HD void operator()(Index, Team team) const {
    const double *m = mass, *p = potential, *l = log_mass;
    const double sum =
        team.template sum<double>(places, [=](Index i) { return m[i] > 0 ? m[i] * (p[i] - l[i]) : 0.0; });
    if (team.leads()) *value = epsilon * sum;
  }
};

template <class T> struct LogMassGradient {
  const double *bars, *dy;
  Index slots, places, size;
  double epsilon;
  T* to;
  HD void operator()(Index r, Index i) const {
    double sum = 0;
    for (Index k = 0; k < slots; ++k) sum += bars[(r * slots + k) * places + i];
    to[r * size + i] += T(epsilon * dy[r] * sum);
  }
};

// The terms of dL/dC_ij of every `slabs`-th problem.
struct CostTerms {
  const double *s, *set, *bars, *log_mass, *dy, *start;
  Index N, slots, n, m, slabs;
  int first;
  double* to;  // [slabs, n * m]
  HD void operator()(Index slab, Index c) const {
    const Index i = c / m, j = c % m, places = n + m;
    const double price = s[c];
    double total = 0;
    for (Index r = slab; r < N; r += slabs) {
      const double *logs = log_mass + r * places, log_a = logs[i], log_b = logs[n + j];
      const double *now = set + r * slots * places, *bar = bars + r * slots * places, *before = start;
      double sum = 0, plan = 0;
      for (Index k = 0; k < slots; ++k, before = now, now += places, bar += places) {
        const double phi = now[i], gamma = now[n + j];
        const double seen_phi = first == 0 ? phi : before[i], seen_gamma = first == 0 ? before[n + j] : gamma;
        sum += vmath::exp((weight_shift(phi, log_a) + seen_gamma) - price) * bar[i];
        sum += vmath::exp((weight_shift(gamma, log_b) + seen_phi) - price) * bar[n + j];
        plan = (phi + gamma) - price;
      }
      total += dy[r] * (sum + vmath::exp(plan) * (1 - price));
    }
    to[slab * n * m + c] = total;
  }
};

template <class T> struct AddSlabs {
  const double* x;  // [slabs, size]
  Index slabs, size;
  T* sum;
  HD void operator()(Index i) const {
    double total = 0;
    for (Index k = 0; k < slabs; ++k) total += x[k * size + i];
    sum[i] += T(total);
  }
};

}  // namespace gradus::sinkhorn_device
