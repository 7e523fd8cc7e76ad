// bfloat16 as in CUDA's <cuda_bf16.h>: the upper half of a float, rounded to the nearest, ties to even.
#pragma once
#include <bit>
#include <cstdint>

struct __nv_bfloat16_raw {
  unsigned short x;
};

struct __nv_bfloat16 {
  unsigned short bits;  // NVIDIA's member has another name: go through the conversions

  __nv_bfloat16() = default;
  __nv_bfloat16(float f) : bits(rounded(f)) {}
  __nv_bfloat16(double d) : __nv_bfloat16(float(d)) {}
  __nv_bfloat16(int i) : __nv_bfloat16(float(i)) {}
  __nv_bfloat16(__nv_bfloat16_raw raw) : bits(raw.x) {}
  operator __nv_bfloat16_raw() const { return {bits}; }
  operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }

 private:
  static unsigned short rounded(float f) {
    const uint32_t b = std::bit_cast<uint32_t>(f);
    if (f != f) return 0x7FFF;                                    // as NVIDIA's: one NaN for all
    return (unsigned short)((b + 0x7FFF + (b >> 16 & 1)) >> 16);  // half a unit, less one when the last bit is even
  }
};
using nv_bfloat16 = __nv_bfloat16;

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __float2bfloat16_rn(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __double2bfloat16(double d) { return __nv_bfloat16(d); }
inline float __bfloat162float(__nv_bfloat16 b) { return float(b); }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {a, b}; }
inline float __low2float(__nv_bfloat162 v) { return float(v.x); }
inline float __high2float(__nv_bfloat162 v) { return float(v.y); }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return __nv_bfloat16_raw{bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.bits; }
