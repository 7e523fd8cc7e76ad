// The smallest ops that exercise the engine, so that its tests need nothing from ops/. Equal shapes, f32 or f64.
#pragma once
#include <cmath>
#include <functional>

#include "engine/tape.h"

namespace toy {

using gradus::apply;
using gradus::At;
using gradus::In;
using gradus::Index;
using gradus::Keep;
using gradus::Op;
using gradus::Out;
using gradus::Tensor;

// y_i = f(i)
inline Tensor filled(const gradus::Shape& shape, gradus::DType dtype, const std::function<double(Index)>& f) {
  Tensor y = gradus::empty(shape, dtype);
  for (Index i = 0; i < y.numel(); ++i) gradus::set_value(y, i, f(i));
  return y;
}
inline Tensor like(const Tensor& x, const std::function<double(Index)>& f) { return filled(x.shape(), x.dtype(), f); }

struct Mul final : Op {  // y = a b        da = dy b, db = dy a
  const char* name() const override { return "mul"; }
  Tensor forward(In in) override {
    return like(in[0], [&](Index i) { return value_at(in[0], i) * value_at(in[1], i); });
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    for (const int k : {0, 1}) {
      if (!dx.wants(k)) continue;
      dx.add(k, like(dy, [&](Index i) { return value_at(dy, i) * value_at(in[std::size_t(1 - k)], i); }));
    }
  }
};

struct Add final : Op {  // y = a + b      da = db = dy
  const char* name() const override { return "add"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    return like(in[0], [&](Index i) { return value_at(in[0], i) + value_at(in[1], i); });
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    for (const int k : {0, 1}) {
      if (dx.wants(k)) dx.add(k, dy);
    }
  }
};

struct Sum final : Op {  // y = sum_i x_i  dx_i = dy
  const char* name() const override { return "sum"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    double sum = 0;
    for (Index i = 0; i < in[0].numel(); ++i) sum += value_at(in[0], i);
    return gradus::scalar(sum, in[0].dtype());
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    dx.add(0, filled(dx.shape(0), dx.dtype(0), [&](Index) { return dy.item(); }));
  }
};

// y = f(x)   dx = dy f'(x, y), for any f; what it keeps is up to the caller.
struct Map final : Op {
  const char* label;
  Keep kept;
  std::function<double(double)> f;
  std::function<double(double, double)> slope;
  Map(const char* n, Keep k, std::function<double(double)> g, std::function<double(double, double)> s)
      : label(n), kept(k), f(std::move(g)), slope(std::move(s)) {}
  const char* name() const override { return label; }
  Keep keep() const override { return kept; }
  Tensor forward(In in) override {
    return like(in[0], [&](Index i) { return f(value_at(in[0], i)); });
  }
  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    const auto kept_value = [](const Tensor& x, Index i) { return x ? value_at(x, i) : 0; };
    dx.add(0, like(dy, [&](Index i) { return value_at(dy, i) * slope(kept_value(in[0], i), kept_value(y, i)); }));
  }
};

inline Tensor mul(At a, At b) { return apply(Mul{}, a, b); }
inline Tensor add(At a, At b) { return apply(Add{}, a, b); }
inline Tensor sum(At x) { return apply(Sum{}, x); }
inline Tensor scale(At x, double c) {
  return apply(Map(
                   "scale", Keep::nothing, [c](double v) { return c * v; }, [c](double, double) { return c; }),
               x);
}
inline Tensor exp(At x) {
  return apply(Map(
                   "exp", Keep::output, [](double v) { return std::exp(v); }, [](double, double y) { return y; }),
               x);
}
inline Tensor log(At x) {
  return apply(Map(
                   "log", Keep::inputs, [](double v) { return std::log(v); }, [](double v, double) { return 1 / v; }),
               x);
}
inline Tensor sqrt(At x) {
  return apply(
      Map(
          "sqrt", Keep::output, [](double v) { return std::sqrt(v); }, [](double, double y) { return 0.5 / y; }),
      x);
}
inline Tensor abs(At x) {
  return apply(Map(
                   "abs", Keep::inputs, [](double v) { return std::abs(v); },
                   [](double v, double) { return v > 0   ? 1.0
                                                 : v < 0 ? -1.0
                                                         : 0.0; }),
               x);
}

// A leaf with a gradient.
inline Tensor parameter(const std::vector<double>& values, gradus::Shape shape,
                        gradus::DType dtype = gradus::DType::f64) {
  return gradus::tensor(values, shape, dtype).requires_grad_();
}
inline Tensor parameter(const std::vector<double>& values) { return parameter(values, {Index(values.size())}); }

}  // namespace toy
