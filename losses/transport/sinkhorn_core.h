// Sinkhorn's iterations and the way back through them, for one problem, on plain numbers.
//
// In units of epsilon, s = C / epsilon and the potentials are phi = f / epsilon, gamma = g / epsilon:
//   row step     phi_i = log a_i - log sum_j e^{gamma_j - s_ij}       column step: the same with a, i and b, j swapped
//   plan         P_ij = e^{phi_i + gamma_j - s_ij}
//
// Absorption. At potentials (phi0, gamma0) the kernel K = e^{phi0 + gamma0 - s} is computed once. Near them P = K u v with
// u = e^{phi - phi0}, v = e^{gamma - gamma0}, so a step is a matrix-vector product, phi_i = phi0_i + log(a_i / (K v)_i),
// and no exponential. Once a potential has moved by more than 50 the product could leave the range of numbers: that step
// is done by log-sum-exp with its maximum taken out, and K is made anew. A small epsilon costs time, never digits.
//
// Way back. A row step has dphi_i/dgamma_j = -w_ij and dphi_i/ds_ij = w_ij with w_ij = P_ij / a_i at phi and the gamma that
// it read; w is K u v again. The gradient of s is a sum over steps of K_ij x_i y_j: the vectors x, y are collected, and
//   ds += K o (X^T Y)
// is one matrix product each time K changes.
//
// All in f64, whatever the type of the costs: phi is of order 1 / epsilon, and P is as good as phi's absolute error.
#pragma once
#include <vector>

#include "engine/tensor.h"

namespace gradus {

using Numbers = std::vector<double>;

struct SinkhornProblem {
  Index n, m;
  const double* s;              // [n,m]
  const double *log_a, *log_b;  // [n], [m]; -inf: no mass
  int first = 0;                // the side that is updated first: 0 rows, 1 columns
  Index size(int side) const { return side == 0 ? n : m; }
  const double* log_mass(int side) const { return side == 0 ? log_a : log_b; }
};

// P = e^{phi + gamma - s}
Numbers sinkhorn_plan_of(const SinkhornProblem& p, const double* phi, const double* gamma);
// K x over columns (side 0: one result a row), or K^T x over rows (side 1).
void kernel_times(const Numbers& K, Index n, Index m, int side, const double* x, double* out);

// The iterations, one at a time.
class SinkhornRun {
 public:
  explicit SinkhornRun(const SinkhornProblem& p);
  void iterate();
  const Numbers& phi() const { return sides_[0].potential; }
  const Numbers& gamma() const { return sides_[1].potential; }

 private:
  struct Side {
    Numbers mass, potential, base, factor;  // factor = e^{potential - base}
  };
  SinkhornProblem p_;
  Side sides_[2];
  Numbers kernel_;
  bool absorbed_ = false;
  void step(int side);
  bool fast_step(int side);
  void absorb();
};

// L = sum_ij P_ij s_ij after the iterations whose potentials stand in `history`: [iterations][n + m], phi then gamma.
// Adds dy dL/ds to ds [n,m], dy dL/dlog a to da [n], dy dL/dlog b to db [m]; null: not wanted.
void sinkhorn_back(const SinkhornProblem& p, Index iterations, const double* history, double dy, double* ds, double* da,
                   double* db);

// sum_ij P_ij s_ij at given potentials
double sinkhorn_price(const SinkhornProblem& p, const double* phi, const double* gamma);

// ---- one problem whose masses and costs are tensors

Numbers scaled_costs(const Tensor& cost, double epsilon);  // C / epsilon
void add_numbers(Tensor& sum, const Numbers& x);           // sum += x, rounded to the type of sum
void check_sinkhorn_options(const char* op, double epsilon, Index iterations);
bool has_no_mass(const Tensor& a);

struct SinkhornSolver {
  Numbers s, log_a, log_b;
  SinkhornProblem problem;
  SinkhornRun run;
  SinkhornSolver(const Tensor& a, const Tensor& b, const Tensor& cost, double epsilon, int first);
  SinkhornSolver(const SinkhornSolver&) = delete;  // problem and run point into it
  Numbers plan() const { return sinkhorn_plan_of(problem, run.phi().data(), run.gamma().data()); }
};

// P 1 and P^T 1
struct Marginals {
  Numbers rows, columns;
  Marginals(const Numbers& P, Index n, Index m);
};

}  // namespace gradus
