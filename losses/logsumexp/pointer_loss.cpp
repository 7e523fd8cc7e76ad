#include "losses/logsumexp/pointer_loss.h"

#include <algorithm>
#include <cmath>

#include "losses/logsumexp/pointer_rows.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/rope.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

constexpr auto op = "pointer_loss";

// Where spans are and which tokens count; both u8, not 0 for yes.
struct Gold {
  Tensor mark, token;  // [N,H,T,T], [N,T]
};

Tensor not_zero(const Tensor& x) {
  return x.dtype() == DType::u8 ? x.detach() : not_equal(x, full({}, 0, x.dtype(), x.device()));
}

enum Cell : std::uint8_t { outside = 0, negative = 1, positive = 2 };
struct CellOf {
  const std::uint8_t *mark, *token;
  Index types, length, window;
  HD Cell at(Index row, Index j) const {  // row of [N H T]
    const Index i = row % length;
    const std::uint8_t* kept = token + row / (types * length) * length;
    const bool valid = i <= j && kept[i] != 0 && kept[j] != 0 && (window < 0 || j - i <= window);
    return !valid ? outside : mark[row * length + j] ? positive : negative;
  }
};
struct WriteCell {
  CellOf cell;
  std::uint8_t* to;
  HD void operator()(Index row, Index j) const { to[row * cell.length + j] = cell.at(row, j); }
};
// A span that the window alone forbids. `cell` is without the window.
struct TooWide {
  CellOf cell;
  Index window;
  HD bool operator()(Index c) const {
    const Index row = c / cell.length, j = c % cell.length;
    return j - row % cell.length > window && cell.at(row, j) == positive;
  }
};

CellOf cells_of(const Gold& gold, Index window) {
  return {gold.mark.data<std::uint8_t>(), gold.token.data<std::uint8_t>(), gold.mark.size(1), gold.mark.size(2),
          window};
}

void check_window(const Gold& gold, Index window) {
  if (window < 0) return;
  const Index H = gold.mark.size(1), T = gold.mark.size(2);
  const Index c = find_first(gold.mark.device(), gold.mark.numel(), TooWide{cells_of(gold, -1), window});
  if (c < 0) return;
  fail(op, "the span at " + Shape({c / (T * T * H), c / (T * T) % H, c / T % T, c % T}).text() +
               " is longer than the window of " + std::to_string(window) +
               " allows; widen the window or drop the span");
}

// ---- as the derivation starts: all scores, masked with -inf, two log-sum-exps with a zero beside them

Tensor with_zero(const Tensor& x) { return logsumexp(pad(x, 1, 0, 1), 1); }  // [R,n] -> [R]

Tensor definition(At q, const Tensor& k, const Tensor& start, const Tensor& end, const Gold& gold,
                  const PointerLossOptions& o) {
  const Tensor s = pointer_scores(q, k, start, end, {.rope = o.rope, .scale = o.scale, .form = Form::definition});
  const Index rows = s.size(0) * s.size(1), T = s.size(2);
  Tensor cell = empty({rows, T * T}, DType::u8, s.device());
  launch_grid(s.device(), rows * T, T, WriteCell{cells_of(gold, o.window), cell.data_mut<std::uint8_t>()});
  const Tensor flat = s.reshape({rows, T * T});
  const auto only = [&](const Tensor& x, Cell kind) {
    return masked_fill(x, not_equal(cell, full({}, double(kind), DType::u8, x.device())), -vmath::infinity<double>);
  };
  return with_zero(only(flat, negative)) + with_zero(only(-flat, positive));  // [N H]
}

// ---- as the derivation ends: one node; q and k are turned already

using namespace pointer;

// in: q, k [N,G,T,d], start, end [N,H,T] or undefined.  y = Q + P of each map
// dq = ds k, dk = ds^T q, dstart = row sums of ds, dend = column sums;  ds = e^{s - Q} or -e^{-s - P}
struct PointerLoss final : Op {
  Constant mark, token;
  double scale;
  Index window;
  Tensor logs;  // [N H,4]: Q and P, each as m and rest
  PointerLoss(const Gold& gold, double s, Index w) : mark(gold.mark), token(gold.token), scale(s), window(w) {}
  const char* name() const override { return op; }

  // Calls f(maps, first element of its queries, dots) for block after block, when dots = <q_i, k_j> are there. The memory
  // for them is what bounds a block: in a cache of the CPU, a small part of that of a GPU.
  template <class T, class F> void blocks(In in, const F& f) const {
    const Tensor& q = in[0];
    Device& device = q.device();
    const Index G = q.size(1), L = q.size(2), d = q.size(3), H = mark.get(op).size(1), all = q.size(0) * G;
    if (all == 0 || L == 0) return;
    const Index budget = Index(1) << (device.is_cpu() ? 18 : 24);
    const Index rows = std::clamp<Index>(budget / L, 16, 128), pairs = std::max<Index>(1, budget / (rows * L));
    Tensor none;
    if (!in[2]) none = zeros({q.size(0), H, L}, q.dtype(), device);
    Tensor dots = empty({std::min(pairs, all), std::min(rows, L), L}, q.dtype(), device);
    T* dot = dots.template data_mut<T>();
    Maps<T> maps{dot,
                 (in[2] ? in[2] : none).template data<T>(),
                 (in[3] ? in[3] : none).template data<T>(),
                 mark.get(op).template data<std::uint8_t>(),
                 token.get(op).template data<std::uint8_t>(),
                 T(scale),
                 G,
                 H / G,
                 L,
                 window,
                 {}};
    for (Index p = 0; p < all; p += pairs) {
      for (Index i = 0; i < L; i += rows) {
        const Index n = std::min(rows, L - i), width = window < 0 ? L - i : std::min(L - i, n + std::min(window, L));
        maps.at = {p, std::min(pairs, all - p), i, n, width};
        const Index first = (p * L + i) * d;
        const Gemm product{.transpose_b = true,
                           .m = n,
                           .n = width,
                           .k = d,
                           .batch = maps.at.pairs,
                           .stride_a = L * d,
                           .stride_b = L * d,
                           .stride_c = n * width};
        device.gemm(q.dtype(), product, q.data<T>() + first, in[1].data<T>() + first, dot);
        f(maps, first, dot);
      }
    }
  }

  Tensor forward(In in) override {
    const Tensor& q = in[0];
    const Index NH = q.size(0) * mark.get(op).size(1), L = q.size(2);
    Tensor loss = empty({NH}, q.dtype(), q.device()), parts = empty({NH, 4, L}, q.dtype(), q.device());
    logs = empty({NH, 4}, q.dtype(), q.device());
    dispatch_float(op, q.dtype(), [&]<class T>() {
      T* part = parts.template data_mut<T>();
      blocks<T>(in, [&](const Maps<T>& maps, Index, T*) {
        const Block& at = maps.at;
        launch_rows(q.device(), at.pairs * maps.types * at.rows, at.columns, RowParts<T>{maps, part});
      });
      launch_rows(q.device(), NH, L, MapLoss<T>{L, part, loss.data_mut<T>(), logs.data_mut<T>()});
    });
    return loss;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& q = in[0];
    Device& device = q.device();
    const Index d = q.size(3);
    dispatch_float(op, q.dtype(), [&]<class T>() {
      T* to[4];
      for (int i = 0; i < 4; ++i) to[i] = dx.wants(i) ? dx.into(i).template data_mut<T>() : nullptr;
      const T *g = dy.data<T>(), *log = logs.data<T>();
      Tensor slopes;
      blocks<T>(in, [&](const Maps<T>& maps, Index first, T* dot) {
        const Block& at = maps.at;
        if (!slopes && maps.types > 1)
          slopes = empty({at.pairs * at.rows * maps.length}, q.dtype(), device);  // no later block is larger
        T* ds = maps.types > 1 ? slopes.data_mut<T>() : dot;
        if (to[3]) {
          const EndSlopes<T> ends{maps, g, log, to[3]};
          launch_rows(device, at.pairs * maps.types * ends.stretches(),
                      device.is_cpu() ? at.rows * ends.width : ends.width, ends);
        }
        if (!to[0] && !to[1] && !to[2]) return;
        launch_rows(device, at.pairs * at.rows, at.columns, RowSlopes<T>{maps, g, log, ds, to[2]});
        Gemm product{.accumulate = true,
                     .m = at.rows,
                     .n = d,
                     .k = at.columns,
                     .batch = at.pairs,
                     .stride_a = at.rows * at.columns,
                     .stride_b = maps.length * d,
                     .stride_c = maps.length * d};
        if (to[0]) device.gemm(q.dtype(), product, ds, in[1].data<T>() + first, to[0] + first);
        product.transpose_a = true, std::swap(product.m, product.k);
        if (to[1]) device.gemm(q.dtype(), product, ds, q.data<T>() + first, to[1] + first);
      });
    });
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
  check_same_device(op, q, labels);
  if (mask) check_same_device(op, q, mask);
  const Gold gold{not_zero(labels), mask ? not_zero(mask) : full({N, T}, 1, DType::u8, q->device())};
  check_window(gold, o.window);
  Tensor rows;
  if (o.form == Form::definition) {
    rows = definition(q, k, start, end, gold, o);
  } else {
    const PointerLoss node(gold, o.scale ? 1 / std::sqrt(double(q->size(3))) : 1, o.window);
    rows = o.rope ? apply(PointerLoss(node), At(rope(q), q.line), rope(At(k, q.line)), start, end)
                  : apply(PointerLoss(node), q, k, start, end);
  }
  return reduce_rows(At(rows, q.line), Reduction::mean, double(N));
}

}  // namespace gradus
