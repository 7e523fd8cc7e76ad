#include "losses/softmax/focal.h"

#include "losses/softmax/log_pt.h"
#include "ops/math.h"

namespace gradus {
namespace {

// As the derivation starts.  [N]
Tensor definition(const Tensor& logits, const Tensor& target, const FocalOptions& o) {
  const Tensor l = log_pt_definition(logits, target, o.ignore_index);
  return -label_weights(target, o.alpha, o.ignore_index, logits.dtype()) * pow(1 - exp(l), o.gamma) * l;
}

// y = -(1 - e^l)^gamma l
// dy/dl = -(1 - e^l)^gamma (1 + gamma e^l h),  h = -l / (1 - e^l)
struct Focal {
  static constexpr auto name = "focal";
  double gamma;
  template <class T> HD T modulator(T l) const { return gamma == 0 ? T(1) : vmath::exp(T(gamma) * log1mexp(l)); }
  template <class T> HD T value(T l) const { return l == 0 ? T(0) : -modulator(l) * l; }
  template <class T> HD T slope(T l) const {
    const T p = vmath::exp(l), q = -vmath::expm1(l);
    const T p_h = p == 0 ? T(0) : q == 0 ? T(1) : p * (-l / q);
    return -modulator(l) * (1 + T(gamma) * p_h);
  }
};

}  // namespace

Tensor focal(At logits, const Tensor& target, FocalOptions o) {
  check_labelled_logits("focal", logits, target, o.ignore_index);
  check_class_vector("focal", "alpha", o.alpha, logits);
  if (!(o.gamma >= 0 && o.gamma < vmath::infinity<double>)) {
    fail("focal", "gamma must be a finite number >= 0, got " + std::to_string(o.gamma));
  }
  const Tensor rows = o.form == Form::definition
                          ? definition(logits, target, o)
                          : log_pt(logits, target, Focal{o.gamma}, {.weight = o.alpha, .ignore_index = o.ignore_index});
  return reduce_labelled(At(rows, logits.line), o.reduction, target, o.ignore_index);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  auto all = labelled_samples(
      rng,
      {{"gamma 2", {}}, {"gamma 0", {{"gamma", 0.0}}}, {"gamma 0.5", {{"gamma", 0.5}}}, {"gamma 5", {{"gamma", 5.0}}}});
  for (LossSample& sample : all) {  // where the number of classes is odd
    const Index C = sample.inputs["logits"].size(1);
    if (C % 2) sample.inputs["alpha"] = rand({C}, rng, DType::f64) + 0.5;
  }
  return all;
}

}  // namespace

Losses focal_losses() {
  return {{.name = "focal",
           .family = Family::softmax,
           .formula = "-alpha_t (1 - p_t)^gamma log p_t",
           .seeds = "A027-A030",
           .task = "imbalanced classification",
           .inputs = {{"logits", "[N,C]"}, {"target", "[N]", Kind::integer}, {"alpha", "[C]", Kind::constant, true}},
           .options = {{"gamma", 2.0}, {"ignore_index", -100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return focal(a["logits"], a["target"],
                              {.gamma = a.number("gamma"),
                               .alpha = a["alpha"],
                               .ignore_index = a.integer("ignore_index"),
                               .reduction = a.reduction(),
                               .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
