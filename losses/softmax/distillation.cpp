#include "losses/softmax/distillation.h"

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/divergence.h"
#include "losses/softmax/divergence_rows.h"
#include "ops/math.h"

namespace gradus {

// Two losses of this folder in their own forms; the sum of their rows is all that is added.
Tensor distillation(At student, const Tensor& teacher, const Tensor& target, DistillationOptions o) {
  constexpr auto op = "distillation";
  check_rows(op, student, teacher, "teacher logits");
  if (!(o.T > 0) || std::isinf(o.T)) fail(op, "T must be above 0, got " + std::to_string(o.T));
  if (!(o.alpha >= 0 && o.alpha <= 1)) fail(op, "alpha must lie in [0,1], got " + std::to_string(o.alpha));
  const Tensor soft = kl_div_logits(student, o.teacher_learns ? teacher : teacher.detach(),
                                    {.temperature = o.T, .reduction = Reduction::none, .form = o.form});
  const Tensor hard = cross_entropy(student, target, {.reduction = Reduction::none, .form = o.form});
  const Tensor rows = At(At(soft, student.line) * (o.alpha * o.T * o.T), student.line) +
                      At(At(hard, student.line) * (1 - o.alpha), student.line);  // [N]
  return reduce_rows(At(rows, student.line), o.reduction, double(student->size(0)));
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto rows = [&](Index N, Index C) {
    return Inputs{{"student", 2 * randn({N, C}, rng, DType::f64)},
                  {"teacher", 2 * randn({N, C}, rng, DType::f64)},
                  {"target", randint(C, {N}, rng)}};
  };
  return {
      {"half and half", rows(5, 4)},
      {"T 3, alpha 0.9, none", rows(3, 2), {{"T", 3.0}, {"alpha", 0.9}, {"reduction", "none"}}},
      {"T 0.5, sum", rows(2, 7), {{"T", 0.5}, {"alpha", 0.3}, {"reduction", "sum"}}},
      {"labels alone", rows(4, 3), {{"alpha", 0.0}}},
      {"teacher alone", rows(4, 3), {{"alpha", 1.0}}},
      {"one class", rows(2, 1)},
      {"no rows", rows(0, 3)},
      {.what = "logits of 1e4",
       .inputs = {{"student", tensor({1e4, -1e4, 0, 9e3}, {2, 2}, DType::f64)},
                  {"teacher", tensor({-1e4, 1e4, 9e3, 0}, {2, 2}, DType::f64)},
                  {"target", labels({1, 1})}},
       .options = {{"T", 4.0}},
       .extreme = true},
  };
}

}  // namespace

Losses distillation_losses() {
  return {{.name = "distillation",
           .family = Family::softmax,
           .formula = "alpha T^2 KL(softmax(v/T) || softmax(z/T)) + (1-alpha) CE(z, t)",
           .seeds = "A145",
           .task = "a small model learns from a large one",
           .inputs = {{"student", "[N,C]"}, {"teacher", "[N,C]", Kind::constant}, {"target", "[N]", Kind::integer}},
           .options = {{"T", 2.0}, {"alpha", 0.5}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return distillation(
                     a["student"], a["teacher"], a["target"],
                     {.T = a.number("T"), .alpha = a.number("alpha"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
