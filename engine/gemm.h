// Matrix product on the CPU.
#pragma once
#include "engine/device.h"

namespace gradus {

template <class T>
void cpu_gemm(const Gemm& g, const T* a, const T* b, T* c);  // see Gemm for the layout; T is float or double

}  // namespace gradus
