// What losses of two sides need: log(1 + e), and all about the sigmoid of one logit from one exponential and one
// logarithm, accurate to the last digits for every x.
#pragma once
#include "ops/vector_math.h"

namespace gradus {

// log(1 + e) for e in [0,1]: what the rounding of u = 1 + e lost is put back, log u + (e - (u - 1)) / u. No case to
// tell apart, so that loops run in vector lanes.
template <class T> [[gnu::always_inline]] inline HD T log_1_plus(T e) {
  const T u = 1 + e;
  return vmath::log(u) + (e - (u - 1)) / u;
}

// s(x) = 1 / (1 + e^-x), s(-x) = 1 - s(x), and minus their logarithms:
//   -log s(-x) = log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
// With e = e^-|x| both s(x) and s(-x) are e / (1 + e) or 1 / (1 + e): nothing is subtracted from 1.
template <class T> struct Sigmoids {
  T yes, no;            // s(x), s(-x)
  T cost_yes, cost_no;  // -log s(x), -log s(-x)
  [[gnu::always_inline]] HD explicit Sigmoids(T x) {
    const bool up = x > 0;
    const T size = std::abs(x), e = vmath::exp(-size), log_sum = log_1_plus(e), large = 1 / (1 + e), small = e * large;
    yes = up ? large : small;
    no = up ? small : large;
    cost_yes = (up ? T(0) : size) + log_sum;
    cost_no = (up ? size : T(0)) + log_sum;
  }
};

// factor * value, and 0 where the factor is 0, whatever the value: 0 log 0 = 0
template <class T> [[gnu::always_inline]] inline HD T weighed(T factor, T value) {
  const T v = factor * value;
  return factor == 0 ? T(0) : v;
}

}  // namespace gradus
