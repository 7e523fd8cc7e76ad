// A transport problem: masses a [n] and b [m] of equal total, and what it costs to move one unit from i to j, C [n,m].
// What the losses of this folder share: the check of such a problem, on whatever device it lies.
#pragma once
#include <vector>

#include "engine/tensor.h"

namespace gradus {

// Error of `op` unless a [n], b [m], cost [n,m] fit: n, m >= 1, one floating type, masses finite and >= 0, their totals
// equal but for rounding (1e-5), costs finite.
void check_transport(const char* op, const Tensor& a, const Tensor& b, const Tensor& cost);

// x cut into rows of `length`: finite and >= 0, each row with the total that `wanted` f64 [1] says (1e-5).
void check_masses(const char* op, const char* what, const Tensor& x, Index length, const Tensor& wanted);
void check_finite_costs(const char* op, const Tensor& cost);

Tensor row_totals(const Tensor& x, Index length);  // f64, on the device of x
bool is_zero(const Tensor& total);                 // f64 [1]. During graph capture: no
bool has_no_mass(const Tensor& a);

Tensor log_masses(const Tensor& mass, DType dtype);  // log 0 = -inf is meant; a constant

double total_of(const std::vector<double>& mass);

}  // namespace gradus
