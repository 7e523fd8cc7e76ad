// Elementwise ops, written once: shapes, broadcasting, threads, what is kept, and the chain rule.
//
// A functor states its value and its local derivative, nothing else:
//
//   // y = 1 / (1 + e^-x)          dy/dx = y (1 - y)
//   struct Sigmoid {
//     static constexpr auto name = "sigmoid";
//     static constexpr Keep keep = Keep::output;
//     template <class T> HD T forward(T x) const { return 1 / (1 + exp(-x)); }
//     template <class T> HD T backward(T x, T y) const { return y * (1 - y); }     // x is 0 here: only y was kept
//   };
//   Tensor sigmoid(At x) { return apply(Unary{Sigmoid{}}, x); }
//
// The upstream factor dy and the += stand here, so no op can forget them. A binary functor has backward_a and backward_b.
//
// Broadcasting. y is walked as a grid of rows and columns; each operand says with two numbers how far a step down and a
// step right move it: the same shape (C,1), a row [C] (0,1), a column [N,1] (1,0), a scalar (0,0). Anything else is first
// copied out by broadcast_to. The gradient of a broadcast operand is summed over what was repeated.
#pragma once
#include "engine/tape.h"
#include "ops/broadcast.h"
#include "ops/launch.h"

namespace gradus {

void check_same_device(std::string_view op, const Tensor& a, const Tensor& b);  // error otherwise
void check_same_kind(std::string_view op, const Tensor& a, const Tensor& b);    // dtype and device; error otherwise

// ---- one input

template <class T, class F> struct UnaryForward {
  F f;
  const T* x;
  T* y;
  HD void operator()(Index i) const { y[i] = f.forward(x[i]); }
};

// What a functor keeps and whether the sum was started are known before the loop, so that the loop has no branches and
// vectorises.
constexpr bool keeps_inputs(Keep k) { return int(k) & int(Keep::inputs); }
constexpr bool keeps_output(Keep k) { return int(k) & int(Keep::output); }
template <class F> void with_flag(bool flag, const F& f) {
  if (flag) return f.template operator()<true>();
  f.template operator()<false>();
}

template <class T, class F, bool Add> struct UnaryBackward {
  F f;
  const T *dy, *x, *y;  // x or y is null when not kept
  T* dx;
  HD void operator()(Index i) const {
    const T vx = keeps_inputs(F::keep) ? x[i] : T(0), vy = keeps_output(F::keep) ? y[i] : T(0);
    const T g = dy[i] * f.backward(vx, vy);
    dx[i] = Add ? dx[i] + g : g;
  }
};

template <class T> const T* kept(const Tensor& x) { return x ? x.data<T>() : nullptr; }

template <class F> struct Unary final : Op {
  F f;
  explicit Unary(F g) : f(g) {}
  const char* name() const override { return F::name; }
  Keep keep() const override { return F::keep; }
  Tensor forward(In in) override {
    Tensor y = empty(in[0].shape(), in[0].dtype(), in[0].device());
    dispatch_float(F::name, y.dtype(), [&]<class T>() {
      launch(y.device(), y.numel(), UnaryForward<T, F>{f, in[0].data<T>(), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    auto [sum, started] = dx.sum(0);
    dispatch_float(F::name, dy.dtype(), [&, &to = sum, add = started]<class T>() {
      with_flag(add, [&]<bool Add>() {
        launch(dy.device(), dy.numel(),
               UnaryBackward<T, F, Add>{f, dy.data<T>(), kept<T>(in[0]), kept<T>(y), to.template data_mut<T>()});
      });
    });
  }
};

// ---- two inputs

template <class T, class F, int AC, int BC> struct BinaryForward {
  F f;
  const T *a, *b;
  Index a_row, b_row, columns;
  T* y;
  HD void operator()(Index r, Index c) const {
    y[r * columns + c] = f.forward(a[r * a_row + c * AC], b[r * b_row + c * BC]);
  }
};

// The gradient of one operand at the shape of y; Side 0 is a, Side 1 is b.
template <class T, class F, int AC, int BC, int Side> struct BinaryBackward {
  F f;
  const T *dy, *a, *b, *y;  // a, b, y may be null: not kept
  Index a_row, b_row, columns;
  T* dx;
  bool add;
  HD void operator()(Index r, Index c) const {
    const Index i = r * columns + c;
    const T va = keeps_inputs(F::keep) ? a[r * a_row + c * AC] : T(0);
    const T vb = keeps_inputs(F::keep) ? b[r * b_row + c * BC] : T(0), vy = keeps_output(F::keep) ? y[i] : T(0);
    const T g = dy[i] * (Side == 0 ? f.backward_a(va, vb, vy) : f.backward_b(va, vb, vy));
    dx[i] = add ? dx[i] + g : g;
  }
};

// How y is walked, and how the operands follow.
struct Grid {
  Index rows = 1, columns = 1;
  Index a_row = 0, b_row = 0;
  int a_column = 1, b_column = 1;
};
// False when two numbers do not suffice: then broadcast_to is needed.
bool find_grid(const Shape& a, const Shape& b, const Shape& y, Grid& grid);

// Calls f with the column steps as compile-time constants, so that the inner loop vectorises.
template <class F> void with_columns(const Grid& g, const F& f) {
  if (g.a_column && g.b_column) return f.template operator()<1, 1>();
  if (g.a_column) return f.template operator()<1, 0>();
  if (g.b_column) return f.template operator()<0, 1>();
  return f.template operator()<0, 0>();
}

template <class F> struct Binary final : Op {
  F f;
  Grid grid;
  Binary(F g, const Grid& walk) : f(g), grid(walk) {}
  const char* name() const override { return F::name; }
  Keep keep() const override { return F::keep; }

  Tensor forward(In in) override {
    const Shape shape = broadcast(F::name, in[0].shape(), in[1].shape());
    Tensor y = empty(shape, in[0].dtype(), in[0].device());
    dispatch_float(F::name, y.dtype(), [&]<class T>() {
      with_columns(grid, [&]<int AC, int BC>() {
        launch_grid(y.device(), grid.rows, grid.columns,
                    BinaryForward<T, F, AC, BC>{f, in[0].data<T>(), in[1].data<T>(), grid.a_row, grid.b_row,
                                                grid.columns, y.data_mut<T>()});
      });
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    if (dx.wants(0)) backward_side<0>(dy, in, y, dx);
    if (dx.wants(1)) backward_side<1>(dy, in, y, dx);
  }

 private:
  template <int Side> void backward_side(const Tensor& dy, In in, const Tensor& y, Out dx) {
    if (dx.shape(Side) == dy.shape()) {
      auto [sum, started] = dx.sum(Side);
      return run<Side>(dy, in, y, sum, started);
    }
    Tensor repeated = empty(dy.shape(), dy.dtype(), dy.device());
    run<Side>(dy, in, y, repeated, false);
    dx.add(Side, summed_to(repeated, dx.shape(Side)));
  }
  template <int Side> void run(const Tensor& dy, In in, const Tensor& y, Tensor& to, bool add) {
    dispatch_float(F::name, dy.dtype(), [&]<class T>() {
      with_columns(grid, [&]<int AC, int BC>() {
        launch_grid(dy.device(), grid.rows, grid.columns,
                    BinaryBackward<T, F, AC, BC, Side>{f, dy.data<T>(), kept<T>(in[0]), kept<T>(in[1]), kept<T>(y),
                                                       grid.a_row, grid.b_row, grid.columns, to.data_mut<T>(), add});
      });
    });
  }
};

// Applies a binary functor; operands that the grid cannot walk are broadcast first.
template <class F> Tensor apply_binary(F f, At a, const Tensor& b) {
  if (!a.tensor || !b) fail(F::name, "the tensor is undefined: it was declared but never assigned");
  check_same_kind(F::name, a, b);
  const Shape shape = broadcast(F::name, a->shape(), b.shape());
  Grid grid;
  if (find_grid(a->shape(), b.shape(), shape, grid)) return apply(Binary(f, grid), a, b);
  const Tensor wide_a = broadcast_to(a, shape), wide_b = broadcast_to(At(b, a.line), shape);
  find_grid(shape, shape, shape, grid);
  return apply(Binary(f, grid), At(wide_a, a.line), wide_b);
}

}  // namespace gradus
