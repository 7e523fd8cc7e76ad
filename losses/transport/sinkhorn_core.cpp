#include "losses/transport/sinkhorn_core.h"

#include <algorithm>
#include <cmath>

#include "engine/parallel.h"
#include "losses/transport/problem.h"
#include "ops/matmul.h"
#include "ops/vector_math.h"

namespace gradus {
namespace {

constexpr double infinity = vmath::infinity<double>;
constexpr double reach = 50;  // how far potentials may move from where the kernel was made
constexpr double tiny_sum = 1e-280;
constexpr Index column_block = 256;

std::size_t at(Index i) { return std::size_t(i); }

Index rows_per_chunk(Index m) { return std::max<Index>(1, serial_below / std::max<Index>(1, m)); }

// Columns in blocks: each block is summed over rows in order by one thread.
template <class F> void each_column_block(Index n, Index m, const F& f) {
  parallel_for((m + column_block - 1) / column_block, rows_per_chunk(n * column_block), [&](Index first, Index last) {
    for (Index block = first; block < last; ++block) {
      f(block * column_block, std::min(m, (block + 1) * column_block));
    }
  });
}

// out_i = log sum_j e^{other_j - s_ij}, the greatest term taken out
void log_sums_of_rows(const SinkhornProblem& p, const double* other, double* out) {
  parallel_for(p.n, rows_per_chunk(p.m), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const double* s = p.s + i * p.m;
      double top = -infinity, sum = 0;
#pragma omp simd reduction(max : top)
      for (Index j = 0; j < p.m; ++j) top = other[j] - s[j] > top ? other[j] - s[j] : top;
#pragma omp simd reduction(+ : sum)
      for (Index j = 0; j < p.m; ++j) sum += vmath::exp(other[j] - s[j] - top);
      out[i] = top + vmath::log(sum);
    }
  });
}

void log_sums_of_columns(const SinkhornProblem& p, const double* other, double* out) {
  each_column_block(p.n, p.m, [&](Index begin, Index end) {
    double tops[column_block], sums[column_block];
    const Index width = end - begin;
    std::fill(tops, tops + width, -infinity);
    std::fill(sums, sums + width, 0.0);
    for (Index i = 0; i < p.n; ++i) {
      const double *s = p.s + i * p.m + begin, phi = other[i];
#pragma omp simd
      for (Index j = 0; j < width; ++j) tops[j] = phi - s[j] > tops[j] ? phi - s[j] : tops[j];
    }
    for (Index i = 0; i < p.n; ++i) {
      const double *s = p.s + i * p.m + begin, phi = other[i];
#pragma omp simd
      for (Index j = 0; j < width; ++j) sums[j] += vmath::exp(phi - s[j] - tops[j]);
    }
    for (Index j = 0; j < width; ++j) out[begin + j] = tops[j] + vmath::log(sums[j]);
  });
}

// e^{x - base}; 1 where there is no mass, for the kernel is 0 there
void factors(const double* x, const Numbers& base, Numbers& out) {
  for (std::size_t i = 0; i < base.size(); ++i) out[i] = base[i] == -infinity ? 1.0 : vmath::exp(x[i] - base[i]);
}

bool within_reach(const double* x, const Numbers& base) {
  for (std::size_t i = 0; i < base.size(); ++i) {
    if (base[i] == -infinity ? x[i] != base[i] : !(std::abs(x[i] - base[i]) <= reach)) return false;
  }
  return true;
}

}  // namespace

Numbers sinkhorn_plan_of(const SinkhornProblem& p, const double* phi, const double* gamma) {
  Numbers P(at(p.n * p.m));
  parallel_for(p.n, rows_per_chunk(p.m), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const double *s = p.s + i * p.m, shift = phi[i];
      double* out = P.data() + i * p.m;
#pragma omp simd
      for (Index j = 0; j < p.m; ++j) out[j] = vmath::exp(shift + gamma[j] - s[j]);
    }
  });
  return P;
}

void kernel_times(const Numbers& K, Index n, Index m, int side, const double* x, double* out) {
  if (side == 0) {
    // Four rows at a time: one sum alone would wait for its own last addition. Each row's rounding is its own.
    parallel_for((n + 3) / 4, rows_per_chunk(4 * m), [&](Index begin, Index end) {
      for (Index quad = begin; quad < end; ++quad) {
        const double* row[4];
        for (Index k = 0; k < 4; ++k) row[k] = K.data() + std::min(4 * quad + k, n - 1) * m;
        const double *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3];
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
        for (Index j = 0; j < m; ++j) {
          s0 += r0[j] * x[j];
          s1 += r1[j] * x[j];
          s2 += r2[j] * x[j];
          s3 += r3[j] * x[j];
        }
        const double sums[4] = {s0, s1, s2, s3};
        std::copy(sums, sums + std::min<Index>(4, n - 4 * quad), out + 4 * quad);
      }
    });
    return;
  }
  each_column_block(n, m, [&](Index begin, Index end) {
    double sums[column_block];
    const Index width = end - begin;
    std::fill(sums, sums + width, 0.0);
    for (Index i = 0; i < n; ++i) {
      const double *row = K.data() + i * m + begin, xi = x[i];
#pragma omp simd
      for (Index j = 0; j < width; ++j) sums[j] += row[j] * xi;
    }
    std::copy(sums, sums + width, out + begin);
  });
}

double sinkhorn_price(const SinkhornProblem& p, const double* phi, const double* gamma) {
  const Numbers P = sinkhorn_plan_of(p, phi, gamma);
  return block_sum<double>(p.n * p.m, [&](Index i) { return P[at(i)] * p.s[i]; });
}

// ---- the iterations

SinkhornRun::SinkhornRun(const SinkhornProblem& p) : p_(p) {
  for (const int side : {0, 1}) {
    const std::size_t n = at(p.size(side));
    sides_[side] = {Numbers(n), Numbers(n, 0.0), Numbers(n), Numbers(n, 1.0)};
    for (std::size_t i = 0; i < n; ++i) sides_[side].mass[i] = vmath::exp(p.log_mass(side)[i]);
  }
  // No kernel is made before both sides have a potential.
  std::fill(sides_[p.first].potential.begin(), sides_[p.first].potential.end(), infinity);
}

void SinkhornRun::iterate() {
  step(p_.first);
  step(1 - p_.first);
}

void SinkhornRun::absorb() {
  for (Side& side : sides_) {
    side.base = side.potential;
    std::fill(side.factor.begin(), side.factor.end(), 1.0);
  }
  kernel_ = sinkhorn_plan_of(p_, phi().data(), gamma().data());
  absorbed_ = true;
}

bool SinkhornRun::fast_step(int side) {
  Side& own = sides_[side];
  Numbers sums(own.mass.size()), ratio(own.mass.size(), 1.0);
  kernel_times(kernel_, p_.n, p_.m, side, sides_[1 - side].factor.data(), sums.data());
  static const double most = std::exp(reach);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (own.mass[i] == 0) continue;
    ratio[i] = own.mass[i] / sums[i];
    if (!(sums[i] > tiny_sum && ratio[i] < most && ratio[i] > 1 / most)) return false;
  }
  own.factor = ratio;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (own.mass[i] > 0) own.potential[i] = own.base[i] + vmath::log(ratio[i]);
  }
  return true;
}

void SinkhornRun::step(int side) {
  if (absorbed_ && fast_step(side)) return;
  Side& own = sides_[side];
  Numbers fresh(own.mass.size());
  const double* other = sides_[1 - side].potential.data();
  if (side == 0) {
    log_sums_of_rows(p_, other, fresh.data());
  } else {
    log_sums_of_columns(p_, other, fresh.data());
  }
  double change = 0;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    fresh[i] = p_.log_mass(side)[i] - fresh[i];
    if (own.mass[i] > 0) change = std::max(change, std::abs(fresh[i] - own.potential[i]));
  }
  own.potential = std::move(fresh);
  absorbed_ = false;
  if (change < reach) absorb();
}

// ---- the way back

namespace {

struct WayBack {
  const SinkhornProblem& p;
  double* ds;
  Numbers kernel, base[2], factor[2], bar[2];
  Numbers x, y;  // the collected vectors, [ranks][n] and [ranks][m]

  void flush() {
    const Index ranks = p.n ? Index(x.size()) / p.n : 0;
    if (ds && ranks > 0) {
      const Tensor X = tensor(x, {ranks, p.n}, DType::f64), Y = tensor(y, {ranks, p.m}, DType::f64);
      const Tensor product = matmul(X, Y, {.transpose_a = true});  // [n,m]
      const double* sum = product.data<double>();
      parallel_for(p.n * p.m, serial_below, [&](Index begin, Index end) {
#pragma omp simd
        for (Index i = begin; i < end; ++i) ds[i] += kernel[std::size_t(i)] * sum[i];
      });
    }
    x.clear();
    y.clear();
  }
  void absorb(const double* const potentials[2]) {
    for (const int side : {0, 1}) base[side].assign(potentials[side], potentials[side] + p.size(side));
    kernel = sinkhorn_plan_of(p, potentials[0], potentials[1]);
  }
  void move_to(const double* const potentials[2]) {
    if (!within_reach(potentials[0], base[0]) || !within_reach(potentials[1], base[1])) {
      flush();
      absorb(potentials);
    }
    for (const int side : {0, 1}) factors(potentials[side], base[side], factor[side]);
  }
  // Through the step that gave `side` its potential: bar[side] goes to its log mass, to s and to the other side.
  void pull(int side, const double* const potentials[2], double* log_mass) {
    const int other = 1 - side;
    move_to(potentials);
    Numbers weight(bar[side].size()), sums(bar[other].size());
    for (std::size_t i = 0; i < weight.size(); ++i) {
      const double mass = vmath::exp(p.log_mass(side)[i]);
      weight[i] = mass > 0 ? factor[side][i] * (bar[side][i] / mass) : 0.0;
      if (log_mass) log_mass[i] += bar[side][i];
      bar[side][i] = 0;
    }
    kernel_times(kernel, p.n, p.m, other, weight.data(), sums.data());
    for (std::size_t j = 0; j < sums.size(); ++j) bar[other][j] -= factor[other][j] * sums[j];
    if (!ds) return;
    const Numbers &left = side == 0 ? weight : factor[0], &right = side == 0 ? factor[1] : weight;
    x.insert(x.end(), left.begin(), left.end());
    y.insert(y.end(), right.begin(), right.end());
  }
};

}  // namespace

void sinkhorn_back(const SinkhornProblem& p, Index iterations, const double* history, double dy, double* ds, double* da,
                   double* db) {
  WayBack way{p, ds, {}, {}, {}, {}, {}, {}};
  const Index stride = p.n + p.m;
  const Numbers start(at(stride), 0.0);  // potentials of 0 before the first iteration
  double* const log_mass[2] = {da, db};

  // L = sum P s:  ds = P (1 - s),  bars = sums of P s along rows and columns
  const double* end = history + (iterations - 1) * stride;
  const double* const last[2] = {end, end + p.n};
  way.absorb(last);
  Numbers prices(way.kernel.size());
  for (std::size_t k = 0; k < prices.size(); ++k) {
    prices[k] = dy * way.kernel[k] * p.s[k];
    if (ds) ds[k] += dy * way.kernel[k] - prices[k];
  }
  for (const int side : {0, 1}) {
    const Numbers ones(at(p.size(1 - side)), 1.0);
    way.factor[side].assign(at(p.size(side)), 1.0);
    way.bar[side].assign(at(p.size(side)), 0.0);
    kernel_times(prices, p.n, p.m, side, ones.data(), way.bar[side].data());
  }

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

// ---- one problem whose masses and costs are tensors

namespace {

Numbers logs_of(const Tensor& mass) {
  Numbers x = mass.to_vector();
  for (double& v : x) v = std::log(v);
  return x;
}

}  // namespace

Numbers scaled_costs(const Tensor& cost, double epsilon) {
  Numbers s = cost.to_vector();
  for (double& v : s) v /= epsilon;
  return s;
}

void add_numbers(Tensor& sum, const Numbers& x) {
  dispatch_float("sinkhorn", sum.dtype(), [&]<class T>() {
    T* to = sum.data_mut<T>();
    for (std::size_t i = 0; i < x.size(); ++i) to[i] += T(x[i]);
  });
}

void check_sinkhorn_options(const char* op, double epsilon, Index iterations) {
  if (!(epsilon > 0 && std::isfinite(epsilon))) fail(op, "epsilon must be > 0, got " + std::to_string(epsilon));
  if (iterations < 1) fail(op, "iterations must be >= 1, got " + std::to_string(iterations));
}

bool has_no_mass(const Tensor& a) { return total_of(a.to_vector()) == 0; }

SinkhornSolver::SinkhornSolver(const Tensor& a, const Tensor& b, const Tensor& cost, double epsilon, int first)
    : s(scaled_costs(cost, epsilon)),
      log_a(logs_of(a)),
      log_b(logs_of(b)),
      problem{cost.size(0), cost.size(1), s.data(), log_a.data(), log_b.data(), first},
      run(problem) {}

Marginals::Marginals(const Numbers& P, Index n, Index m) : rows(std::size_t(n)), columns(std::size_t(m)) {
  kernel_times(P, n, m, 0, Numbers(std::size_t(m), 1.0).data(), rows.data());
  kernel_times(P, n, m, 1, Numbers(std::size_t(n), 1.0).data(), columns.data());
}

}  // namespace gradus
