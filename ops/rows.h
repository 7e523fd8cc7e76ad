// Row ops: y has the shape of x, and each row along the last axis is computed by itself. A functor gets one row and a team
// (ops/launch.h): the same body is a loop on the CPU and a thread block on a GPU.
//
//   struct Softmax {
//     static constexpr auto name = "softmax";
//     static constexpr Keep keep = Keep::output;
//     forward(team, n, x, y)                 writes y[0..n)
//     backward(team, n, dy, x, y, dx)        adds to dx[0..n); x or y is null when not kept
//   };
//   Tensor softmax(At x) { return apply(RowOp{Softmax{}}, x); }
#pragma once
#include "ops/elementwise.h"

namespace gradus {

template <class T, class F> struct RowForward {
  F f;
  Index n;
  const T* x;
  T* y;
  template <class Team> HD void operator()(Index r, Team team) const { f.forward(team, n, x + r * n, y + r * n); }
};

template <class T, class F> struct RowBackward {
  F f;
  Index n;
  const T *dy, *x, *y;
  T* dx;
  template <class Team> HD void operator()(Index r, Team team) const {
    f.backward(team, n, dy + r * n, x ? x + r * n : nullptr, y ? y + r * n : nullptr, dx + r * n);
  }
};

template <class F> struct RowOp final : Op {
  F f;
  explicit RowOp(F g) : f(g) {}
  const char* name() const override { return F::name; }
  Keep keep() const override { return F::keep; }
  Tensor forward(In in) override {
    const Tensor& x = in[0];
    Tensor y = empty(x.shape(), x.dtype(), x.device());
    const Index n = x.size(-1);
    dispatch_float(F::name, x.dtype(), [&]<class T>() {
      launch_rows(x.device(), n ? x.numel() / n : 0, n, RowForward<T, F>{f, n, x.data<T>(), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    Tensor& to = dx.into(0);
    const Index n = dy.size(-1);
    dispatch_float(F::name, dy.dtype(), [&]<class T>() {
      launch_rows(dy.device(), n ? dy.numel() / n : 0, n,
                  RowBackward<T, F>{f, n, dy.data<T>(), kept<T>(in[0]), kept<T>(y), to.data_mut<T>()});
    });
  }
};

}  // namespace gradus
