// The mean of the losses that count, with their number left on the device: sum_i L_i w_i, w_i = m_i / sum_j m_j.
//
//   m_i is 1 where L_i counts and 0 where not; nothing counts: all w are 0, and so are the loss and its gradient.
#pragma once
#include "engine/tensor.h"
#include "ops/launch.h"

namespace gradus {

template <class T> struct WeightOfMean {
  Index n;
  T* w;  // m, and then w
  template <class Team> HD void operator()(Index, Team team) const {
    T* m = w;
    const T count = team.template sum<T>(n, [=](Index i) { return m[i]; });
    const T share = count > 0 ? 1 / count : T(0);
    team.each(n, [=](Index i) { m[i] *= share; });
  }
};

// counts [N] of 0 and 1, floating: becomes the weights.
inline Tensor weight_of_mean(Tensor counts) {
  dispatch_float("weight_of_mean", counts.dtype(), [&]<class T>() {
    launch_rows(counts.device(), 1, counts.numel(), WeightOfMean<T>{counts.numel(), counts.data_mut<T>()});
  });
  return counts;
}

}  // namespace gradus
