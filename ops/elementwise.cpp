#include "ops/elementwise.h"

namespace gradus {
namespace {

struct Walk {
  Index row = 0;
  int column = 0;
};

// How an operand moves over y seen as [rows, columns], y's axes cut before `split`. On each side of the cut the operand
// must have either all of y's sizes or none; false when it has not.
bool follow(const Shape& x, const Shape& y, int split, Walk& walk) {
  const int shift = y.rank() - x.rank();
  const auto all = [&](int first, int last, bool real) {  // sizes first..last of y are all x's own, or all repeated
    for (int axis = first; axis < last; ++axis) {
      const Index size = axis < shift ? 1 : x[axis - shift];
      if (y[axis] != 1 && (size == y[axis]) != real) return false;
    }
    return true;
  };
  const Index columns = y.product(split, y.rank());
  const bool real_columns = all(split, y.rank(), true), repeated_columns = all(split, y.rank(), false);
  const bool real_rows = all(0, split, true), repeated_rows = all(0, split, false);
  if (!(real_columns || repeated_columns) || !(real_rows || repeated_rows)) return false;
  walk.column = real_columns ? 1 : 0;
  walk.row = real_rows ? (real_columns ? columns : 1) : 0;
  return true;
}

}  // namespace

bool find_grid(const Shape& a, const Shape& b, const Shape& y, Grid& grid) {
  if (a == y && b == y) {
    grid = {1, y.numel(), 0, 0, 1, 1};
    return true;
  }
  for (int split = 0; split <= y.rank(); ++split) {
    Walk wa, wb;
    if (!follow(a, y, split, wa) || !follow(b, y, split, wb)) continue;
    grid = {y.product(0, split), y.product(split, y.rank()), wa.row, wb.row, wa.column, wb.column};
    return true;
  }
  return false;
}

void check_same_device(std::string_view op, const Tensor& a, const Tensor& b) {
  if (&a.device() == &b.device()) return;
  fail(op, "devices differ: " + a.describe() + " is on " + a.device().name() + ", " + b.describe() + " is on " +
               b.device().name() + "; move one with to(device)");
}

void check_same_kind(std::string_view op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype()) {
    const char* wider = a.dtype() == DType::f64 || b.dtype() == DType::f64 ? "f64" : "f32";
    fail(op, "types differ: " + a.describe() + " and " + b.describe() + "; convert one with to(DType::" + wider + ")");
  }
  check_same_device(op, a, b);
}

}  // namespace gradus
