#include "losses/transport/sinkhorn_core.h"

#include <atomic>
#include <cmath>

#include "losses/transport/problem.h"
#include "losses/transport/sinkhorn_kernel.h"

namespace gradus {

using namespace sinkhorn_kernel;

namespace {

constexpr double infinity = vmath::infinity<double>;
constexpr Index column_block = 256;

std::size_t at(Index i) { return std::size_t(i); }

template <class T> constexpr double tiny_sum = sizeof(T) == 4 ? 1e-25 : 1e-280;

// The factor that gives a row or column its mass; 0 when it is out of reach.
template <class T> double scaling(double mass, double sum) {
  static const double most = std::exp(sinkhorn_reach<T>);
  const double ratio = mass / sum;
  return sum > tiny_sum<T> && ratio < most && ratio > 1 / most ? ratio : 0;
}

}  // namespace

bool fits_f32(const double* log_mass, Index n) {
  for (Index i = 0; i < n; ++i) {
    if (!(std::abs(log_mass[i]) <= 20.7 || log_mass[i] == -infinity)) return false;
  }
  return true;
}

template <class T> void sinkhorn_plan_into(const SinkhornProblem<T>& p, const double* phi, const double* gamma, T* P) {
  const double scale = 1 / p.epsilon;
  parallel_for(p.n, rows_per_chunk(p.m), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const T* cost = p.cost + i * p.m;
      const double shift = phi[i];
      T* out = P + i * p.m;
#pragma omp simd
      for (Index j = 0; j < p.m; ++j) out[j] = exp_as(shift + gamma[j] - double(cost[j]) * scale, T());
    }
  });
}

template <class T> SinkhornRun<T>::SinkhornRun(const SinkhornProblem<T>& p) : p_(p) {
  for (const int side : {0, 1}) {
    const std::size_t n = at(p.size(side));
    sides_[side] = {Numbers(n), Numbers(n, 0.0), Numbers(n), std::vector<T>(n, T(1))};
    for (std::size_t i = 0; i < n; ++i) sides_[side].mass[i] = vmath::exp(p.log_mass(side)[i]);
  }
  sums_.resize(at(std::max(p.n, p.m)));
  fresh_.resize(sums_.size());
  column_sums_.resize(at(p.m));
}

template <class T> void SinkhornRun<T>::iterate() {
  step(p_.first);
  step(1 - p_.first);
}

template <class T> void SinkhornRun<T>::step(int side) {
  if (!kernel_ || !fast_step(side)) log_step(side);
}

template <class T> bool SinkhornRun<T>::fast_step(int side) {
  Side& own = sides_[side];
  const Index n = p_.size(side);
  const T *K = kernel_.data<T>(), *other = sides_[1 - side].factor.data();
  if (side == 0) {
    std::atomic<bool> within = true;
    const auto weight = [&](Index i, double sum) {
      const double ratio = own.mass[at(i)] > 0 ? scaling<T>(own.mass[at(i)], sum) : 0;
      if (ratio == 0 && own.mass[at(i)] > 0) within.store(false, std::memory_order_relaxed);
      sums_[at(i)] = ratio;
      return fresh_[at(i)] = T(ratio);
    };
    rows_then_columns(K, p_.n, p_.m, other, weight, column_sums_.data());
    columns_known_ = within;
    if (!within) return false;
  } else {
    if (!columns_known_) columns_times(K, p_.n, p_.m, other, column_sums_.data());
    columns_known_ = false;
    for (Index j = 0; j < n; ++j) {
      const double mass = own.mass[at(j)], ratio = mass > 0 ? scaling<T>(mass, column_sums_[at(j)]) : 0;
      if (ratio == 0 && mass > 0) return false;
      sums_[at(j)] = ratio;
      fresh_[at(j)] = T(ratio);
    }
  }
  std::copy(fresh_.begin(), fresh_.begin() + n, own.factor.begin());
  double *potential = own.potential.data(), *base = own.base.data(), *ratio = sums_.data(), *mass = own.mass.data();
#pragma omp simd
  for (Index i = 0; i < n; ++i) potential[i] = mass[i] > 0 ? base[i] + vmath::log(ratio[i]) : -infinity;
  return true;
}

// With `top` the greatest other - s, and sum that of e^{other - s - top}:
//   potential = log mass - top - log sum     base = log mass - top     K = mass e^{other - s - top}
template <class T> void SinkhornRun<T>::log_step(int side) {
  Side &own = sides_[side], &other = sides_[1 - side];
  if (!kernel_) kernel_ = empty({p_.n, p_.m}, dtype_of<T>, Device::cpu());
  T* K = kernel_.data_mut<T>();
  if (side == 0) {
    log_rows(other.potential.data(), K);
  } else {
    log_columns(other.potential.data(), K);
  }
  for (std::size_t i = 0; i < own.mass.size(); ++i) {
    own.potential[i] = own.mass[i] > 0 ? own.base[i] - vmath::log(sums_[i]) : -infinity;
    own.factor[i] = own.mass[i] > 0 ? T(1 / sums_[i]) : T(0);
  }
  other.base = other.potential;
  std::fill(other.factor.begin(), other.factor.end(), T(1));
  columns_known_ = false;
}

template <class T> void SinkhornRun<T>::log_rows(const double* gamma, T* K) {
  const double scale = 1 / p_.epsilon;
  Side& own = sides_[0];
  parallel_for(p_.n, rows_per_chunk(p_.m), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const T *cost = p_.cost + i * p_.m, mass = T(own.mass[at(i)]);
      T* out = K + i * p_.m;
      double top = -infinity, sum = 0;
#pragma omp simd reduction(max : top)
      for (Index j = 0; j < p_.m; ++j) {
        const double x = gamma[j] - double(cost[j]) * scale;
        top = x > top ? x : top;
      }
#pragma omp simd reduction(+ : sum)
      for (Index j = 0; j < p_.m; ++j) {
        const T e = exp_as(gamma[j] - double(cost[j]) * scale - top, T());
        sum += double(e);
        out[j] = mass * e;
      }
      own.base[at(i)] = p_.log_a[i] - top;
      sums_[at(i)] = sum;
    }
  });
}

// Columns in blocks: each block is summed over rows in order by one thread.
template <class T> void SinkhornRun<T>::log_columns(const double* phi, T* K) {
  const double scale = 1 / p_.epsilon;
  Side& own = sides_[1];
  const auto block = [&](Index begin, Index width) {
    double tops[column_block], sums[column_block];
    std::fill(tops, tops + width, -infinity);
    std::fill(sums, sums + width, 0.0);
    for (Index i = 0; i < p_.n; ++i) {
      const T* cost = p_.cost + i * p_.m + begin;
      const double shift = phi[i];
#pragma omp simd
      for (Index j = 0; j < width; ++j) {
        const double x = shift - double(cost[j]) * scale;
        tops[j] = x > tops[j] ? x : tops[j];
      }
    }
    const double* mass = own.mass.data() + begin;
    for (Index i = 0; i < p_.n; ++i) {
      const T* cost = p_.cost + i * p_.m + begin;
      T* out = K + i * p_.m + begin;
      const double shift = phi[i];
#pragma omp simd
      for (Index j = 0; j < width; ++j) {
        const T e = exp_as(shift - double(cost[j]) * scale - tops[j], T());
        sums[j] += double(e);
        out[j] = T(mass[j]) * e;
      }
    }
    for (Index j = 0; j < width; ++j) own.base[at(begin + j)] = p_.log_b[begin + j] - tops[j];
    std::copy(sums, sums + width, sums_.begin() + begin);
  };
  const Index blocks = (p_.m + column_block - 1) / column_block;
  parallel_for(blocks, rows_per_chunk(p_.n * column_block), [&](Index first, Index last) {
    for (Index b = first; b < last; ++b) block(b * column_block, std::min(column_block, p_.m - b * column_block));
  });
}

template <class T> double SinkhornRun<T>::price() const {
  const T *K = kernel_.data<T>(), *u = sides_[0].factor.data(), *v = sides_[1].factor.data();
  Numbers rows(at(p_.n));
  parallel_for(p_.n, rows_per_chunk(p_.m), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const T *row = K + i * p_.m, *cost = p_.cost + i * p_.m;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index j = 0; j < p_.m; ++j) sum += double(row[j] * v[j]) * double(cost[j]);
      rows[at(i)] = double(u[i]) * sum;
    }
  });
  return total_of(rows);
}

template class SinkhornRun<float>;
template class SinkhornRun<double>;
template void sinkhorn_plan_into(const SinkhornProblem<float>&, const double*, const double*, float*);
template void sinkhorn_plan_into(const SinkhornProblem<double>&, const double*, const double*, double*);

// ---- one problem whose masses and costs are tensors

namespace {

Numbers logs_of(const Tensor& mass) {
  Numbers x = mass.to_vector();
  for (double& v : x) v = std::log(v);
  return x;
}

}  // namespace

void add_numbers(Tensor& sum, const double* x) {
  dispatch_float("sinkhorn", sum.dtype(), [&]<class T>() {
    T* to = sum.data_mut<T>();
    for (Index i = 0; i < sum.numel(); ++i) to[i] += T(x[i]);
  });
}

void check_sinkhorn_options(const char* op, double epsilon, Index iterations) {
  if (!(epsilon > 0 && std::isfinite(epsilon))) fail(op, "epsilon must be > 0, got " + std::to_string(epsilon));
  if (iterations < 1) fail(op, "iterations must be >= 1, got " + std::to_string(iterations));
}

SinkhornSolver::SinkhornSolver(const Tensor& a, const Tensor& b, const Tensor& costs, double epsilon, int first)
    : cost(costs.detach().to(DType::f64)),
      log_a(logs_of(a)),
      log_b(logs_of(b)),
      problem{cost.size(0), cost.size(1), cost.data<double>(), epsilon, log_a.data(), log_b.data(), first},
      run(problem) {}

Numbers SinkhornSolver::plan() const {
  Numbers P(at(problem.n * problem.m));
  sinkhorn_plan_into(problem, run.phi().data(), run.gamma().data(), P.data());
  return P;
}

void kernel_times(const Numbers& K, Index n, Index m, int side, const double* x, double* out) {
  side == 0 ? rows_times(K.data(), n, m, x, out) : columns_times(K.data(), n, m, x, out);
}

Marginals::Marginals(const Numbers& P, Index n, Index m) : rows(at(n)), columns(at(m)) {
  kernel_times(P, n, m, 0, Numbers(at(m), 1.0).data(), rows.data());
  kernel_times(P, n, m, 1, Numbers(at(n), 1.0).data(), columns.data());
}

}  // namespace gradus
