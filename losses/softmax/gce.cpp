#include "losses/softmax/gce.h"

#include "losses/softmax/log_pt.h"
#include "ops/math.h"

namespace gradus {
namespace {

// As the derivation starts.  [N]
Tensor definition(const Tensor& logits, const Tensor& target, const GceOptions& o) {
  const Tensor l = log_pt_definition(logits, target, o.ignore_index);
  return label_weights(target, {}, o.ignore_index, logits.dtype()) * (1 - pow(exp(l), o.q)) / o.q;
}

// y = (1 - e^{q l}) / q
// dy/dl = -e^{q l}
struct Gce {
  static constexpr auto name = "gce";
  double q;
  template <class T> HD T value(T l) const { return -vmath::expm1(T(q) * l) / T(q); }
  template <class T> HD T slope(T l) const { return -vmath::exp(T(q) * l); }
};

}  // namespace

Tensor gce(At logits, const Tensor& target, GceOptions o) {
  check_labelled_logits("gce", logits, target, o.ignore_index);
  if (!(o.q > 0 && o.q <= 1)) fail("gce", "q must lie in (0,1], got " + std::to_string(o.q));
  const Tensor rows = o.form == Form::definition ? definition(logits, target, o)
                                                 : log_pt(logits, target, Gce{o.q}, {.ignore_index = o.ignore_index});
  return reduce_labelled(At(rows, logits.line), o.reduction, target, o.ignore_index);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  return labelled_samples(rng, {{"q 0.7", {}}, {"q 1", {{"q", 1.0}}}, {"q 1e-3", {{"q", 1e-3}}}});
}

}  // namespace

Losses gce_losses() {
  return {{.name = "gce",
           .family = Family::softmax,
           .formula = "(1 - p_t^q) / q",
           .seeds = "neighbour",
           .task = "classification with wrong labels",
           .inputs = {{"logits", "[N,C]"}, {"target", "[N]", Kind::integer}},
           .options = {{"q", 0.7}, {"ignore_index", -100}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return gce(a["logits"], a["target"],
                            {.q = a.number("q"),
                             .ignore_index = a.integer("ignore_index"),
                             .reduction = a.reduction(),
                             .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
