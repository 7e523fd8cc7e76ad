#include "losses/logsumexp/pointer_loss.h"

#include <cmath>

#include "losses/logsumexp/log1p_sum_exp.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/rope.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

constexpr auto op = "pointer_loss";

enum Cell : std::uint8_t { outside = 0, negative = 1, positive = 2 };

// [N,H,T,T] u8: what each cell counts as.
Tensor cells_of(const Tensor& labels, const Tensor& mask, Index window) {
  const Index N = labels.size(0), H = labels.size(1), T = labels.size(2);
  Tensor cells = not_equal(labels, full({}, 0, labels.dtype()));  // 1 where a span is
  const std::vector<double> kept = mask ? mask.to_vector() : std::vector<double>(std::size_t(N * T), 1.0);
  auto* cell = cells.data_mut<std::uint8_t>();
  for (Index n = 0; n < N; ++n) {
    const double* token = kept.data() + n * T;
    for (Index h = 0; h < H; ++h) {
      for (Index i = 0; i < T; ++i) {
        for (Index j = 0; j < T; ++j, ++cell) {
          const bool span = *cell, valid = i <= j && token[i] != 0 && token[j] != 0,
                     far = window >= 0 && j - i > window;
          if (span && valid && far) {
            fail(op, "the span at " + Shape({n, h, i, j}).text() + " is longer than the window of " +
                         std::to_string(window) + " allows; widen the window or drop the span");
          }
          *cell = !valid || far ? outside : span ? positive : negative;
        }
      }
    }
  }
  return cells;
}

// ---- as the derivation starts: all scores, masked with -inf, two log-sum-exps with a zero beside them

Tensor with_zero(const Tensor& x) { return logsumexp(pad(x, 1, 0, 1), 1); }  // [R,n] -> [R]

Tensor definition(At q, const Tensor& k, const Tensor& start, const Tensor& end, const Tensor& cells,
                  const PointerLossOptions& o) {
  const Tensor s = pointer_scores(q, k, start, end, {.rope = o.rope, .scale = o.scale, .form = Form::definition});
  const Index rows = s.size(0) * s.size(1), n = s.size(2) * s.size(3);
  const Tensor flat = s.reshape({rows, n}), cell = cells.reshape({rows, n});
  const auto only = [&](const Tensor& x, Cell kind) {
    return masked_fill(x, not_equal(cell, full({}, double(kind), DType::u8)), -vmath::infinity<double>);
  };
  return with_zero(only(flat, negative)) + with_zero(only(-flat, positive));  // [N H]
}

// ---- as the derivation ends: one node; q and k are turned already

// One row of scores of one type.
template <class T> struct ScoreRow {
  const T *dot, *end;  // [T]; end or null
  T begin;             // start_h(i)
  const std::uint8_t* cell;
  HD T s(Index j) const { return dot[j] + begin + (end ? end[j] : T(0)); }
  // The exponents of the two sums; -inf where the cell is not of that kind.
  HD T down(Index j) const { return cell[j] == negative ? s(j) : -vmath::infinity<T>; }
  HD T up(Index j) const { return cell[j] == positive ? -s(j) : -vmath::infinity<T>; }
};

// log(1 + sum e^x), gathered row by row: m >= every x so far, and sum = sum e^{x - m} without the 1
template <class T> struct Gathered {
  T m = 0, sum = 0;
  template <class F> void add(Index n, F x) {
    const CpuTeam team;
    const T top = team.template max<T>(n, x);
    if (top > m) sum *= vmath::exp(m - top), m = top;
    const T shift = m;
    sum += team.template sum<T>(n, [=](Index j) { return vmath::exp_below(x(j) - shift); });
  }
  LogSum<T> log() const {
    return m == 0 ? LogSum<T>{T(0), vmath::log1p(sum)} : LogSum<T>{m, vmath::log(vmath::exp(-m) + sum)};
  }
};

struct PointerLoss final : Op {
  Constant cells;  // u8 [N,H,T,T]
  double scale;
  Tensor logs;  // [N,H,4]: Q and P, each as m and rest
  PointerLoss(Tensor c, double s) : cells(std::move(c)), scale(s) {}
  const char* name() const override { return op; }

  struct Sizes {
    Index N, G, H, T, d;
  };
  Sizes sizes(In in) const {
    const Tensor& cell = cells.get(op);
    return {in[0].size(0), in[0].size(1), cell.size(1), in[0].size(2), in[0].size(3)};
  }
  // scores of sequence n and group g: scale <q_i, k_j>  -> dots [T,T]
  template <class T> void dots(In in, const Sizes& z, Index pair, std::vector<T>& to) const {
    const Index at = pair * z.T * z.d;
    Device::cpu().gemm(dtype_of<T>, {.transpose_b = true, .m = z.T, .n = z.T, .k = z.d}, in[0].data<T>() + at,
                       in[1].data<T>() + at, to.data());
    for (T& v : to) v *= T(scale);
  }
  template <class T> ScoreRow<T> row(In in, const Sizes& z, Index nh, Index i, const T* dot) const {
    const T *start = kept<T>(in[2]), *end = kept<T>(in[3]);
    return {dot + i * z.T, end ? end + nh * z.T : nullptr, start ? start[nh * z.T + i] : T(0),
            cells.get(op).template data<std::uint8_t>() + (nh * z.T + i) * z.T};
  }

  Tensor forward(In in) override {
    const Sizes z = sizes(in);
    Tensor loss = empty({z.N, z.H}, in[0].dtype());
    logs = empty({z.N, z.H, 4}, in[0].dtype());
    dispatch_float(op, in[0].dtype(), [&]<class T>() {
      T *y = loss.data_mut<T>(), *log = logs.data_mut<T>();
      parallel_for(z.N * z.G, 1, [&](Index first, Index last) {
        std::vector<T> dot(static_cast<std::size_t>(z.T * z.T));
        for (Index pair = first; pair < last; ++pair) {
          dots<T>(in, z, pair, dot);
          for (Index h = 0; h < z.H / z.G; ++h) {
            const Index nh = pair * (z.H / z.G) + h;
            Gathered<T> down, up;
            for (Index i = 0; i < z.T; ++i) {
              const ScoreRow<T> r = row<T>(in, z, nh, i, dot.data());
              down.add(z.T, [=](Index j) { return r.down(j); });
              up.add(z.T, [=](Index j) { return r.up(j); });
            }
            const LogSum<T> Q = down.log(), P = up.log();
            T* to = log + 4 * nh;
            to[0] = Q.m, to[1] = Q.rest, to[2] = P.m, to[3] = P.rest;
            y[nh] = Q.value() + P.value();
          }
        }
      });
    });
    return loss.reshape({z.N * z.H});
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Sizes z = sizes(in);
    dispatch_float(op, in[0].dtype(), [&]<class T>() {
      T* to[4];
      for (int i = 0; i < 4; ++i) to[i] = dx.wants(i) ? dx.into(i).template data_mut<T>() : nullptr;
      const T *g = dy.data<T>(), *log = logs.data<T>();
      parallel_for(z.N * z.G, 1, [&](Index first, Index last) {
        std::vector<T> dot(static_cast<std::size_t>(z.T * z.T)), ds(dot);
        for (Index pair = first; pair < last; ++pair) {
          dots<T>(in, z, pair, dot);
          std::fill(ds.begin(), ds.end(), T(0));
          for (Index h = 0; h < z.H / z.G; ++h) {
            const Index nh = pair * (z.H / z.G) + h;
            const LogSum<T> Q{log[4 * nh], log[4 * nh + 1]}, P{log[4 * nh + 2], log[4 * nh + 3]};
            for (Index i = 0; i < z.T; ++i) {
              slope_row(row<T>(in, z, nh, i, dot.data()), Q, P, g[nh], z.T, ds.data() + i * z.T,
                        to[2] ? to[2] + nh * z.T + i : nullptr, to[3] ? to[3] + nh * z.T : nullptr);
            }
          }
          const Index at = pair * z.T * z.d;
          for (T& v : ds) v *= T(scale);
          const Gemm product{.accumulate = true, .m = z.T, .n = z.d, .k = z.T};
          Gemm transposed = product;
          transposed.transpose_a = true;
          if (to[0]) Device::cpu().gemm(dtype_of<T>, product, ds.data(), in[1].data<T>() + at, to[0] + at);
          if (to[1]) Device::cpu().gemm(dtype_of<T>, transposed, ds.data(), in[0].data<T>() + at, to[1] + at);
        }
      });
    });
  }

  // ds_j += g (e^{s_j - Q} at negatives, -e^{-s_j - P} at positives); the same added to dstart and dend
  template <class T>
  static void slope_row(ScoreRow<T> r, LogSum<T> Q, LogSum<T> P, T g, Index n, T* ds, T* dstart, T* dend) {
    const auto slope = [=](Index j) {
      return g * (vmath::exp_below((r.down(j) - Q.m) - Q.rest) - vmath::exp_below((r.up(j) - P.m) - P.rest));
    };
    const CpuTeam team;
    team.each(n, [=](Index j) { ds[j] += slope(j); });
    if (dend) team.each(n, [=](Index j) { dend[j] += slope(j); });
    if (dstart) *dstart += team.template sum<T>(n, slope);
  }
};

}  // namespace

Tensor pointer_loss(At q, const Tensor& k, const Tensor& start, const Tensor& end, const Tensor& labels,
                    const Tensor& mask, PointerLossOptions o) {
  const Index H = check_pointer_inputs(op, q, k, start, end, o.rope), N = q->size(0), T = q->size(2);
  if (!labels || labels.shape() != Shape{N, H, T, T}) {
    fail(op, "labels must be " + Shape({N, H, T, T}).text() + ", got " + (labels ? labels.describe() : "nothing"));
  }
  if (mask && mask.shape() != Shape{N, T})
    fail(op, "mask must be [N,T] for " + q->describe() + ", got " + mask.describe());
  if (o.window < -1) fail(op, "window must be -1 for any width, or at least 0, got " + std::to_string(o.window));
  const Tensor cells = cells_of(labels, mask, o.window);
  Tensor rows;
  if (o.form == Form::definition) {
    rows = definition(q, k, start, end, cells, o);
  } else {
    const double scale = o.scale ? 1 / std::sqrt(double(q->size(3))) : 1;
    rows = o.rope ? apply(PointerLoss(cells, scale), At(rope(q), q.line), rope(At(k, q.line)), start, end)
                  : apply(PointerLoss(cells, scale), q, k, start, end);
  }
  return reduce_rows(At(rows, q.line), Reduction::mean, double(N));
}

}  // namespace gradus
