// Lists of labels made ready for multilabel_ce_sparse: sorted, so that the stretches between them are known.
#pragma once
#include <algorithm>

#include "engine/tensor.h"
#include "ops/launch.h"

namespace gradus {

// On a GPU: the place of a label is the number of smaller ones. P^2 / threads steps a row, for P is small.
struct RankLabels {
  Index most, ignore;
  const Index* labels;
  Index *once, *index, *count;  // once: -1 where a label is ignored or came before
  template <class Team> HD void operator()(Index r, Team team) const {
    const Index n = most, none = ignore;
    const Index* label = labels + r * n;
    Index *kept = once + r * n, *sorted = index + r * n;
    team.each(n, [=](Index k) {
      bool again = label[k] == none;
      for (Index before = 0; before < k; ++before) again = again || label[before] == label[k];
      kept[k] = again ? -1 : label[k];
    });
    const Index known = team.template sum<Index>(n, [=](Index k) { return Index(kept[k] >= 0); });
    team.sync();
    team.each(n, [=](Index k) {
      Index place = 0;
      for (Index other = 0; other < n; ++other) place += kept[other] >= 0 && kept[other] < kept[k];
      if (kept[k] >= 0) sorted[place] = kept[k];
      if (k >= known) sorted[k] = -1;
    });
    if (team.leads()) count[r] = known;
  }
};

// Labels by row, ascending, each once, filled up with -1; and how many there are in each row.
struct SortedLabels {
  Tensor index, count;  // i64 [N,P], [N]
  SortedLabels(const Tensor& labels, Index ignore)
      : index(labels.device().is_cpu() ? labels.clone() : empty(labels.shape(), DType::i64, labels.device())),
        count(empty({labels.size(0)}, DType::i64, labels.device())) {
    const Index N = labels.size(0), P = labels.size(1);
    Index *all = index.data_mut<Index>(), *counts = count.data_mut<Index>();
    if (!labels.device().is_cpu()) {
      Tensor once = empty(labels.shape(), DType::i64, labels.device());
      launch_rows(labels.device(), N, P,
                  RankLabels{P, ignore, labels.data<Index>(), once.data_mut<Index>(), all, counts});
      return;
    }
    parallel_for(N, serial_below / std::max<Index>(1, P), [=](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) {
        Index* row = all + r * P;
        Index* last = std::remove(row, row + P, ignore);
        std::sort(row, last);
        last = std::unique(row, last);
        counts[r] = last - row;
        std::fill(last, row + P, -1);
      }
    });
  }
};

}  // namespace gradus
