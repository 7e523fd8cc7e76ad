#include "ops/add_rows.h"

#include "ops/launch.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// Threads split the columns, so the order is always that of the indices.
template <class T> void add_rows_on_cpu(const T* x, const Index* index, Index count, Index width, T* y) {
  parallel_for(width, std::max<Index>(16, serial_below / std::max<Index>(1, count)), [=](Index begin, Index end) {
    for (Index k = 0; k < count; ++k) {
#pragma omp simd
      for (Index c = begin; c < end; ++c) y[index[k] * width + c] += x[k * width + c];
    }
  });
}

constexpr Index piece_size = 32;

struct Runs {
  const Index *order, *index;  // order: the k, sorted by index
  Index count;
  HD Index row(Index place) const { return index[order[place]]; }
  HD Index end_of(Index piece) const { return count < (piece + 1) * piece_size ? count : (piece + 1) * piece_size; }
  // The run at the first place of a piece began earlier; the run at its last place goes on in the next piece.
  HD bool enters(Index piece) const { return piece > 0 && row(piece * piece_size) == row(piece * piece_size - 1); }
  HD bool leaves(Index piece) const {
    const Index end = end_of(piece);
    return end < count && row(end) == row(end - 1);
  }
};

template <class T> struct SumPieces {
  Runs runs;
  const T* x;
  Index width;
  T *head, *tail, *y;  // head, tail [pieces,W]
  HD void operator()(Index piece, Index c) const {
    const Index end = runs.end_of(piece);
    bool entered = runs.enters(piece);
    T s = 0;
    Index row = runs.row(piece * piece_size);
    for (Index place = piece * piece_size; place < end; ++place) {
      s += x[runs.order[place] * width + c];
      const Index next = place + 1 < runs.count ? runs.row(place + 1) : -1;
      if (next == row && place + 1 < end) continue;
      if (entered) {
        head[piece * width + c] = s;
      } else if (next == row) {
        tail[piece * width + c] = s;
      } else {
        y[row * width + c] += s;
      }
      entered = false;
      s = 0;
      row = next;
    }
  }
};

template <class T> struct JoinPieces {
  Runs runs;
  Index width;
  const T *head, *tail;
  T* y;
  HD void operator()(Index piece, Index c) const {
    if (!runs.leaves(piece)) return;
    const Index row = runs.row(runs.end_of(piece) - 1);
    if (runs.enters(piece) && runs.row(piece * piece_size) == row) return;  // it began earlier: another thread's
    T s = tail[piece * width + c];
    for (Index next = piece + 1;; ++next) {
      s += head[next * width + c];
      if (!runs.leaves(next) || runs.row(runs.end_of(next) - 1) != row) break;
    }
    y[row * width + c] += s;
  }
};

template <class T> void add_rows_on_device(const Tensor& x, const Tensor& index, Index width, Tensor& y) {
  const Index count = index.numel(), pieces = (count + piece_size - 1) / piece_size;
  const Tensor order = argsort_indices(index, y.numel() / width);
  const Runs runs{order.data<Index>(), index.data<Index>(), count};
  Tensor partial = empty({2, pieces, width}, x.dtype(), x.device());
  T *head = partial.data_mut<T>(), *tail = head + pieces * width, *out = y.data_mut<T>();
  launch_grid(x.device(), pieces, width, SumPieces<T>{runs, x.data<T>(), width, head, tail, out});
  if (pieces > 1) launch_grid(x.device(), pieces, width, JoinPieces<T>{runs, width, head, tail, out});
}

}  // namespace

void add_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  if (x.numel() == 0) return;
  const Index width = x.numel() / index.numel();
  dispatch_float("add_rows", x.dtype(), [&]<class T>() {
    if (!x.device().is_cpu()) return add_rows_on_device<T>(x, index, width, y);
    add_rows_on_cpu(x.data<T>(), index.data<Index>(), index.numel(), width, y.data_mut<T>());
  });
}

}  // namespace gradus
