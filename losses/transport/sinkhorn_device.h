// Sinkhorn's iterations and the way back through them on a GPU: all problems of a batch at once, one launch a step.
//
// The formulas are those of sinkhorn_core.h, every step by log-sum-exp in f64: where thousands of threads wait for memory,
// an exponential costs nothing, and no decision about the range of numbers has to be read back in between.
//
// Potentials come in sets [N, slots, n + m]: problem, iteration, phi then gamma. Iteration k stands in slot k mod slots.
//
// Way back, with F the side that is updated first, S the other, and bars those of L / epsilon = sum P s:
//   bar_S[K-1] = sums of P s along S
//   bar_F[k]   = (k = K-1: sums of P s along F)  - sum_S w_S bar_S[k],   w_S = e^{S_k - log mass_S + F_k - s}
//   bar_S[k-1] =                                 - sum_F w_F bar_F[k],   w_F = e^{F_k - log mass_F + S_{k-1} - s}
//   dL/dlog mass = epsilon sum_k bar[k]        dL/dC = P (1 - s) + sum_k w_F bar_F[k] + w_S bar_S[k]
// The bars are kept like the potentials; then each element of dL/dC gathers its terms, in the same order in every run.
#pragma once
#include "engine/op.h"

namespace gradus {

// A vector of each problem: of problem r, place i.
struct ProblemVectors {
  const double* at;
  Index stride;
};

class SinkhornOnDevice {
 public:
  // log_a [N,n] or [n], log_b [N,m] or [m], cost [n,m]; first: the side that is updated first, 0 rows, 1 columns
  SinkhornOnDevice(const Tensor& log_a, const Tensor& log_b, const Tensor& cost, double epsilon, int first);

  Tensor room(Index slots) const;                     // for a set
  void iterate(Tensor& set, Index k) const;           // iteration k, from what k - 1 left in the set; from 0 when k = 0
  Tensor run(Index iterations) const;                 // a set of one slot, after the last iteration
  Tensor price(const Tensor& set, Index slot) const;  // sum_ij P_ij C_ij: f64 [N]
  // Of problem 0: P or P^T; <P, C> + eps KL(P || a b^T), f64 [1]
  Tensor plan(const Tensor& set, Index slot, DType dtype, bool transposed = false) const;
  Tensor regularised(const Tensor& set, Index slot) const;

  // The gradients of sum_r dy_r L_r in log_a, log_b and cost; the set holds all iterations.
  void back(const Tensor& set, const Tensor& dy, Out dx) const;

 private:
  Index N_, size_[2], places_;  // n, m; n + m
  double epsilon_;
  int first_;
  Tensor log_mass_;  // [N, 1, n + m]
  Tensor s_[2];      // C / epsilon [n,m], and transposed [m,n]
  Tensor start_;     // [n + m] zeros, the potentials before the first iteration

  Device& device() const { return s_[0].device(); }
  Index offset(int side) const { return side == 0 ? 0 : size_[0]; }
  ProblemVectors of(const Tensor& set, Index slot, int side) const;
  double* into(Tensor& set, Index slot, int side) const;
  void step(int side, Tensor& set, Index slot, const ProblemVectors& other) const;
  template <bool Priced> void sum_along(int side, const Tensor& set, Index slot, double* to, Index stride) const;
  void pull(int side, const ProblemVectors& own, const ProblemVectors& other, Tensor& bars, Index from, Index to,
            bool started) const;
  void cost_gradient(const Tensor& set, const Tensor& bars, const Tensor& dy, Tensor& to) const;
};

// sum += x
void add_rounded(Tensor& sum, const Tensor& x);

}  // namespace gradus
