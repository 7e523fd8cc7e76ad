// C (+)= A B by cuBLAS, in the precision of set_matmul_precision(). f64 is always exact.
#pragma once
#include "engine/device.h"

namespace gradus::cuda {

void multiply(Device& device, const Gemm& g, const float* a, const float* b, float* c);
void multiply(Device& device, const Gemm& g, const double* a, const double* b, double* c);

}  // namespace gradus::cuda
