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

}  // namespace

void strided_copy(const Tensor& x, std::span<const Index> strides, Tensor& y) {
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
