// What losses of two sides need: all about the sigmoid of one logit from one exponential, accurate to the last digits for
// every x. Below 2^-126 the smaller of s(x), s(-x) is 0.
#pragma once
#include "ops/vector_math.h"

namespace gradus {

// log(1 + e) for e in [0,1]
template <class T> [[gnu::always_inline]] inline HD T log_1_plus(T e) { return vmath::log1p_unit(e); }

// s(x) = 1 / (1 + e^-x), s(-x) = 1 - s(x), and minus their logarithms:
//   -log s(-x) = log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
// With e = e^-|x| both s(x) and s(-x) are e / (1 + e) or 1 / (1 + e): nothing is subtracted from 1.
template <class T> struct Sigmoids {
  bool up;
  T size, e, log_sum;  // |x|, e^-|x|, log(1 + e^-|x|)
  T large;             // 1 / (1 + e^-|x|)
  [[gnu::always_inline]] HD explicit Sigmoids(T x)
      : up(x > 0), size(std::abs(x)), e(vmath::exp_below(-size)), log_sum(log_1_plus(e)), large(1 / (1 + e)) {}
  [[gnu::always_inline]] HD T yes() const { return up ? large : e * large; }             // s(x)
  [[gnu::always_inline]] HD T no() const { return up ? e * large : large; }              // s(-x)
  [[gnu::always_inline]] HD T cost_yes() const { return (up ? T(0) : size) + log_sum; }  // -log s(x)
  [[gnu::always_inline]] HD T cost_no() const { return (up ? size : T(0)) + log_sum; }   // -log s(-x)
};

// factor * value, and 0 where the factor is 0, whatever the value: 0 log 0 = 0
template <class T> [[gnu::always_inline]] inline HD T weighed(T factor, T value) {
  const T v = factor * value;
  return factor == 0 ? T(0) : v;
}

}  // namespace gradus
