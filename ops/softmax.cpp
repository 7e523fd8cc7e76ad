// Derivation of the softmax gradient. With y_j = e^{x_j} / Z and Z = sum_k e^{x_k},
//   dy_j/dx_i = [i = j] e^{x_j} / Z - e^{x_j} e^{x_i} / Z^2 = y_j ([i = j] - y_i),
// a matrix, but it is never built: what arrives is a vector dy, and what leaves is
//   dx_i = sum_j dy_j y_j ([i = j] - y_i) = y_i (dy_i - <dy, y>).
// The same for l_j = log y_j = x_j - log Z:   dl_j/dx_i = [i = j] - y_i,   dx_i = dy_i - y_i sum_j dy_j.
//
// Safe form. e^{x_j} overflows at 88 in f32. Both functions ignore a shift of x, so m = max x is subtracted first: the
// greatest term is e^0 = 1, and Z lies between 1 and n.
#include "ops/softmax.h"

#include "ops/elementwise.h"
#include "ops/rows.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

struct Softmax {
  static constexpr auto name = "softmax";
  static constexpr Keep keep = Keep::output;
  template <class T, class Team> HD void forward(Team team, Index n, const T* x, T* y) const {
    const T m = team.template max<T>(n, [=](Index j) { return x[j]; });
    team.each(n, [=](Index j) { y[j] = vmath::exp(x[j] - m); });
    const T z = team.template sum<T>(n, [=](Index j) { return y[j]; });
    team.each(n, [=](Index j) { y[j] /= z; });
  }
  template <class T, class Team> HD void backward(Team team, Index n, const T* dy, const T*, const T* y, T* dx) const {
    const T dot = team.template sum<T>(n, [=](Index j) { return dy[j] * y[j]; });
    team.each(n, [=](Index j) { dx[j] += y[j] * (dy[j] - dot); });
  }
};

struct LogSoftmax {
  static constexpr auto name = "log_softmax";
  static constexpr Keep keep = Keep::output;
  template <class T, class Team> HD void forward(Team team, Index n, const T* x, T* y) const {
    // log Z = m + log(1 + rest) with the greatest term left out of the sum: accurate also when rest is 1e-20.
    const Index k = team.template argmax<T>(n, [=](Index j) { return x[j]; });
    const T m = n ? x[k] : T(0);
    const T rest = team.template sum<T>(n, [=](Index j) { return j == k ? T(0) : vmath::exp(x[j] - m); });
    const T log_z = vmath::log1p(rest);
    team.each(n, [=](Index j) { y[j] = (x[j] - m) - log_z; });
  }
  template <class T, class Team> HD void backward(Team team, Index n, const T* dy, const T*, const T* y, T* dx) const {
    const T total = team.template sum<T>(n, [=](Index j) { return dy[j]; });
    team.each(n, [=](Index j) { dx[j] += dy[j] - vmath::exp(y[j]) * total; });
  }
};

template <class F> Tensor along(At x, int axis) {
  axis = checked_axis(F::name, x->shape(), axis);
  if (axis == x->rank() - 1) return apply(RowOp{F{}}, x);
  const Tensor last = transpose(x, axis, -1);
  const Tensor y = apply(RowOp{F{}}, At(last, x.line));
  return transpose(At(y, x.line), axis, -1);
}

}  // namespace

Tensor softmax(At x, int axis) { return along<Softmax>(x, axis); }
Tensor log_softmax(At x, int axis) { return along<LogSoftmax>(x, axis); }

}  // namespace gradus
