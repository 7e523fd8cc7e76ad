// Matrix products.
#pragma once
#include "engine/tensor.h"

namespace gradus {

struct MatmulOptions {
  bool transpose_a = false, transpose_b = false;  // of the last two axes; nothing is copied
};

// Y = A B        dA = dY B^T        dB = A^T dY
//   [M,K] x [K,N] -> [M,N]                 matrices
//   [..,M,K] x [..,K,N] -> [..,M,N]        one product per leading index; leading sizes equal
//   [..,M,K] x [K,N] -> [..,M,N]           one matrix for all on the right, or on the left
//   [K] x [K] -> []   [M,K] x [K] -> [M]   [K] x [K,N] -> [N]     vectors (no transposition)
Tensor matmul(At a, const Tensor& b, MatmulOptions = {});

// y = x W^T + b        dx = dy W        dW = dy^T x        db = sum of dy's rows
// x [..,I], weight [O,I], bias [O] or undefined -> [..,O]
Tensor linear(At x, const Tensor& weight, const Tensor& bias = {});

}  // namespace gradus
