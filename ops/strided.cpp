#include "ops/strided.h"

#include "ops/launch.h"

namespace gradus {
namespace {

// y as rows of its last axis: where a row starts in x costs a few divisions, each element after it an addition.
template <class T> struct StridedRow {
  const T* x;
  T* y;
  int axes;       // before the last
  Index n, step;  // elements of a row, and what one of them moves in x
  Index count[Shape::max_rank], stride[Shape::max_rank];
  template <class Team> HD void operator()(Index r, Team team) const {
    Index start = 0, rest = r;
    for (int axis = axes - 1; axis >= 0; --axis) {
      start += rest % count[axis] * stride[axis];
      rest /= count[axis];
    }
    const T* from = x + start;
    T* to = y + r * n;
    const Index s = step;
    if (s == 1) return team.each(n, [=](Index j) { to[j] = from[j]; });
    team.each(n, [=](Index j) { to[j] = from[j * s]; });
  }
};

// A thread for each element of y, on a GPU: writes lie side by side, and short rows leave no thread idle. Divisions of 32
// bits where they suffice (I): 64-bit ones take several times as long there.
template <class T, class I> struct StridedElement {
  const T* x;
  T* y;
  int axes;
  I count[Shape::max_rank];
  Index stride[Shape::max_rank];
  HD void operator()(Index i) const {
    Index from = 0;
    I rest = I(i);
    for (int axis = axes - 1; axis >= 0; --axis) {
      const I above = rest / count[axis];
      from += Index(rest - above * count[axis]) * stride[axis];
      rest = above;
    }
    y[i] = x[from];
  }
};

template <class T, class I> void copy_elements(const Tensor& x, std::span<const Index> strides, Tensor& y) {
  StridedElement<T, I> body{x.data<T>(), y.data_mut<T>(), 0, {}, {}};
  // Axes of one element go, and neighbours that x walks in one go are one axis.
  for (int axis = 0; axis < y.rank(); ++axis) {
    const Index count = y.shape()[axis], stride = strides[std::size_t(axis)];
    if (count == 1) continue;
    const int last = body.axes - 1;
    if (last >= 0 && body.stride[last] == stride * count) {
      body.count[last] *= I(count);
      body.stride[last] = stride;
    } else {
      body.count[body.axes] = I(count);
      body.stride[body.axes++] = stride;
    }
  }
  launch(y.device(), y.numel(), body);
}

}  // namespace

void strided_copy(const Tensor& x, std::span<const Index> strides, Tensor& y) {
  if (!y.device().is_cpu()) {
    return dispatch(x.dtype(), [&]<class T>() {
      if (y.numel() <= INT32_MAX) return copy_elements<T, std::uint32_t>(x, strides, y);
      copy_elements<T, std::uint64_t>(x, strides, y);
    });
  }
  const int axes = std::max(0, y.rank() - 1);
  const Index n = y.rank() ? y.shape()[-1] : 1;
  dispatch(x.dtype(), [&]<class T>() {
    StridedRow<T> body{x.data<T>(), y.data_mut<T>(), axes, n, y.rank() ? strides[std::size_t(axes)] : 1, {}, {}};
    for (int axis = 0; axis < axes; ++axis) {
      body.count[axis] = y.shape()[axis];
      body.stride[axis] = strides[std::size_t(axis)];
    }
    launch_rows(y.device(), n ? y.numel() / n : 0, n, body);
  });
}

}  // namespace gradus
