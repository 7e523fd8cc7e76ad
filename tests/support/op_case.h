// One case of an op, and every way in which it could be wrong.
//
//   value        against a reference in plain loops
//   gradient     by grad_check: complete when small, along random directions when large; and op by op (check_tape)
//   f32          value and gradient stay near those in f64
//   again        a second sweep over the same tape gives the same bits
//   used twice   two uses of all inputs give twice the gradient; f(x, x) gives the sum of both gradients
//   threads      one thread and two give the same bits
//   memory       no buffer is left over
//
// Upstream gradients are random, never ones, and sizes differ from axis to axis, so that a transposition shows.
#pragma once
#include <string>
#include <vector>

#include "engine/tape.h"

namespace gradus {

struct OpCase {
  std::string name;
  TensorFunction f;
  std::vector<Tensor> inputs;  // f64 ones are differentiated, others passed on; no kink nearer than 0.01
  TensorFunction reference = {};
  std::vector<Tensor> large = {};  // f again on these, where given
  double f32_tolerance = 5e-6;     // of the largest element, or of 1
};

void check_op(const OpCase& c);

// ---- inputs, exact in f32 too; the same for the same seed

Tensor between(double low, double high, const Shape& shape, int seed = 1);
Tensor away_from_zero(const Shape& shape, int seed = 1);  // 0.3 .. 1.5, of either sign
Tensor distinct(const Shape& shape, int seed = 1);        // any two elements, and any element and 0, differ by 0.07
// f64, y_i = f(i), i in row-major order: what references are made of
Tensor tabulate(const Shape& shape, const std::function<double(Index i)>& f);
// Element i of x repeated to `shape`.
double repeated_value(const Tensor& x, const Shape& shape, Index i);

// ---- single facts

// sum_j dy_j/dx_i for all i: the derivative itself where y_i depends on x_i only
std::vector<double> slopes(const Tensor& x, const std::function<Tensor(const Tensor&)>& f);

// ---- the table: a function for each file of tests/ops, and all of them together

std::vector<OpCase> arithmetic_cases();
std::vector<OpCase> math_cases();
std::vector<OpCase> select_cases();
std::vector<OpCase> broadcast_cases();
std::vector<OpCase> reduce_cases();
std::vector<OpCase> matmul_cases();
std::vector<OpCase> shape_ops_cases();
std::vector<OpCase> index_cases();
std::vector<OpCase> softmax_cases();
std::vector<OpCase> normalize_cases();
std::vector<OpCase> distance_cases();
std::vector<OpCase> regularize_cases();
std::vector<OpCase> rope_cases();
std::vector<OpCase> attention_cases();

std::vector<OpCase> op_cases();

}  // namespace gradus
