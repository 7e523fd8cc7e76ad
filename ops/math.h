// Elementwise functions, and with them the arithmetic of ops/arithmetic.h. Formulas and derivatives stand in math.cpp.
//
// Real-valued domains as in <cmath>: log(-1) is NaN, log(0) is -inf; a debug tape stops there and names the line.
#pragma once
#include "ops/arithmetic.h"

namespace gradus {

Tensor exp(At x);
Tensor expm1(At x);
Tensor log(At x);
Tensor log1p(At x);
Tensor sqrt(At x);
Tensor square(At x);
Tensor pow(At x, double exponent);
Tensor abs(At x);  // derivative at 0: 0
Tensor sin(At x);
Tensor cos(At x);
Tensor tanh(At x);
Tensor erf(At x);

Tensor sigmoid(At x);
Tensor logsigmoid(At x);
Tensor softplus(At x);  // log(1 + e^x)
Tensor relu(At x);      // derivative at 0: 0
Tensor leaky_relu(At x, double negative_slope = 0.01);
Tensor silu(At x);
Tensor clamp(At x, double low, double high);  // derivative 1 at the limits, 0 beyond, as in PyTorch

enum class Gelu { exact, tanh };  // PyTorch: approximate = 'none' and 'tanh'
Tensor gelu(At x, Gelu form = Gelu::exact);

}  // namespace gradus
