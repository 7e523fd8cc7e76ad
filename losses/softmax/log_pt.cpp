#include "losses/softmax/log_pt.h"

#include <algorithm>

#include "ops/math.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {

Tensor log_pt_definition(At logits, const Tensor& target, Index ignore_index) {
  const KeptLabels t("log_pt", target, ignore_index);
  const Tensor log_p = log_softmax(masked_fill(logits, t.ignored, 0));  // [N,C]
  const Index N = logits->size(0);
  return gather(log_p, 1, t.labels.reshape({N, 1})).reshape({N});
}

std::vector<LossSample> labelled_samples(Rng& rng, const std::vector<Variant>& variants) {
  struct Case {
    Index N, C, ignored;
    const char* reduction;
  };
  constexpr Case cases[] = {
      {6, 4, 0, "mean"}, {3, 2, 0, "none"}, {7, 5, 2, "mean"}, {2, 3, 0, "sum"}, {4, 6, 1, "none"}};
  std::vector<LossSample> samples;
  const auto add = [&](const Variant& v, const Case& x) {
    Tensor target = randint(x.C, {x.N}, rng);
    for (Index r = 0; r < x.ignored; ++r) set_value(target, r, -100);
    samples.push_back({v.what + ", " + std::to_string(x.N) + " rows of " + std::to_string(x.C) + ", " +
                           std::to_string(x.ignored) + " ignored, " + x.reduction,
                       {{"logits", 2 * randn({x.N, x.C}, rng, DType::f64)}, {"target", target}},
                       v.options});
    samples.back().options.insert_or_assign("reduction", x.reduction);
  };
  for (std::size_t i = 0; i < std::max(std::size(cases), variants.size()); ++i) {
    add(variants[i % variants.size()], cases[i % std::size(cases)]);
  }
  add(variants[0], {3, 1, 0, "mean"});
  add(variants[0], {2, 3, 2, "mean"});
  const std::vector<std::pair<const char*, std::vector<double>>> extremes = {{"p_t = 1e-40", {0, 92.1034, -3}},
                                                                             {"p_t = 1 - 1e-26", {60, 0, 0}},
                                                                             {"wrong by 2e4", {-1e4, 1e4, 3}},
                                                                             {"right by 1e4", {1e4, -1e4, 0}}};
  for (const Variant& v : variants) {
    for (const auto& [what, z] : extremes) {
      samples.push_back({.what = v.what + ", " + what,
                         .inputs = {{"logits", tensor(z, {1, 3}, DType::f64)}, {"target", labels({0})}},
                         .options = v.options,
                         .extreme = true});
    }
  }
  return samples;
}

}  // namespace gradus
