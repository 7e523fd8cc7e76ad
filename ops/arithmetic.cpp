#include "ops/arithmetic.h"

#include "ops/elementwise.h"

namespace gradus {
namespace {

// ---- two inputs

// y = a + b        dy/da = 1        dy/db = 1
struct Add {
  static constexpr auto name = "add";
  static constexpr Keep keep = Keep::nothing;
  template <class T> HD T forward(T a, T b) const { return a + b; }
  template <class T> HD T backward_a(T, T, T) const { return 1; }
  template <class T> HD T backward_b(T, T, T) const { return 1; }
};

// y = a - b        dy/da = 1        dy/db = -1
struct Subtract {
  static constexpr auto name = "sub";
  static constexpr Keep keep = Keep::nothing;
  template <class T> HD T forward(T a, T b) const { return a - b; }
  template <class T> HD T backward_a(T, T, T) const { return 1; }
  template <class T> HD T backward_b(T, T, T) const { return -1; }
};

// y = a b        dy/da = b        dy/db = a
struct Multiply {
  static constexpr auto name = "mul";
  static constexpr Keep keep = Keep::inputs;
  template <class T> HD T forward(T a, T b) const { return a * b; }
  template <class T> HD T backward_a(T, T b, T) const { return b; }
  template <class T> HD T backward_b(T a, T, T) const { return a; }
};

// y = a / b        dy/da = 1 / b        dy/db = -y / b
struct Divide {
  static constexpr auto name = "div";
  static constexpr Keep keep = Keep::both;
  template <class T> HD T forward(T a, T b) const { return a / b; }
  template <class T> HD T backward_a(T, T b, T) const { return 1 / b; }
  template <class T> HD T backward_b(T, T b, T y) const { return -y / b; }
};

// ---- one input and a constant c

// y = x + c        dy/dx = 1
struct Shift {
  static constexpr auto name = "shift";
  static constexpr Keep keep = Keep::nothing;
  double c;
  template <class T> HD T forward(T x) const { return x + T(c); }
  template <class T> HD T backward(T, T) const { return 1; }
};

// y = c x        dy/dx = c
struct Scale {
  static constexpr auto name = "scale";
  static constexpr Keep keep = Keep::nothing;
  double c;
  template <class T> HD T forward(T x) const { return T(c) * x; }
  template <class T> HD T backward(T, T) const { return T(c); }
};

// y = c - x        dy/dx = -1
struct Complement {
  static constexpr auto name = "complement";
  static constexpr Keep keep = Keep::nothing;
  double c;
  template <class T> HD T forward(T x) const { return T(c) - x; }
  template <class T> HD T backward(T, T) const { return -1; }
};

// y = c / x        dy/dx = -c / x^2
struct Quotient {
  static constexpr auto name = "quotient";
  static constexpr Keep keep = Keep::inputs;
  double c;
  template <class T> HD T forward(T x) const { return T(c) / x; }
  template <class T> HD T backward(T x, T) const { return -T(c) / (x * x); }
};

}  // namespace

Tensor operator+(At a, At b) { return apply_binary(Add{}, a, b); }
Tensor operator-(At a, At b) { return apply_binary(Subtract{}, a, b); }
Tensor operator*(At a, At b) { return apply_binary(Multiply{}, a, b); }
Tensor operator/(At a, At b) { return apply_binary(Divide{}, a, b); }
Tensor operator+(At x, double c) { return apply(Unary{Shift{c}}, x); }
Tensor operator+(double c, At x) { return apply(Unary{Shift{c}}, x); }
Tensor operator-(At x, double c) { return apply(Unary{Shift{-c}}, x); }
Tensor operator-(double c, At x) { return apply(Unary{Complement{c}}, x); }
Tensor operator*(At x, double c) { return apply(Unary{Scale{c}}, x); }
Tensor operator*(double c, At x) { return apply(Unary{Scale{c}}, x); }
Tensor operator/(At x, double c) { return apply(Unary{Scale{1 / c}}, x); }
Tensor operator/(double c, At x) { return apply(Unary{Quotient{c}}, x); }
Tensor operator-(At x) { return apply(Unary{Scale{-1}}, x); }

}  // namespace gradus
