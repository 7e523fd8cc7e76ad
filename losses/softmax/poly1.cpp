#include "losses/softmax/poly1.h"

#include "losses/softmax/log_pt.h"
#include "ops/math.h"

namespace gradus {
namespace {

// As the derivation starts.  [N]
Tensor definition(const Tensor& logits, const Tensor& target, const Poly1Options& o) {
  const Tensor l = log_pt_definition(logits, target, o.ignore_index);
  return label_weights(target, {}, o.ignore_index, logits.dtype()) * (o.epsilon * (1 - exp(l)) - l);
}

// y = -l + epsilon (1 - e^l)
// dy/dl = -(1 + epsilon e^l)
struct Poly1 {
  static constexpr auto name = "poly1";
  double epsilon;
  template <class T> HD T value(T l) const { return -l - T(epsilon) * vmath::expm1(l); }
  template <class T> HD T slope(T l) const { return -(1 + T(epsilon) * vmath::exp(l)); }
};

}  // namespace

Tensor poly1(At logits, const Tensor& target, Poly1Options o) {
  check_labelled_logits("poly1", logits, target, o.ignore_index);
  if (!std::isfinite(o.epsilon)) fail("poly1", "epsilon must be a finite number, got " + std::to_string(o.epsilon));
  const Tensor rows = o.form == Form::definition
                          ? definition(logits, target, o)
                          : log_pt(logits, target, Poly1{o.epsilon}, {.ignore_index = o.ignore_index});
  return reduce_labelled(At(rows, logits.line), o.reduction, target, o.ignore_index);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  return labelled_samples(rng, {{"epsilon 2", {}}, {"epsilon -1", {{"epsilon", -1.0}}}});
}

}  // namespace

Losses poly1_losses() {
  return {{.name = "poly1",
           .family = Family::softmax,
           .formula = "-log p_t + epsilon (1 - p_t)",
           .seeds = "neighbour",
           .task = "classification",
           .inputs = {{"logits", "[N,C]"}, {"target", "[N]", Kind::integer}},
           .options = {{"epsilon", 2.0}, {"ignore_index", -100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return poly1(a["logits"], a["target"],
                              {.epsilon = a.number("epsilon"),
                               .ignore_index = a.integer("ignore_index"),
                               .reduction = a.reduction(),
                               .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
