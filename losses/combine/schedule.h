// Task weights that are set between steps, from numbers of past steps.             [A136; B136, C75; Liu et al. 2019]
//
// Neither is a loss: they keep no tape and give K weights as constants for weighted_sum (weighted.h).
#pragma once
#include <vector>

namespace gradus {

// Dynamic task priority: a task whose validation metric got better is left alone a while, one that stalls is pushed.
//
//   p_i *= 0.9 where the metric (greater is better) beats its best so far, else p_i *= 1.1;   weights p_i / sum p
//
// A softmax in place of p / sum p would undo itself: softmax of numbers near 1/K is near 1/K, whatever happened before.
// The best so far begins at -inf, so metrics may be negative; a first look counts as better for all.
class DynamicPriority {
 public:
  struct Options {
    double better = 0.9, stalled = 1.1;
  };
  explicit DynamicPriority(int tasks);
  DynamicPriority(int tasks, Options o);

  void update(const std::vector<double>& metrics);           // [K], after a validation
  const std::vector<double>& weights() const { return p_; }  // [K], sum 1

 private:
  Options o_;
  std::vector<double> p_, best_;
};

// Dynamic weight average: tasks whose loss fell least from epoch t-2 to t-1 weigh most.
//
//   w_i = K e^{r_i / T} / sum_j e^{r_j / T},   r_i = L_i(t-1) / L_i(t-2)
//
// T -> infinity: all 1. In the first two epochs there is nothing to compare: use weights 1.
// A loss of 0 two epochs ago has r = 1: it cannot fall further.
struct DynamicWeightAverageOptions {
  double temperature = 2;
};
std::vector<double> dynamic_weight_average(const std::vector<double>& last, const std::vector<double>& before,
                                           DynamicWeightAverageOptions = {});

}  // namespace gradus
