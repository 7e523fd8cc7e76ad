// Tensors as text: 'w' f32 [2,3] = [[1, 2, 3], [4, 5, 6]]; long axes are shortened in the middle.
#include <algorithm>
#include <cstdio>
#include <ostream>

#include "engine/tensor.h"

namespace gradus {
namespace {

void print_axis(const Tensor& x, int axis, Index offset, Index most, std::string& out) {
  if (axis == x.rank()) {
    char number[32];
    std::snprintf(number, sizeof number, is_floating(x.dtype()) ? "%.6g" : "%.0f", value_at(x, offset));
    out += number;
    return;
  }
  const Index n = x.shape()[axis], stride = x.shape().product(axis + 1, x.rank());
  out += "[";
  for (Index i = 0; i < n; ++i) {
    if (i) out += ", ";
    if (n > most && i == most / 2) {
      out += "..., ";
      i = n - most / 2;
    }
    print_axis(x, axis + 1, offset + i * stride, most, out);
  }
  out += "]";
}

}  // namespace

std::string to_text(const Tensor& x, Index most_per_axis) {
  std::string out = x.describe();
  if (!x) return out;
  out += " = ";
  print_axis(x.numel() <= 4096 ? x.host() : x, 0, 0, std::max<Index>(most_per_axis, 2), out);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Tensor& x) { return out << to_text(x); }

}  // namespace gradus
