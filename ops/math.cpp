#include "ops/math.h"

#include "ops/elementwise.h"

namespace gradus {
namespace {

// y = x^c        dy/dx = c x^(c-1), and 0 where c = 0
struct Power {
  static constexpr auto name = "pow";
  static constexpr Keep keep = Keep::inputs;
  double c;
  template <class T> HD T forward(T x) const { return std::pow(x, T(c)); }
  template <class T> HD T backward(T x, T) const { return c == 0 ? T(0) : T(c) * std::pow(x, T(c - 1)); }
};

// y = e^x        dy/dx = y
struct Exp {
  static constexpr auto name = "exp";
  static constexpr Keep keep = Keep::output;
  template <class T> HD T forward(T x) const { return vmath::exp(x); }
  template <class T> HD T backward(T, T y) const { return y; }
};

// y = e^x - 1        dy/dx = y + 1
struct Expm1 {
  static constexpr auto name = "expm1";
  static constexpr Keep keep = Keep::output;
  template <class T> HD T forward(T x) const { return vmath::expm1(x); }
  template <class T> HD T backward(T, T y) const { return y + 1; }
};

// y = log x        dy/dx = 1 / x
struct Log {
  static constexpr auto name = "log";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return vmath::log(x); }
  template <class T> HD T backward(T x, T) const { return 1 / x; }
};

// y = log(1 + x)        dy/dx = 1 / (1 + x)
struct Log1p {
  static constexpr auto name = "log1p";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return vmath::log1p(x); }
  template <class T> HD T backward(T x, T) const { return 1 / (1 + x); }
};

// y = sqrt x        dy/dx = 1 / (2 y), infinite at 0
struct Sqrt {
  static constexpr auto name = "sqrt";
  static constexpr Keep keep = Keep::output;
  template <class T> HD T forward(T x) const { return std::sqrt(x); }
  template <class T> HD T backward(T, T y) const { return T(0.5) / y; }
};

// y = x^2        dy/dx = 2 x
struct Square {
  static constexpr auto name = "square";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return x * x; }
  template <class T> HD T backward(T x, T) const { return 2 * x; }
};

// y = |x|        dy/dx = sign x, 0 at 0
struct Abs {
  static constexpr auto name = "abs";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return x < 0 ? -x : x; }
  template <class T> HD T backward(T x, T) const { return x > 0 ? T(1) : x < 0 ? T(-1) : T(0); }
};

// y = sin x        dy/dx = cos x
struct Sin {
  static constexpr auto name = "sin";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return std::sin(x); }
  template <class T> HD T backward(T x, T) const { return std::cos(x); }
};

// y = cos x        dy/dx = -sin x
struct Cos {
  static constexpr auto name = "cos";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return std::cos(x); }
  template <class T> HD T backward(T x, T) const { return -std::sin(x); }
};

// y = tanh x        dy/dx = 1 - y^2
struct Tanh {
  static constexpr auto name = "tanh";
  static constexpr Keep keep = Keep::output;
  template <class T> HD T forward(T x) const { return vmath::tanh(x); }
  template <class T> HD T backward(T, T y) const { return 1 - y * y; }
};

// y = erf x        dy/dx = 2 / sqrt(pi) e^(-x^2)
struct Erf {
  static constexpr auto name = "erf";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return std::erf(x); }
  template <class T> HD T backward(T x, T) const { return T(1.1283791670955126) * vmath::exp(-x * x); }
};

// s(x) = 1 / (1 + e^-x), without overflow on either side
template <class T> HD T logistic(T x) {
  const T e = vmath::exp(x < 0 ? x : -x);
  return (x < 0 ? e : T(1)) / (1 + e);
}

// y = s(x)        dy/dx = y (1 - y)
struct Sigmoid {
  static constexpr auto name = "sigmoid";
  static constexpr Keep keep = Keep::output;
  template <class T> HD T forward(T x) const { return logistic(x); }
  template <class T> HD T backward(T, T y) const { return y * (1 - y); }
};

// y = log s(x) = min(x, 0) - log(1 + e^-|x|)        dy/dx = s(-x)
struct LogSigmoid {
  static constexpr auto name = "logsigmoid";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return (x < 0 ? x : T(0)) - vmath::log1p(vmath::exp(x < 0 ? x : -x)); }
  template <class T> HD T backward(T x, T) const { return logistic(-x); }
};

// y = log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)        dy/dx = s(x)
struct Softplus {
  static constexpr auto name = "softplus";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return (x > 0 ? x : T(0)) + vmath::log1p(vmath::exp(x > 0 ? -x : x)); }
  template <class T> HD T backward(T x, T) const { return logistic(x); }
};

// y = max(x, c x)        dy/dx = 1 if x > 0 else c;  c = 0 is relu
struct LeakyRelu {
  static constexpr auto name = "relu";
  static constexpr Keep keep = Keep::inputs;
  double c;
  template <class T> HD T forward(T x) const { return x > 0 ? x : x != x ? x : c == 0 ? T(0) : T(c) * x; }
  template <class T> HD T backward(T x, T) const { return x > 0 ? T(1) : T(c); }
};

// y = x s(x)        dy/dx = s + x s (1 - s),   s = s(x)
struct Silu {
  static constexpr auto name = "silu";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T x) const { return x * logistic(x); }
  template <class T> HD T backward(T x, T) const {
    const T s = logistic(x);
    return s + x * s * (1 - s);
  }
};

// y = min(max(x, low), high)        dy/dx = 1 if low <= x <= high else 0
struct Clamp {
  static constexpr auto name = "clamp";
  static constexpr Keep keep = Keep::inputs;
  double low, high;
  template <class T> HD T forward(T x) const { return x < T(low) ? T(low) : x > T(high) ? T(high) : x; }
  template <class T> HD T backward(T x, T) const { return x >= T(low) && x <= T(high) ? T(1) : T(0); }
};

// y = x P(x),  P(x) = (1 + erf(x / sqrt 2)) / 2        dy/dx = P(x) + x e^(-x^2/2) / sqrt(2 pi)
struct GeluExact {
  static constexpr auto name = "gelu";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T normal_cdf(T x) const { return T(0.5) * (1 + std::erf(x * T(0.7071067811865476))); }
  template <class T> HD T forward(T x) const { return x * normal_cdf(x); }
  template <class T> HD T backward(T x, T) const {
    return normal_cdf(x) + x * T(0.3989422804014327) * vmath::exp(T(-0.5) * x * x);
  }
};

// y = x (1 + t) / 2,  t = tanh(u),  u = sqrt(2/pi) (x + 0.044715 x^3)      dy/dx = (1 + t) / 2 + x (1 - t^2) u' / 2
struct GeluTanh {
  static constexpr auto name = "gelu";
  static constexpr Keep keep = Keep::inputs;
  static constexpr double k = 0.7978845608028654, cubic = 0.044715;
  template <class T> HD T t(T x) const { return vmath::tanh(T(k) * (x + T(cubic) * x * x * x)); }
  template <class T> HD T forward(T x) const { return T(0.5) * x * (1 + t(x)); }
  template <class T> HD T backward(T x, T) const {
    const T y = t(x), flat = 1 - y * y, du = T(k) * (1 + T(3 * cubic) * x * x);
    return T(0.5) * (1 + y) + (flat == 0 ? T(0) : T(0.5) * x * flat * du);  // du may be infinite where tanh is flat
  }
};

}  // namespace

Tensor exp(At x) { return apply(Unary{Exp{}}, x); }
Tensor expm1(At x) { return apply(Unary{Expm1{}}, x); }
Tensor log(At x) { return apply(Unary{Log{}}, x); }
Tensor log1p(At x) { return apply(Unary{Log1p{}}, x); }
Tensor sqrt(At x) { return apply(Unary{Sqrt{}}, x); }
Tensor square(At x) { return apply(Unary{Square{}}, x); }
Tensor pow(At x, double exponent) { return apply(Unary{Power{exponent}}, x); }
Tensor abs(At x) { return apply(Unary{Abs{}}, x); }
Tensor sin(At x) { return apply(Unary{Sin{}}, x); }
Tensor cos(At x) { return apply(Unary{Cos{}}, x); }
Tensor tanh(At x) { return apply(Unary{Tanh{}}, x); }
Tensor erf(At x) { return apply(Unary{Erf{}}, x); }
Tensor sigmoid(At x) { return apply(Unary{Sigmoid{}}, x); }
Tensor logsigmoid(At x) { return apply(Unary{LogSigmoid{}}, x); }
Tensor softplus(At x) { return apply(Unary{Softplus{}}, x); }
Tensor relu(At x) { return apply(Unary{LeakyRelu{0}}, x); }
Tensor leaky_relu(At x, double negative_slope) { return apply(Unary{LeakyRelu{negative_slope}}, x); }
Tensor silu(At x) { return apply(Unary{Silu{}}, x); }
Tensor gelu(At x, Gelu form) {
  return form == Gelu::exact ? apply(Unary{GeluExact{}}, x) : apply(Unary{GeluTanh{}}, x);
}

Tensor clamp(At x, double low, double high) {
  if (!(low <= high)) fail("clamp", "needs low <= high, got " + std::to_string(low) + " and " + std::to_string(high));
  return apply(Unary{Clamp{low, high}}, x);
}

}  // namespace gradus
