#include "losses/combine/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"

namespace gradus {

DynamicPriority::DynamicPriority(int tasks) : DynamicPriority(tasks, Options()) {}

DynamicPriority::DynamicPriority(int tasks, Options o) : o_(o) {
  if (tasks < 1) fail("dynamic_priority", "needs at least one task, got " + std::to_string(tasks));
  if (!(o.better > 0 && o.stalled > 0 && std::isfinite(o.better) && std::isfinite(o.stalled))) {
    fail("dynamic_priority",
         "the factors must be > 0, got " + std::to_string(o.better) + " and " + std::to_string(o.stalled));
  }
  p_.assign(std::size_t(tasks), 1. / tasks);
  best_.assign(std::size_t(tasks), -std::numeric_limits<double>::infinity());
}

void DynamicPriority::update(const std::vector<double>& metrics) {
  if (metrics.size() != p_.size()) {
    fail("dynamic_priority",
         "needs a metric for each of " + std::to_string(p_.size()) + " tasks, got " + std::to_string(metrics.size()));
  }
  double total = 0;
  for (std::size_t i = 0; i < p_.size(); ++i) {
    const bool better = metrics[i] > best_[i];
    if (better) best_[i] = metrics[i];
    p_[i] = std::max(p_[i] * (better ? o_.better : o_.stalled), std::numeric_limits<double>::min());  // can come back
    total += p_[i];
  }
  for (double& p : p_) p /= total;
}

std::vector<double> dynamic_weight_average(const std::vector<double>& last, const std::vector<double>& before,
                                           DynamicWeightAverageOptions o) {
  constexpr auto op = "dynamic_weight_average";
  if (last.size() != before.size()) {
    fail(op,
         "needs two losses of each task, got " + std::to_string(last.size()) + " and " + std::to_string(before.size()));
  }
  if (!(o.temperature > 0)) fail(op, "the temperature must be > 0, got " + std::to_string(o.temperature));
  std::vector<double> w;
  for (std::size_t i = 0; i < last.size(); ++i) {
    if (!(last[i] >= 0 && before[i] >= 0)) fail(op, "losses must be >= 0, task " + std::to_string(i) + " has another");
    w.push_back((before[i] == 0 ? 1 : last[i] / before[i]) / o.temperature);
  }
  const double top = w.empty() ? 0 : *std::max_element(w.begin(), w.end());
  double total = 0;
  for (double& v : w) total += v = std::exp(v - top);
  for (double& v : w) v *= double(w.size()) / total;
  return w;
}

}  // namespace gradus
