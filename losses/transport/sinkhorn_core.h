// Sinkhorn's iterations and the way back through them, for one problem, on plain numbers. On a GPU: sinkhorn_device.h.
//
// In units of epsilon, s = C / epsilon and the potentials are phi = f / epsilon, gamma = g / epsilon:
//   row step     phi_i = log a_i - log sum_j e^{gamma_j - s_ij}       column step: the same with a, i and b, j swapped
//   plan         P_ij = e^{phi_i + gamma_j - s_ij}
//
// Absorption. A step by log-sum-exp leaves the kernel K = e^{phi0 + gamma0 - s} behind. Near (phi0, gamma0) P = K u v with
// u = e^{phi - phi0}, v = e^{gamma - gamma0}, so a step is a matrix-vector product, phi_i = phi0_i + log(a_i / (K v)_i),
// and no exponential; a row step finds the sums of the next column step in the same pass. Once a potential has moved so
// far (`reach`) that the product could leave the range of numbers, that step is done by log-sum-exp, its maximum taken
// out, and K is made anew. A small epsilon costs time, never digits.
//
// Way back. A row step has dphi_i/dgamma_j = -w_ij and dphi_i/ds_ij = w_ij with w_ij = P_ij / a_i at phi and the gamma that
// it read; w is K u v again. The gradient of s is a sum over steps of K_ij x_i y_j: the vectors x, y are collected, and
//   ds += K o (X^T Y)
// is one matrix product each time K changes.
//
// Potentials and masses are f64 whatever the type T of the costs: phi is of order 1 / epsilon, and P is as good as phi's
// absolute error. K and the vectors that it is multiplied by are T: an error of 1e-7 in K_ij is one of 1e-7 epsilon in
// C_ij. f32 has no room for masses below 1e-9 beside its reach: such a problem is taken to f64 (fits_f32).
#pragma once
#include <vector>

#include "engine/pool.h"
#include "engine/tensor.h"

namespace gradus {

using Numbers = std::vector<double>;

template <class T> struct SinkhornProblem {
  Index n, m;
  const T* cost;  // [n,m]
  double epsilon;
  const double *log_a, *log_b;  // [n], [m]; -inf: no mass
  int first = 0;                // the side that is updated first: 0 rows, 1 columns
  Index size(int side) const { return side == 0 ? n : m; }
  const double* log_mass(int side) const { return side == 0 ? log_a : log_b; }
};

// How far a potential may move from where the kernel was made.
template <class T> inline constexpr double sinkhorn_reach = sizeof(T) == 4 ? 20 : 50;

// Whether every mass is 0 or in [1e-9, 1e9].
bool fits_f32(const double* log_mass, Index n);

// P = e^{phi + gamma - s} into P [n,m]
template <class T> void sinkhorn_plan_into(const SinkhornProblem<T>& p, const double* phi, const double* gamma, T* P);

// The iterations, one at a time.
template <class T> class SinkhornRun {
 public:
  explicit SinkhornRun(const SinkhornProblem<T>& p);
  void iterate();
  const Numbers& phi() const { return sides_[0].potential; }
  const Numbers& gamma() const { return sides_[1].potential; }
  double price() const;  // sum_ij P_ij C_ij, after at least one iteration

 private:
  struct Side {
    Numbers mass, potential, base;  // base: the potential in the kernel
    std::vector<T> factor;          // e^{potential - base}
  };
  SinkhornProblem<T> p_;
  Side sides_[2];
  Tensor kernel_;  // undefined before the first step
  Numbers sums_;
  std::vector<T> fresh_;
  Numbers column_sums_;         // K^T u ...
  bool columns_known_ = false;  // ... of the present K and u
  void step(int side);
  bool fast_step(int side);
  void log_step(int side);
  void log_rows(const double* gamma, T* K);
  void log_columns(const double* phi, T* K);
};

// L = sum_ij P_ij C_ij after the iterations whose potentials stand in `history`: [iterations][n + m], phi then gamma.
// Adds dy dL/dC to dC [n,m], dy dL/dlog a to da [n], dy dL/dlog b to db [m]; null: not wanted.
template <class T>
void sinkhorn_back(const SinkhornProblem<T>& p, Index iterations, const double* history, double dy, double* dC,
                   double* da, double* db);

// ---- one problem whose masses and costs are tensors

void add_numbers(Tensor& sum, const double* x);  // sum += x, rounded to the type of sum
void check_sinkhorn_options(const char* op, double epsilon, Index iterations);

// In f64 whatever the type of the tensors.
struct SinkhornSolver {
  Tensor cost;
  Numbers log_a, log_b;
  SinkhornProblem<double> problem;
  SinkhornRun<double> run;
  SinkhornSolver(const Tensor& a, const Tensor& b, const Tensor& cost, double epsilon, int first);
  SinkhornSolver(const SinkhornSolver&) = delete;  // problem and run point into it
  Numbers plan() const;
};

// K x over columns (side 0: one result a row), or K^T x over rows (side 1).
void kernel_times(const Numbers& K, Index n, Index m, int side, const double* x, double* out);

// P 1 and P^T 1
struct Marginals {
  Numbers rows, columns;
  Marginals(const Numbers& P, Index n, Index m);
};

}  // namespace gradus
