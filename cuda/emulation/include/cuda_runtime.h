// What a .cu file includes as <cuda_runtime.h> when no nvcc compiles it: the CUDA language and runtime, emulated.
#pragma once
#include "cuda/emulation/language.h"
#include "cuda/emulation/runtime.h"
