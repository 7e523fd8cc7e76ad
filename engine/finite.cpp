#include "engine/finite.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace gradus {
namespace {

std::string range_of(const Tensor& given) {
  const Tensor x = given.host();
  double low = std::numeric_limits<double>::infinity(), high = -low;
  Index where = 0;
  for (Index i = 0; i < x.numel(); ++i) {
    const double v = value_at(x, i);
    if (v < low) low = v, where = i;
    high = std::max(high, v);
  }
  char text[96];
  std::snprintf(text, sizeof text, " has min %.6g at %s and max %.6g", low, index_text(x.shape(), where).c_str(), high);
  return given.describe() + text;
}

}  // namespace

Index first_non_finite(const Tensor& x) {
  if (!x || !is_floating(x.dtype())) return -1;
  const Tensor host = x.host();
  return dispatch_float("first_non_finite", x.dtype(), [&]<class T>() {
    const T* p = host.data<T>();
    for (Index i = 0; i < x.numel(); ++i) {
      if (!std::isfinite(p[i])) return i;
    }
    return Index(-1);
  });
}

std::string value_and_place(const Tensor& x, Index i) {
  const double v = value_at(x, i);
  return (std::isnan(v) ? "nan" : v > 0 ? "inf" : "-inf") + (" at " + index_text(x.shape(), i));
}

void check_finite_forward(const Op& op, UserLine line, In in, const Tensor& y) {
  const Index bad = first_non_finite(y);
  if (bad < 0 || (op.makes_infinity() && !std::isnan(value_at(y, bad)))) return;
  std::string inputs;
  for (const Tensor& x : in) {
    if (!x || !is_floating(x.dtype()) || x.numel() == 0) continue;
    if (const Index i = first_non_finite(x); i >= 0) {
      if (!std::isnan(value_at(y, bad)) || std::isnan(value_at(x, i))) return;  // carried on, not made here
    }
    inputs += "; input " + range_of(x);
  }
  fail(op.name(), "first non-finite value: " + value_and_place(y, bad) + " of its output " + y.shape().text() + inputs +
                      (line.line ? "; recorded at " + line.text() : ""));
}

void check_finite_backward(const Tape& tape, NodeId id, const Tensor& dy, NodeId input, const Tensor& dx) {
  const Index bad = first_non_finite(dx);
  if (bad < 0 || first_non_finite(dy) >= 0) return;
  std::string hint =
      "; its derivative is infinite or undefined here: sqrt or pow at 0? the norm of a zero vector? "
      "a branch that where() did not select? clamp the input first";
  fail("backward", "first non-finite gradient: " + value_and_place(dx, bad) + " for the input " +
                       describe_node(tape, input) + " of " + describe_node(tape, id) + hint);
}

}  // namespace gradus
