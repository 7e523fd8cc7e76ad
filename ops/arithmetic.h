// + - * / of tensors, and of a tensor and a number. Shapes broadcast (NumPy's rule); types must agree.
// Formulas and derivatives stand in arithmetic.cpp, side by side.
#pragma once
#include "engine/tensor.h"

namespace gradus {

Tensor operator+(At a, At b);
Tensor operator-(At a, At b);
Tensor operator*(At a, At b);
Tensor operator/(At a, At b);
Tensor operator+(At x, double c);
Tensor operator+(double c, At x);
Tensor operator-(At x, double c);
Tensor operator-(double c, At x);
Tensor operator*(At x, double c);
Tensor operator*(double c, At x);
Tensor operator/(At x, double c);
Tensor operator/(double c, At x);
Tensor operator-(At x);

}  // namespace gradus
