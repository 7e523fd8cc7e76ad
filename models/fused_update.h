// One optimizer step over all parameters. On the CPU each parameter is a loop; on a GPU, where a launch costs as much as
// the update of a small tensor, up to 32 parameters share one kernel that looks up which of them its element belongs to.
//
// A Rule states the update of one element and, apart from it, what depends on the step count t and the learning rate:
//
//   struct Rule {
//     static constexpr int rates = 2, averages = 1;
//     HD void at(double lr, Index t, double* rate) const;                // rate[0..rates) for step t = 1, 2, ...
//     template <class T> HD void operator()(const T* rate, T g, T& p, T* averages...) const;  // see Element
//   };
//
// On a GPU step count and learning rate are read from GPU memory, so a captured step goes on counting when it is replayed.
#pragma once
#include "models/optimizer.h"
#include "ops/launch.h"

namespace gradus {

template <class T, class Rule> struct UpdateElement {
  Rule rule;
  T rate[Rule::rates];
  const T* g;
  T *p, *first, *second;  // averages; null where the rule has none
  HD void operator()(Index i) const {
    rule(rate, g[i], p[i], Rule::averages > 0 ? first + i : nullptr, Rule::averages > 1 ? second + i : nullptr);
  }
};

template <class T, class Rule> UpdateElement<T, Rule> element_of(const Rule& rule, const Update& u) {
  const auto average = [&](std::size_t k) { return k < u.averages.size() ? u.averages[k].data_mut<T>() : nullptr; };
  Tensor p = u.parameter;
  return {rule, {}, u.gradient.data<T>(), p.data_mut<T>(), average(0), average(1)};
}

inline constexpr int fused_most = 32;

// steps[k] += 1 and the rates of that step, for the parameters of one launch
template <class Rule> struct Advance {
  Rule rule;
  const double* lr;
  Index* steps;
  double* rates;  // [P, Rule::rates]
  Index place[fused_most];
  HD void operator()(Index j) const {
    const Index k = place[j];
    steps[k] += 1;
    rule.at(*lr, steps[k], rates + k * Rule::rates);
  }
};

// Element i of the parameters of one launch, laid end to end: part k ends before end[k].
template <class T, class Rule> struct UpdateAll {
  UpdateElement<T, Rule> part[fused_most];
  Index end[fused_most], place[fused_most];
  const double* rates;
  HD void operator()(Index i) const {
    int k = 0;
    while (i >= end[k]) ++k;
    UpdateElement<T, Rule> element = part[k];
    for (int r = 0; r < Rule::rates; ++r) element.rate[r] = T(rates[place[k] * Rule::rates + r]);
    element(k > 0 ? i - end[k - 1] : i);
  }
};

template <class T, class Rule> void update_on_cpu(const Rule& rule, const Update& u, UpdateClock& clock) {
  UpdateElement<T, Rule> element = element_of<T>(rule, u);
  double rates[Rule::rates];
  rule.at(clock.lr, ++clock.steps.data_mut<Index>()[u.place], rates);
  for (int r = 0; r < Rule::rates; ++r) element.rate[r] = T(rates[r]);
  launch(u.parameter.device(), u.parameter.numel(), element);
}

template <class T, class Rule>
void update_fused(const Rule& rule, std::span<const Update> some, UpdateClock& clock, Tensor& rates) {
  Device& device = rates.device();
  Advance<Rule> advance{
      rule, clock.lr_on_device.data<double>(), clock.steps.data_mut<Index>(), rates.data_mut<double>(), {}};
  UpdateAll<T, Rule> update{};
  update.rates = rates.data<double>();
  Index end = 0;
  for (std::size_t k = 0; k < some.size(); ++k) {
    update.part[k] = element_of<T>(rule, some[k]);
    end += some[k].parameter.numel();
    update.end[k] = end;
    update.place[k] = advance.place[k] = some[k].place;
  }
  launch(device, Index(some.size()), advance);
  launch(device, end, update);
}

template <class Rule>
void update_all(const char* op, const Rule& rule, const std::vector<Update>& all, UpdateClock clock) {
  Tensor rates;
  for (std::size_t k = 0; k < all.size();) {
    const DType dtype = all[k].parameter.dtype();
    Device& device = all[k].parameter.device();
    if (device.is_cpu()) {
      dispatch_float(op, dtype, [&]<class T>() { update_on_cpu<T>(rule, all[k], clock); });
      ++k;
      continue;
    }
    if (!rates) rates = empty({clock.steps.numel(), Index(Rule::rates)}, DType::f64, device);
    std::size_t end = k;  // a run of one type, at most as long as a launch takes
    while (end < all.size() && end - k < fused_most && all[end].parameter.dtype() == dtype) ++end;
    const std::span<const Update> some(all.data() + k, end - k);
    dispatch_float(op, dtype, [&]<class T>() { update_fused<T>(rule, some, clock, rates); });
    k = end;
  }
}

}  // namespace gradus
