// exp, log, log1p and tanh that vectorise: branch-free polynomials, so a loop over them becomes vector instructions without
// -ffast-math, and NaN and infinity stay right. About ten times the speed of a libm call in a loop.
//
//   exp(x)  = 2^n e^r        n = round(x / ln 2), |r| <= ln(2)/2, e^r by a minimax polynomial
//   log(x)  = e ln 2 + log m     x = 2^e m, m in [sqrt(1/2), sqrt(2))
//   tanh(x) = x + x^3 P(x^2) near 0, else sign(x) (1 - 2 / (e^{2|x|} + 1))
//
// Always inlined: a call that the compiler keeps would keep its loop out of vector lanes.
//
// Errors stay below 2 units in the last place (measured in tests/ops/vector_math_test.cpp). Coefficients: Cephes
// (S. Moshier) and fdlibm (Sun Microsystems).
#pragma once
#include <bit>
#include <cmath>
#include <limits>

#include "engine/dtype.h"

namespace gradus::vmath {

template <class T> inline constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T> inline constexpr T nan = std::numeric_limits<T>::quiet_NaN();

// e^r for |r| <= ln(2)/2
[[gnu::always_inline]] inline HD float exp_reduced(float r) {
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * r * r + r + 1.f;
}

[[gnu::always_inline]] inline HD float exp(float x) {
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  constexpr float shift = 12582912.f;
  const float inside = x > 89.f ? 89.f : x < -104.f ? -104.f : x;  // NaN passes both comparisons
  const float shifted = inside * 1.44269504088896341f + shift;
  const std::int32_t n = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(shift);
  const float k = shifted - shift;
  const float r = (inside - k * 0.693359375f) - k * -2.12194440e-4f;
  const float p = exp_reduced(r);
  // 2^n in two factors: 2^n alone leaves the range of normal numbers near the ends.
  const std::int32_t half = n >> 1;
  const float scale = std::bit_cast<float>((half + 127) << 23), rest = std::bit_cast<float>((n - half + 127) << 23);
  const float y = p * scale * rest;
  return x > 88.7228391f ? infinity<float> : x < -103.9721f ? 0.f : x != x ? x : y;
}

[[gnu::always_inline]] inline HD double exp(double x) {
  constexpr double shift = 6755399441055744.;  // 1.5 * 2^52
  const double inside = x > 710. ? 710. : x < -746. ? -746. : x;
  const double shifted = inside * 1.4426950408889634073599 + shift;
  const std::int64_t n = std::bit_cast<std::int64_t>(shifted) - std::bit_cast<std::int64_t>(shift);
  const double k = shifted - shift;
  const double r = (inside - k * 6.93145751953125e-1) - k * 1.42860682030941723212e-6;
  const double r2 = r * r;
  const double p = r * ((1.26177193074810590878e-4 * r2 + 3.02994407707441961300e-2) * r2 + 9.99999999999999999910e-1);
  const double q =
      ((3.00198505138664455042e-6 * r2 + 2.52448340349684104192e-3) * r2 + 2.27265548208155028766e-1) * r2 +
      2.00000000000000000009;
  const double e = 1 + 2 * (p / (q - p));
  const std::int64_t half = n >> 1;
  const double scale = std::bit_cast<double>((half + 1023) << 52),
               rest = std::bit_cast<double>((n - half + 1023) << 52);
  const double y = e * scale * rest;
  return x > 709.782712893384 ? infinity<double> : x < -745.13321910194111 ? 0. : x != x ? x : y;
}

// e^x where it is a normal number, -87.336544 <= x <= 88: half the instructions of exp.
[[gnu::always_inline]] inline HD float exp_inside(float x) {
  constexpr float shift = 12582912.f;
  const float shifted = x * 1.44269504088896341f + shift, k = shifted - shift;
  // 2^n: the constant's own bits leave at the top.
  const float scale = std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) << 23) + 0x3f800000u);
  return exp_reduced((x - k * 0.693359375f) - k * -2.12194440e-4f) * scale;
}

// e^x for x <= 0, as in a softmax: nothing can overflow, and what would be below the smallest normal number (2^-126;
// 2^-1022) is 0. NaN gives NaN.
[[gnu::always_inline]] inline HD float exp_below(float x) {
  const float y = exp_inside(x < -87.336544f ? -87.336544f : x);
  return x < -87.336544f ? 0.f : y;
}
[[gnu::always_inline]] inline HD double exp_below(double x) { return x < -708.396418532264 ? 0. : exp(x); }

// The same for every x: infinity above 88 (709), where exp is soon infinite too.
[[gnu::always_inline]] inline HD float exp_normal(float x) {
  const float y = exp_below(x > 88.f ? 88.f : x);
  return x > 88.f ? infinity<float> : y;
}
[[gnu::always_inline]] inline HD double exp_normal(double x) { return x > 709. ? infinity<double> : exp_below(x); }

[[gnu::always_inline]] inline HD float log(float x) {
  const bool tiny = x < 1.17549435e-38f;  // denormal: scale by 2^25 first
  const float scaled = tiny ? x * 33554432.f : x;
  // The exponent that puts the mantissa into [sqrt(1/2), sqrt(2)): subtract the bits of sqrt(1/2), then split.
  const std::int32_t above = std::int32_t(std::bit_cast<std::uint32_t>(scaled) - 0x3f3504f3u);
  const float e = float((above >> 23) - (tiny ? 25 : 0));
  const float f = std::bit_cast<float>((above & 0x007fffff) + 0x3f3504f3) - 1.f;
  const float z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const float y = (f + (f * z * p + e * -2.12194440e-4f - 0.5f * z)) + e * 0.693359375f;
  return x > 0 ? (x == infinity<float> ? x : y) : x == 0 ? -infinity<float> : nan<float>;
}

[[gnu::always_inline]] inline HD double log(double x) {
  const bool tiny = x < 2.2250738585072014e-308;  // denormal: scale by 2^54 first
  const double scaled = tiny ? x * 18014398509481984. : x;
  const std::int64_t above = std::int64_t(std::bit_cast<std::uint64_t>(scaled) - 0x3fe6a09e667f3bcdu);
  // The exponent as a double without an integer conversion, which has no vector instruction before AVX-512.
  const double e = std::bit_cast<double>((above >> 52) + 0x4338000000000000) - 6755399441055744. - (tiny ? 54 : 0);
  const double f = std::bit_cast<double>((above & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd) - 1.;
  const double s = f / (2. + f), z = s * s;
  double p = 1.479819860511658591e-01;
  p = p * z + 1.531383769920937332e-01;
  p = p * z + 1.818357216161805012e-01;
  p = p * z + 2.222219843214978396e-01;
  p = p * z + 2.857142874366239149e-01;
  p = p * z + 3.999999999940941908e-01;
  p = p * z + 6.666666666666735130e-01;
  const double half_square = 0.5 * f * f;
  const double y = e * 6.93147180369123816490e-01 -
                   ((half_square - (s * (half_square + p * z) + e * 1.90821492927058770002e-10)) - f);
  return x > 0 ? (x == infinity<double> ? x : y) : x == 0 ? -infinity<double> : nan<double>;
}

// log(1 + x), accurate for small x too: with u = fl(1 + x), what the rounding lost is x - (u - 1), and
// log(u + lost) = log(u) + lost / u.
template <class T> [[gnu::always_inline]] inline HD T log1p(T x) {
  const T u = 1 + x, lost = x - (u - 1);
  const T y = log(u) + lost / u;
  return u > 0 && u < infinity<T> ? y : log(u);
}

// log(1 + x) for x in [0,1]: x - x^2 Q(x), one polynomial and no division. Q: least relative error, 2^-27.7.
[[gnu::always_inline]] inline HD float log1p_unit(float x) {
  float p = -3.244025177783423e-3f;
  p = p * x + 1.985146231696146e-2f;
  p = p * x - 5.695953406911234e-2f;
  p = p * x + 1.0603654851900897e-1f;
  p = p * x - 1.530559254324261e-1f;
  p = p * x + 1.9675939243939316e-1f;
  p = p * x - 2.4954133652417496e-1f;
  p = p * x + 3.332996241617779e-1f;
  p = p * x - 4.999990242275696e-1f;
  return x * x * p + x;
}
[[gnu::always_inline]] inline HD double log1p_unit(double x) {
  const double u = 1 + x;
  return log(u) + (x - (u - 1)) / u;
}

// e^x - 1, accurate for small x too: with u = fl(e^x), e^x = u e^(x - log u) = u + u (x - log u).
// For large x the difference x - log u is mostly the rounding of x, and (u - 1) x / log u is better (W. Kahan).
template <class T> [[gnu::always_inline]] inline HD T expm1(T x) {
  const T u = exp(x), d = u - 1, l = log(u);
  const T small = d + u * (x - l), large = d * (x / l),
          y = x < T(0.5) ? small : large;  // both, so that no branch is left
  return u > 0 && u < infinity<T> ? y : d;
}

[[gnu::always_inline]] inline HD float tanh(float x) {
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float small = x + x * z * p;
  const float a = x < 0 ? -x : x;
  const float large = 1.f - 2.f / (exp(2.f * a) + 1.f);
  return a < 0.625f ? small : x < 0 ? -large : large;
}

[[gnu::always_inline]] inline HD double tanh(double x) {
  const double z = x * x;
  const double p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3;
  const double q = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3;
  const double small = x + x * z * (p / q);
  const double a = x < 0 ? -x : x;
  const double large = 1. - 2. / (exp(2. * a) + 1.);
  return a < 0.625 ? small : x < 0 ? -large : large;
}

}  // namespace gradus::vmath
