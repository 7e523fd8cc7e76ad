// The CUDA language in plain C++: a .cu file compiled by g++ with this header runs on the CPU, one block at a time.
//
// Each CUDA thread is a fiber that runs until it reaches a barrier or a warp operation; a kernel without either is a
// plain loop over its threads. To step through one in gdb: `break file.cuh:71 if blockIdx.x == 2 && threadIdx.x == 5`,
// then `print`, `next` and `backtrace` as in any program. `next` over a __syncthreads() stays in the same CUDA thread.
#pragma once
#include <math.h>  // and not <cmath>: as under nvcc, exp(float) without std:: is float

#include <bit>
#include <cstddef>
#include <cstdint>

#include "cuda/emulation/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after another, each to its end: they can use the same memory
#define __constant__ static __attribute__((section("gradus_constant")))  // a section of its own, for the checker
#define __align__(n) alignas(n)

extern uint3 threadIdx, blockIdx;  // of the running thread
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

// ---- arithmetic that is a function in CUDA
template <class T> T __ldg(const T* p) { return *p; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(unsigned(x)) + 1 : 0; }  // the lowest 1, counted from 1
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

// CUDA has min and max without std::, one for each type. Functions, not templates: they stay out of the way of std's.
inline int min(int a, int b) { return b < a ? b : a; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long min(long a, long b) { return b < a ? b : a; }
inline long max(long a, long b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return b < a ? b : a; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline unsigned long min(unsigned long a, unsigned long b) { return b < a ? b : a; }
inline unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }  // of a number and a NaN: the number
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }

#include "cuda/emulation/atomics.h"
#include "cuda/emulation/barriers.h"
#include "cuda/emulation/launch_kernel.h"
