// What the losses of this family share: log p_c = (z_c - top) - log_z for each row of logits (losses/softmax/partition.h),
// and the checks of logits and labels.
#pragma once
#include "losses/softmax/partition.h"
#include "ops/elementwise.h"
#include "ops/index.h"

namespace gradus {

template <class T> struct LogPartitionRow {
  const T* logits;
  Index classes;
  T *top, *log_z;  // [N] each
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* z = logits + r * classes;
    const Partition<T> p = partition<T>(team, classes, [=](Index j) { return z[j]; });
    if (team.leads()) {
      top[r] = p.top;
      log_z[r] = p.rest;
    }
  }
};

struct LogPartition {
  Tensor top, log_z;  // [N]
  LogPartition() = default;
  explicit LogPartition(const Tensor& logits)  // [N,C]
      : top(empty({logits.size(0)}, logits.dtype(), logits.device())),
        log_z(empty({logits.size(0)}, logits.dtype(), logits.device())) {
    dispatch_float("log_partition", logits.dtype(), [&]<class T>() {
      launch_rows(
          logits.device(), logits.size(0), logits.size(1),
          LogPartitionRow<T>{logits.data<T>(), logits.size(1), top.template data_mut<T>(), log_z.data_mut<T>()});
    });
  }
};

// A row of log probabilities: log p_c and p_c.
template <class T> struct LogProbabilities {
  const T *logits, *top, *log_z;
  Index classes;
  LogProbabilities(const Tensor& z, const LogPartition& p)
      : logits(z.data<T>()), top(p.top.data<T>()), log_z(p.log_z.data<T>()), classes(z.size(1)) {}
  HD T log_p(Index r, Index c) const { return (logits[r * classes + c] - top[r]) - log_z[r]; }
  HD T nll(Index r, Index c) const { return log_z[r] + (top[r] - logits[r * classes + c]); }
  HD T p(Index r, Index c) const { return vmath::exp(log_p(r, c)); }
  // p_c - [c = t]; at the label as expm1, which keeps its digits where p_t is nearly 1
  HD T p_minus_one_hot(Index r, Index c, Index t) const {
    return c == t ? vmath::expm1(log_p(r, c)) : vmath::exp(log_p(r, c));
  }
};

inline void check_logits(const char* op, const Tensor& logits) {
  if (!logits) fail(op, "the logits are undefined: declared but never assigned");
  if (!is_floating(logits.dtype())) fail(op, "needs f32 or f64 logits, got " + logits.describe());
  if (logits.rank() != 2 || logits.size(1) == 0) {
    fail(op, "needs logits [N,C] with C >= 1, got " + logits.describe() + "; use reshape({-1, C})");
  }
}

// One label for each row, as i64.
inline Tensor checked_labels(const char* op, const char* what, const Tensor& logits, const Tensor& labels) {
  if (!labels) fail(op, std::string(what) + " is undefined: declared but never assigned");
  if (labels.shape() != Shape{logits.size(0)}) {
    fail(op, "needs one label for each row: logits " + logits.describe() + ", " + what + " " + labels.describe());
  }
  check_same_device(op, logits, labels);
  const Tensor index = as_index(op, labels);
  check_indices(op, "label", index, logits.size(1));
  return index;
}

}  // namespace gradus
