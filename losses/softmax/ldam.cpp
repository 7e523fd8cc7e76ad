#include "losses/softmax/ldam.h"

#include <cmath>

#include "losses/softmax/class_balanced.h"
#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/log_pt.h"
#include "ops/math.h"

namespace gradus {
namespace {

// m_c = max_m (n_min / n_c)^{1/4}, n_min the least count that is not 0; max_m where the count is 0.  One team for all.
struct Margins {
  const double* n;
  Index classes;
  double max_m;
  double* m;
  template <class Team> HD void operator()(Index, Team team) const {
    const double *counts = n, most = max_m;
    double* to = m;
    const double least = -team.template max<double>(
        classes, [=](Index c) { return counts[c] > 0 ? -counts[c] : -vmath::infinity<double>; });
    team.each(classes, [=](Index c) { to[c] = counts[c] > 0 ? most * std::pow(least / counts[c], 0.25) : most; });
  }
};
Tensor margins(const Tensor& n, double max_m) {
  Tensor m = empty(n.shape(), DType::f64, n.device());
  launch_rows(n.device(), 1, n.numel(), Margins{n.data<double>(), n.numel(), max_m, m.data_mut<double>()});
  return m;
}

// As the derivation starts: cross entropy of the logits, each label's shifted by its margin.
Tensor definition(const Tensor& logits, const Tensor& target, const Tensor& margin, const LdamOptions& o) {
  const Tensor shift = label_rows(target, logits.size(1), margin, o.ignore_index, logits.dtype());  // [N,C] m_t e_t
  return cross_entropy(
      o.s * (logits - shift), target,
      {.weight = o.weight, .ignore_index = o.ignore_index, .reduction = o.reduction, .form = Form::definition});
}

// y = -l
// dy/dl = -1
struct Ldam {
  static constexpr auto name = "ldam";
  template <class T> HD T value(T l) const { return -l; }
  template <class T> HD T slope(T) const { return -1; }
};

}  // namespace

Tensor ldam(At logits, const Tensor& target, const Tensor& class_counts, LdamOptions o) {
  check_labelled_logits("ldam", logits, target, o.ignore_index);
  check_class_vector("ldam", "weight", o.weight, logits);
  if (!(o.max_m >= 0 && std::isfinite(o.max_m))) fail("ldam", "max_m must be >= 0, got " + std::to_string(o.max_m));
  if (!(o.s > 0 && std::isfinite(o.s))) fail("ldam", "s must be > 0, got " + std::to_string(o.s));
  const Tensor counts = checked_class_counts("ldam", class_counts, logits->size(1));
  check_same_device("ldam", logits, class_counts);
  const Tensor m = margins(counts, o.max_m).to(logits->dtype());
  if (o.form == Form::definition) return definition(logits, target, m, o);
  const Tensor rows =
      log_pt(logits, target, Ldam{}, {.weight = o.weight, .margin = m, .ignore_index = o.ignore_index, .scale = o.s});
  return reduce_labelled(At(rows, logits.line), o.reduction, target, o.ignore_index, o.weight);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  std::vector<LossSample> all = labelled_samples(
      rng, {{"s 1", {{"s", 1.0}}}, {"s 4, max_m 0.2", {{"s", 4.0}, {"max_m", 0.2}}}, {"s 1e3", {{"s", 1e3}}}});
  for (LossSample& sample : all) {
    const Index C = sample.inputs["logits"].size(1);
    std::vector<Index> counts;  // 1, 12, 23, ...
    for (Index c = 0; c < C; ++c) counts.push_back(1 + 11 * c);
    sample.inputs["class_counts"] = labels(counts);
    if (C % 2) sample.inputs["weight"] = rand({C}, rng, DType::f64) + 0.5;
  }
  const auto cosines = [&](Index N, Index C) { return 2 * rand({N, C}, rng, DType::f64) - 1; };
  all.push_back(
      {"defaults, an empty class",
       {{"logits", cosines(4, 3)}, {"target", labels({1, 0, 2, 0})}, {"class_counts", labels({500, 0, 20})}}});
  return all;
}

}  // namespace

Losses ldam_losses() {
  return {{.name = "ldam",
           .family = Family::softmax,
           .formula = "CE(s (z - m_t e_t), t), m_c = max_m (n_min / n_c)^(1/4)",
           .seeds = "A038",
           .task = "long-tailed classification",
           .inputs = {{"logits", "[N,C]"},
                      {"target", "[N]", Kind::integer},
                      {"class_counts", "[C]", Kind::integer},
                      {"weight", "[C]", Kind::constant, true}},
           .options = {{"max_m", 0.5}, {"s", 30.0}, {"ignore_index", -100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return ldam(a["logits"], a["target"], a["class_counts"],
                             {.max_m = a.number("max_m"),
                              .s = a.number("s"),
                              .weight = a["weight"],
                              .ignore_index = a.integer("ignore_index"),
                              .reduction = a.reduction(),
                              .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
