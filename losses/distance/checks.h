// What the losses of this folder ask of their arguments.
#pragma once
#include <cmath>

#include "losses/loss.h"
#include "ops/elementwise.h"
#include "ops/launch.h"

namespace gradus {

// Both of one type, on one device, of one shape.
inline void check_same_shape(std::string_view op, const Tensor& a, const Tensor& b) {
  if (!a || !b) fail(op, "an input is undefined: it was declared but never assigned");
  check_same_kind(op, a, b);
  if (a.shape() != b.shape()) {
    fail(op, "needs two tensors of one shape, got " + a.describe() + " and " + b.describe() +
                 "; nothing is broadcast, use reshape or broadcast_to");
  }
}

// The same, and rows of vectors: [N,D].
inline void check_row_pairs(std::string_view op, const Tensor& a, const Tensor& b) {
  check_same_shape(op, a, b);
  if (a.rank() != 2) fail(op, "needs rows of vectors, [N,D], got " + a.describe());
}

// One label for each row of x, of any type, on its device.
inline void check_row_labels(std::string_view op, const Tensor& x, const Tensor& y) {
  if (!y) fail(op, "the labels are undefined: they were declared but never assigned");
  if (y.shape() != Shape{x.size(0)}) {
    fail(op, "needs one label for each row: rows " + x.describe() + ", labels " + y.describe());
  }
  check_same_device(op, x, y);
}

template <class T, class Test> struct Fails {
  Test bad;
  const T* x;
  HD bool operator()(Index i) const { return bad(double(x[i])); }
};
// The first place at which a value of x, of any type, is bad: Test has HD bool operator()(double) const. -1: none is.
template <class Test> Index first_bad(const Tensor& x, const Test& bad) {
  return dispatch(x.dtype(), [&]<class T>() {
    return find_first(x.device(), x.numel(), Fails<T, Test>{bad, x.data<T>()});
  });
}

// NaN and infinity fail too.
inline void check_at_least(std::string_view op, const char* option, double value, double low) {
  if (!(value >= low && std::isfinite(value))) {
    fail(op, std::string(option) + " must be at least " + std::to_string(low) + " and finite, got " +
                 std::to_string(value));
  }
}

}  // namespace gradus
