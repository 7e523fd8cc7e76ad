#include "ops/reduce.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/broadcast.h"
#include "ops/launch.h"
#include "ops/math.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// x is seen as [outer, n, inner] with n reduced. inner = 1: each row is a team's sum.
template <class T> struct SumRow {
  const T* x;
  Index n;
  T* y;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* row = x + r * n;
    const T s = team.template sum<T>(n, [=](Index j) { return row[j]; });
    if (team.leads()) y[r] = s;
  }
};

// Part p of the n rows is every parts-th row from p on: neighbouring threads read neighbouring elements, however few columns
// there are. y [outer, parts, inner]
template <class T> struct SumParts {
  const T* x;
  Index n, inner, parts;
  T* y;
  HD void operator()(Index o, Index c) const {
    const T* from = x + o * n * inner + c;
    T s = 0;
    for (Index j = c / inner; j < n; j += parts, from += parts * inner) s += *from;
    y[o * parts * inner + c] = s;
  }
};

// On a GPU: parts, until what is left per sum is short; each time with threads enough for the whole device. Where which
// term is added depends on the sizes alone.
template <class T> void sum_on_device(const Tensor& x, Index outer, Index n, Index inner, T* y) {
  constexpr Index short_sum = 128, long_row = 8192, part_length = 64, enough_threads = Index(1) << 18;
  Device& device = x.device();
  const T* in = x.data<T>();
  if (inner == 1 && n > 32 && (n <= long_row || outer > 1024))
    return launch_rows(device, outer, n, SumRow<T>{in, n, y});
  const Index most = std::max<Index>(1, enough_threads / std::max<Index>(1, outer * inner));
  const Index parts = n <= short_sum ? 1 : std::min(most, (n + part_length - 1) / part_length);
  if (parts == 1) return launch_grid(device, outer, inner, SumParts<T>{in, n, inner, 1, y});
  Tensor partial = empty({outer, parts, inner}, x.dtype(), device);
  launch_grid(device, outer, parts * inner, SumParts<T>{in, n, inner, parts, partial.data_mut<T>()});
  sum_on_device<T>(partial, outer, parts, inner, y);
}

// On the CPU a column sum runs along rows, so that memory is read in order. It adds blocks of rows first, as block_sum does:
// in f32 a single running sum of ones would stop at 2^24.
template <class T> void sum_columns_on_cpu(const T* x, Index outer, Index n, Index inner, T* y) {
  std::fill_n(y, outer * inner, T(0));
  constexpr Index part = 512;  // columns of one piece stay in the cache
  const Index parts = (inner + part - 1) / part;
  parallel_for(outer * parts, std::max<Index>(1, serial_below / (part * std::max<Index>(n, 1))), [=](Index b, Index e) {
    for (Index k = b; k < e; ++k) {
      const Index o = k / parts, first = k % parts * part, count = std::min(part, inner - first);
      T* out = y + o * inner + first;
      for (Index block = 0; block < n; block += sum_block) {
        T sums[part] = {};
        for (Index j = block; j < std::min(n, block + sum_block); ++j) {
          const T* row = x + (o * n + j) * inner + first;
#pragma omp simd
          for (Index c = 0; c < count; ++c) sums[c] += row[c];
        }
        for (Index c = 0; c < count; ++c) out[c] += sums[c];
      }
    }
  });
}

struct Sum final : Op {
  int first, last;  // the axes first..last-1
  bool keepdim;
  Sum(int f, int l, bool k) : first(f), last(l), keepdim(k) {}
  const char* name() const override { return "sum"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    const Tensor y = summed_over(in[0], first, last);
    const Shape& s = in[0].shape();
    return keepdim ? y : y.untaped_view(s.slice(0, first).joined(s.slice(last, s.rank())));
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    Shape with_ones = dx.shape(0);
    for (int axis = first; axis < last; ++axis) with_ones = with_ones.with(axis, 1);
    dx.add(0, repeated_to(dy.untaped_view(with_ones), dx.shape(0)));
  }
};

// y = x_k with k = argmax (sign 1) or argmin (sign -1) of each row      dx_k += dy
template <class T> struct ExtremeForward {
  double sign;
  const T* x;
  Index n;
  T* y;
  Index* index;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *row = x + r * n, s = T(sign);
    const Index k = team.template argmax<T>(n, [=](Index j) { return s * row[j]; });
    if (team.leads()) {
      y[r] = row[k];
      index[r] = k;
    }
  }
};
template <class T> struct ExtremeBackward {
  const T* dy;
  const Index* index;
  Index n;
  T* dx;
  HD void operator()(Index r) const { dx[r * n + index[r]] += dy[r]; }
};
struct Extreme final : Op {
  double sign;
  Tensor index;
  explicit Extreme(double s) : sign(s) {}
  const char* name() const override { return sign > 0 ? "max" : "min"; }
  Keep keep() const override { return Keep::nothing; }
  Tensor forward(In in) override {
    const Tensor& x = in[0];
    if (x.size(-1) == 0) fail(name(), x.describe() + " has nothing along its axis");
    const Shape rows = x.shape().without(x.rank() - 1);
    Tensor y = empty(rows, x.dtype(), x.device());
    index = empty(rows, DType::i64, x.device());
    dispatch_float(name(), x.dtype(), [&]<class T>() {
      launch_rows(x.device(), rows.numel(), x.size(-1),
                  ExtremeForward<T>{sign, x.data<T>(), x.size(-1), y.data_mut<T>(), index.data_mut<Index>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In, const Tensor&, Out dx) override {
    Tensor& to = dx.into(0);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch(dy.device(), dy.numel(),
             ExtremeBackward<T>{dy.data<T>(), index.data<Index>(), to.size(-1), to.data_mut<T>()});
    });
  }
};

// y = m + log(1 + sum_{j != k} e^{x_j - m}), m = x_k the maximum: accurate also when one term outweighs the rest
template <class T> struct LogSumExpForward {
  const T* x;
  Index n;
  T* y;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* row = x + r * n;
    const Index k = team.template argmax<T>(n, [=](Index j) { return row[j]; });
    const T m = n ? row[k] : -vmath::infinity<T>;
    const T rest = team.template sum<T>(n, [=](Index j) { return j == k ? T(0) : vmath::exp(row[j] - m); });
    if (team.leads()) y[r] = m - m == 0 ? m + vmath::log1p(rest) : m;  // an infinite or NaN maximum is the answer
  }
};
template <class T> struct LogSumExpBackward {
  const T *dy, *x, *y;
  Index n;
  T* dx;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T *row = x + r * n, g = dy[r], top = y[r];
    T* to = dx + r * n;
    if (top == -vmath::infinity<T>) return;
    team.each(n, [=](Index j) { to[j] += g * (row[j] == top ? T(1) : vmath::exp(row[j] - top)); });
  }
};
struct LogSumExp final : Op {
  const char* name() const override { return "logsumexp"; }
  Keep keep() const override { return Keep::both; }
  bool makes_infinity() const override { return true; }
  Tensor forward(In in) override {
    const Tensor& x = in[0];
    Tensor y = empty(x.shape().without(x.rank() - 1), x.dtype(), x.device());
    dispatch_float(name(), x.dtype(), [&]<class T>() {
      launch_rows(x.device(), y.numel(), x.size(-1), LogSumExpForward<T>{x.data<T>(), x.size(-1), y.data_mut<T>()});
    });
    return y;
  }
  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override {
    Tensor& to = dx.into(0);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch_rows(dy.device(), dy.numel(), to.size(-1),
                  LogSumExpBackward<T>{dy.data<T>(), in[0].data<T>(), y.data<T>(), to.size(-1), to.data_mut<T>()});
    });
  }
};

// Moves `axis` to the end, applies f along the last axis, and leaves a 1 where the axis was if asked.
template <class F> Tensor along_last(std::string_view op, At x, int axis, bool keepdim, const F& f) {
  axis = checked_axis(op, x->shape(), axis);
  const bool is_last = axis == x->rank() - 1;
  const Tensor moved = is_last ? x.tensor : transpose(x, axis, -1);
  Tensor y = f(At(moved, x.line));  // the axes of x, `axis` gone, and the last one in its place
  if (is_last) return keepdim ? y.reshape(y.shape().inserted(axis), x.line) : y;
  y = y.reshape(y.shape().inserted(y.rank()), x.line);
  y = transpose(At(y, x.line), axis, -1);
  return keepdim ? y : y.reshape(y.shape().without(axis), x.line);
}

}  // namespace

Tensor summed_over(const Tensor& x, int first, int last) {
  const Index outer = x.shape().product(0, first), n = x.shape().product(first, last);
  const Index inner = x.shape().product(last, x.rank());
  Shape shape = x.shape();
  for (int axis = first; axis < last; ++axis) shape = shape.with(axis, 1);
  Tensor y = empty(shape, x.dtype(), x.device());
  dispatch_float("sum", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.data_mut<T>();
    if (!x.device().is_cpu()) return sum_on_device<T>(x, outer, n, inner, out);
    if (inner != 1) return sum_columns_on_cpu(in, outer, n, inner, out);
    if (n <= sum_block) return launch_rows(x.device(), outer, n, SumRow<T>{in, n, out});
    for (Index o = 0; o < outer; ++o) out[o] = block_sum<T>(n, [row = in + o * n](Index i) { return row[i]; });
  });
  return y;
}

Tensor sum(At x, std::vector<int> axes, bool keepdim) {
  if (axes.empty()) {
    axes.resize(std::size_t(x->rank()));
    std::iota(axes.begin(), axes.end(), 0);
  }
  for (int& axis : axes) axis = checked_axis("sum", x->shape(), axis);
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  if (axes.empty()) return apply(Sum(0, 0, keepdim), x);  // a scalar
  Tensor y = x;
  while (!axes.empty()) {  // from the right, a run of neighbouring axes at a time
    const int last = axes.back();
    int first = last;
    for (axes.pop_back(); !axes.empty() && axes.back() == first - 1; axes.pop_back()) --first;
    y = apply(Sum(first, last + 1, keepdim), At(y, x.line));
  }
  return y;
}

Tensor sum(At x) { return sum(x, {}); }

Tensor mean(At x) { return At(sum(x), x.line) * (1.0 / double(x->numel())); }

Tensor mean(At x, std::vector<int> axes, bool keepdim) {
  const Tensor y = sum(x, std::move(axes), keepdim);
  return At(y, x.line) * (double(y.numel()) / double(x->numel()));
}

Tensor var(At x, int axis, int correction, bool keepdim) {
  const Index n = x->size(axis);
  const Tensor centre = mean(x, {axis}, true);
  const Tensor deviation = x - At(centre, x.line);
  return At(sum(At(square(At(deviation, x.line)), x.line), {axis}, keepdim), x.line) *
         (1.0 / double(std::max<Index>(0, n - correction)));
}

Tensor max(At x, int axis, bool keepdim) {
  return along_last("max", x, axis, keepdim, [](At moved) { return apply(Extreme(1), moved); });
}
Tensor min(At x, int axis, bool keepdim) {
  return along_last("min", x, axis, keepdim, [](At moved) { return apply(Extreme(-1), moved); });
}
Tensor logsumexp(At x, int axis, bool keepdim) {
  return along_last("logsumexp", x, axis, keepdim, [](At moved) { return apply(LogSumExp{}, moved); });
}

}  // namespace gradus
