#include "ops/sort.h"

#include <algorithm>
#include <numeric>

namespace gradus {

Tensor argsort(const Tensor& x, int axis, bool descending) {
  axis = checked_axis("argsort", x.shape(), axis);
  const Index n = x.shape()[axis], inner = x.shape().product(axis + 1, x.rank());
  Tensor y = empty(x.shape(), DType::i64);
  dispatch(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    Index* out = y.data_mut<Index>();
    std::vector<Index> order(static_cast<std::size_t>(n));
    for (Index line = 0; line < (n ? x.numel() / n : 0); ++line) {
      const Index base = line / inner * n * inner + line % inner;
      const auto value = [&](Index j) { return in[base + j * inner]; };
      const auto is_nan = [](T v) { return v != v; };
      std::iota(order.begin(), order.end(), Index(0));
      std::stable_sort(order.begin(), order.end(), [&](Index i, Index j) {
        const T a = value(i), b = value(j);
        if (is_nan(a) || is_nan(b)) return !is_nan(a) && is_nan(b);
        return descending ? b < a : a < b;
      });
      for (Index j = 0; j < n; ++j) out[base + j * inner] = order[std::size_t(j)];
    }
  });
  return y;
}

Sorted sort(const Tensor& x, int axis, bool descending) {
  axis = checked_axis("sort", x.shape(), axis);
  Sorted sorted{empty(x.shape(), x.dtype()), argsort(x, axis, descending)};
  const Index n = x.shape()[axis], inner = x.shape().product(axis + 1, x.rank());
  dispatch(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    const Index* index = sorted.indices.data<Index>();
    T* out = sorted.values.data_mut<T>();
    for (Index i = 0; i < x.numel(); ++i) out[i] = in[i / (n * inner) * (n * inner) + index[i] * inner + i % inner];
  });
  return sorted;
}

Tensor argmax(const Tensor& x, int axis) {
  axis = checked_axis("argmax", x.shape(), axis);
  const Index n = x.shape()[axis], inner = x.shape().product(axis + 1, x.rank());
  if (n == 0) fail("argmax", x.describe() + " has nothing along axis " + std::to_string(axis));
  Tensor y = empty(x.shape().without(axis), DType::i64);
  dispatch(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    Index* out = y.data_mut<Index>();
    for (Index line = 0; line < y.numel(); ++line) {
      const Index base = line / inner * n * inner + line % inner;
      Index best = 0;
      for (Index j = 1; j < n; ++j) {
        const T v = in[base + j * inner], top = in[base + best * inner];
        if (v > top || (v != v && top == top)) best = j;  // the first NaN wins, as in max
      }
      out[line] = best;
    }
  });
  return y;
}

}  // namespace gradus
