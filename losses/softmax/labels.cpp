#include "losses/softmax/labels.h"

#include "ops/arithmetic.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/reduce.h"

namespace gradus {

void check_labelled_logits(std::string_view op, const Tensor& logits, const Tensor& target, Index ignore_index) {
  if (!logits || !target) fail(op, "needs logits and a target; one of them is undefined");
  if (logits.rank() != 2 || logits.size(1) == 0) {
    fail(op, "needs logits [N,C] with C >= 1, got " + logits.describe() +
                 "; classes are the last axis, use reshape({-1, C})");
  }
  if (target.shape() != Shape{logits.size(0)}) {
    fail(op, "needs one label for each row: logits " + logits.describe() + ", target " + target.describe());
  }
  check_same_device(op, logits, target);
  check_indices(op, "label", target, logits.size(1), &ignore_index);
}

void check_class_vector(std::string_view op, std::string_view what, const Tensor& vector, const Tensor& logits) {
  if (!vector) return;
  if (vector.shape() != Shape{logits.size(1)}) {
    fail(op, "needs " + std::string(what) + " with a number for each class, [" + std::to_string(logits.size(1)) +
                 "], got " + vector.describe());
  }
  check_same_kind(op, logits, vector);
}

namespace {

template <class T> RowWeight<T> row_weight(const Tensor& labels, const Tensor& weight, Index ignore_index) {
  return {labels.data<Index>(), kept<T>(weight), ignore_index};
}

// ---- 1 / sum_r w_r, 0 where that sum is not positive: sums of blocks of rows, then their sum

constexpr Index rows_per_block = 8192;

template <class T> struct BlockWeights {
  RowWeight<T> weight;
  Index rows;
  double* sums;
  template <class Team> HD void operator()(Index b, Team team) const {
    const Index begin = b * rows_per_block, left = rows - begin, count = left < rows_per_block ? left : rows_per_block;
    const RowWeight<T> w = weight;
    const double s = team.template sum<double>(count, [=](Index j) { return double(w(begin + j)); });
    if (team.leads()) sums[b] = s;
  }
};
template <class T> struct Inverse {
  const double* sums;
  Index blocks;
  T* y;
  template <class Team> HD void operator()(Index, Team team) const {
    const double* from = sums;
    const double total = team.template sum<double>(blocks, [=](Index b) { return from[b]; });
    if (team.leads()) *y = total > 0 ? T(1 / total) : T(0);
  }
};

// [] of the given type
Tensor share_of_a_row(const Tensor& labels, const Tensor& weight, Index ignore_index, DType dtype) {
  Device& device = labels.device();
  const Index N = labels.numel(), blocks = (N + rows_per_block - 1) / rows_per_block;
  Tensor sums = empty({blocks}, DType::f64, device), share = empty({}, dtype, device);
  double* s = sums.data_mut<double>();
  dispatch_float("mean", dtype, [&]<class T>() {
    launch_rows(device, blocks, rows_per_block, BlockWeights<T>{row_weight<T>(labels, weight, ignore_index), N, s});
    launch_rows(device, 1, blocks, Inverse<T>{s, blocks, share.data_mut<T>()});
  });
  return share;
}

// ---- tables

struct LookUp {
  const Index* target;
  Index ignore;
  Index* label;
  std::uint8_t* ignored;
  HD void operator()(Index r) const {
    const bool skip = target[r] == ignore;
    label[r] = skip ? 0 : target[r];
    ignored[r] = skip;
  }
};

template <class T> struct FillWeights {
  RowWeight<T> weight;
  T* y;
  HD void operator()(Index r) const { y[r] = weight(r); }
};

template <class T> struct FillRows {
  RowWeight<T> weight;
  Index classes;
  T* y;
  HD void operator()(Index r, Index c) const { y[r * classes + c] = c == weight.label[r] ? weight(r) : T(0); }
};

}  // namespace

Tensor reduce_labelled(At losses, Reduction reduction, const Tensor& target, Index ignore_index, const Tensor& weight) {
  if (reduction != Reduction::mean) return reduce_rows(losses, reduction, 1);
  const Tensor total = sum(losses);
  const Tensor share = share_of_a_row(as_index("mean", target), weight, ignore_index, losses->dtype());
  return At(total, losses.line) * At(share, losses.line);
}

KeptLabels::KeptLabels(std::string_view op, const Tensor& target, Index ignore_index)
    : labels(empty(target.shape(), DType::i64, target.device())),
      ignored(empty({target.numel(), 1}, DType::u8, target.device())) {
  const Tensor index = as_index(op, target);
  launch(target.device(), target.numel(),
         LookUp{index.data<Index>(), ignore_index, labels.data_mut<Index>(), ignored.data_mut<std::uint8_t>()});
}

Tensor label_weights(const Tensor& target, const Tensor& weight, Index ignore_index, DType dtype) {
  const Tensor index = as_index("label_weights", target);
  Tensor y = empty(target.shape(), dtype, target.device());
  dispatch_float("label_weights", dtype, [&]<class T>() {
    launch(y.device(), y.numel(), FillWeights<T>{row_weight<T>(index, weight, ignore_index), y.data_mut<T>()});
  });
  return y;
}

Tensor label_rows(const Tensor& target, Index classes, const Tensor& weight, Index ignore_index, DType dtype) {
  const Tensor index = as_index("label_rows", target);
  Tensor y = empty({target.numel(), classes}, dtype, target.device());
  dispatch_float("label_rows", dtype, [&]<class T>() {
    launch_grid(y.device(), target.numel(), classes,
                FillRows<T>{row_weight<T>(index, weight, ignore_index), classes, y.data_mut<T>()});
  });
  return y;
}

}  // namespace gradus
