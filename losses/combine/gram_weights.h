// PCGrad and MGDA on the inner products of the task gradients alone: G = g g^T [K,K] -> weights [K] of d = w^T g.
//
// For those who hold a Gram matrix and not the gradients; gradient_balance.h derives both and does the rest. Scaling G
// changes no weight. In f64, K x K only, so both read a copy of G on the CPU; w goes to where G is.
#pragma once
#include "engine/tensor.h"
#include "ops/form.h"

namespace gradus {

struct PcGradOptions {
  bool shuffle =
      false;  // false: every task meets the others in ascending order; true: each in a random one, by the seed
  std::uint64_t seed = 0;  // give the step number for a new order in each step
  Form form = Form::closed;
};

Tensor pcgrad_weights(const Tensor& gram, const PcGradOptions& = {});  // [K,K] -> f64 [K], not negative
Tensor mgda_weights(const Tensor& gram);                               // [K,K] -> f64 [K], on the simplex

// orders[k]: the other tasks in the order in which task k meets them.
std::vector<std::vector<Index>> pcgrad_orders(Index K, const PcGradOptions& o);
// A x = b for a matrix [n,n] by elimination with pivots; false where it is singular to the last digits.
bool solve(std::vector<double> A, std::vector<double>& b);

}  // namespace gradus
