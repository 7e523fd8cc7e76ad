// The polynomials of vector_math.h against the C library in a wider type: errors in units in the last place (ulp) over
// dense sweeps of bit patterns, and the special values exactly.
#include "ops/vector_math.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace gradus;

namespace {

template <class T> struct Function {
  const char* name;
  T (*fast)(T);
  long double (*exact)(long double);
};

template <class T> std::vector<Function<T>> functions() {
  return {{"exp", [](T x) { return vmath::exp(x); }, [](long double x) { return std::exp(x); }},
          {"log", [](T x) { return vmath::log(x); }, [](long double x) { return std::log(x); }},
          {"log1p", [](T x) { return vmath::log1p(x); }, [](long double x) { return std::log1p(x); }},
          {"expm1", [](T x) { return vmath::expm1(x); }, [](long double x) { return std::expm1(x); }},
          {"tanh", [](T x) { return vmath::tanh(x); }, [](long double x) { return std::tanh(x); }}};
}

// The distance between neighbours at y; that of the smallest numbers below them.
template <class T> long double ulp_at(long double y) {
  int exponent;
  std::frexp(y, &exponent);
  using Limits = std::numeric_limits<T>;
  return std::ldexp(1.0L, std::max(exponent - Limits::digits, Limits::min_exponent - Limits::digits));
}

template <class T> double error_in_ulp(T got, long double exact) {
  const T rounded = T(exact);
  if (std::isnan(rounded) || std::isinf(rounded)) {
    const bool same = std::isnan(rounded) ? std::isnan(got) : got == rounded;
    return same ? 0 : 1e9;
  }
  return std::isfinite(got) ? double(std::abs((long double)got - exact) / ulp_at<T>(exact)) : 1e9;
}

template <class T> using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// `count` numbers, evenly spread over the bit patterns from `low` to `high`: as many per binade near 0 as anywhere.
template <class T> std::vector<T> sweep(T low, T high, int count) {
  const auto first = std::bit_cast<Bits<T>>(low), last = std::bit_cast<Bits<T>>(high);
  std::vector<T> x;
  for (int i = 0; i <= count; ++i) {
    const auto step = Bits<T>(double(last - first) / count * i);
    x.push_back(std::bit_cast<T>(Bits<T>(first + std::min<Bits<T>>(step, last - first))));
  }
  return x;
}

template <class T> struct Worst {
  double error = 0;
  T x = 0;
};

template <class T> void check_sweep(const Function<T>& f, T low, T high, Worst<T>& worst) {
  const std::vector<T> magnitudes = sweep(low, high, 100000);
  for (const T sign : {T(1), T(-1)}) {
    for (const T magnitude : magnitudes) {
      const T x = sign * magnitude;
      const double error = error_in_ulp(f.fast(x), f.exact(x));
      if (error > worst.error) worst = {error, x};
    }
  }
}

}  // namespace

TEST_SUITE("vector_math") {
  TEST_CASE_TEMPLATE("errors stay below 2 ulp from the smallest denormal to the largest number", T, float, double) {
    using Limits = std::numeric_limits<T>;
    for (const Function<T>& f : functions<T>()) {
      Worst<T> worst;
      check_sweep(f, Limits::denorm_min(), Limits::max(), worst);
      check_sweep(f, T(1e-3), T(100), worst);
      check_sweep(f, T(0.3), T(3), worst);
      check_sweep(f, T(80), T(800), worst);  // where exp overflows and underflows
      CHECK_MESSAGE(worst.error < 2, f.name, ": ", worst.error, " ulp at ", worst.x);
    }
  }

  TEST_CASE_TEMPLATE("special values are exact", T, float, double) {
    const T inf = vmath::infinity<T>, nan = vmath::nan<T>, tiny = std::numeric_limits<T>::denorm_min();
    for (const Function<T>& f : functions<T>()) {
      INFO(f.name);
      CHECK(std::isnan(f.fast(nan)));
      CHECK(std::isnan(f.fast(-nan)));
    }
    CHECK(vmath::exp(T(0)) == 1);
    CHECK(vmath::exp(inf) == inf);
    CHECK(vmath::exp(-inf) == 0);
    CHECK(vmath::log(T(1)) == 0);
    CHECK(vmath::log(inf) == inf);
    CHECK(vmath::log(T(0)) == -inf);
    CHECK(vmath::log(T(-0.0)) == -inf);
    CHECK(std::isnan(vmath::log(T(-0.5))));
    CHECK(std::isnan(vmath::log(-inf)));
    CHECK(std::isnan(vmath::log(-tiny)));
    CHECK(vmath::log1p(T(0)) == 0);
    CHECK(vmath::log1p(T(-1)) == -inf);
    CHECK(vmath::log1p(inf) == inf);
    CHECK(std::isnan(vmath::log1p(T(-2))));
    CHECK(vmath::expm1(T(0)) == 0);
    CHECK(vmath::expm1(inf) == inf);
    CHECK(vmath::expm1(-inf) == -1);
    CHECK(vmath::tanh(T(0)) == 0);
    CHECK(vmath::tanh(inf) == 1);
    CHECK(vmath::tanh(-inf) == -1);
    CHECK(vmath::log1p(tiny) == tiny);
    CHECK(vmath::expm1(-tiny) == -tiny);
    CHECK(vmath::tanh(tiny) == tiny);
  }

  TEST_CASE_TEMPLATE("exp_below is exp for x <= 0, and 0 instead of a denormal", T, float, double) {
    const T end = std::log(std::numeric_limits<T>::min());
    double worst = 0;
    for (const T magnitude : sweep<T>(std::numeric_limits<T>::min(), -end - T(0.001), 100000)) {
      worst = std::max(worst, error_in_ulp(vmath::exp_below(-magnitude), std::exp(-(long double)magnitude)));
    }
    CHECK(worst < 2);
    CHECK(vmath::exp_below(T(0)) == 1);
    CHECK(vmath::exp_below(end - T(0.001)) == 0);
    CHECK(vmath::exp_below(-vmath::infinity<T>) == 0);
    for (const Bits<T> payload : {Bits<T>(0), Bits<T>(1), Bits<T>(0x1ff)}) {
      const T bad = std::bit_cast<T>(std::bit_cast<Bits<T>>(vmath::nan<T>) | payload);
      CHECK(std::isnan(vmath::exp_below(bad)));
    }
  }

  TEST_CASE_TEMPLATE("exp_normal is exp where that is a normal number, else 0 or infinity", T, float, double) {
    const T low = std::log(std::numeric_limits<T>::min()) + T(0.001), high = sizeof(T) == 4 ? T(88) : T(709);
    double worst = 0;
    for (int i = 0; i <= 100000; ++i) {
      const T x = low + (high - low) * T(i) / 100000;
      worst =
          std::max(worst, error_in_ulp(vmath::exp_normal(std::min(x, high)), std::exp((long double)std::min(x, high))));
    }
    CHECK(worst < 2);
    CHECK(vmath::exp_normal(T(0)) == 1);
    CHECK(vmath::exp_normal(low - T(0.002)) == 0);
    CHECK(vmath::exp_normal(-vmath::infinity<T>) == 0);
    CHECK(vmath::exp_normal(high + T(0.01)) == vmath::infinity<T>);
    CHECK(vmath::exp_normal(vmath::infinity<T>) == vmath::infinity<T>);
    CHECK(std::isnan(vmath::exp_normal(vmath::nan<T>)));
  }

  TEST_CASE_TEMPLATE("log1p_unit is log1p from 0 to 1", T, float, double) {
    double worst = 0;
    for (const T x : sweep<T>(std::numeric_limits<T>::denorm_min(), T(1), 200000)) {
      worst = std::max(worst, error_in_ulp(vmath::log1p_unit(x), std::log1p((long double)x)));
    }
    for (int i = 0; i <= 100000; ++i) {
      const T x = T(i) / 100000;
      worst = std::max(worst, error_in_ulp(vmath::log1p_unit(x), std::log1p((long double)x)));
    }
    CHECK(worst < 2);
    CHECK(vmath::log1p_unit(T(0)) == 0);
    CHECK(std::isnan(vmath::log1p_unit(vmath::nan<T>)));
  }

  TEST_CASE("exp ends where the type ends: the last finite value, then infinity, the last denormal, then 0") {
    CHECK(std::isfinite(vmath::exp(709.782712893384)));
    CHECK(std::isinf(vmath::exp(std::nextafter(709.782712893384, 1000.))));
    CHECK(vmath::exp(-745.1) == std::numeric_limits<double>::denorm_min());
    CHECK(vmath::exp(-745.2) == 0);
    CHECK(std::isfinite(vmath::exp(88.72283f)));
    CHECK(std::isinf(vmath::exp(88.72284f)));
    CHECK(vmath::exp(-103.9f) == std::numeric_limits<float>::denorm_min());
    CHECK(vmath::exp(-103.98f) == 0);
  }

  TEST_CASE_TEMPLATE("never decreasing where one polynomial hands over to another, and across 0", T, float, double) {
    for (const Function<T>& f : functions<T>()) {
      for (const T middle : {T(0), T(0.34657359), T(0.5), T(0.625), T(0.70710678), T(1), T(1.41421356), T(2)}) {
        const T step = 8 * std::numeric_limits<T>::epsilon();  // 8 ulp of x: more than two errors of 2 ulp
        T before = f.fast(middle - 500 * step);
        for (int i = -499; i <= 500; ++i) {
          const T y = f.fast(middle + T(i) * step);
          CHECK_MESSAGE(!(y < before), f.name, " falls at ", middle + T(i) * step);
          before = y;
        }
      }
    }
  }
}
