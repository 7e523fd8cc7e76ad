#include "losses/logsumexp/hybrid.h"

#include <cmath>

#include "losses/logsumexp/cosent.h"
#include "losses/logsumexp/info_nce.h"
#include "losses/logsumexp/info_nce_rows.h"
#include "losses/logsumexp/weight_of_mean.h"
#include "ops/arithmetic.h"
#include "ops/distance.h"
#include "ops/elementwise.h"
#include "ops/index.h"

namespace gradus {
namespace {

template <class Y, class T> struct Matches {
  const Y* label;
  double from;
  T* match;
  HD void operator()(Index i) const { match[i] = double(label[i]) >= from ? T(1) : T(0); }
};

// [N] 1 where the pair is a match
Tensor matches(const Tensor& labels, double from, DType dtype) {
  Tensor match = empty({labels.numel()}, dtype, labels.device());
  dispatch(labels.dtype(), [&]<class Y>() {
    dispatch_float("hybrid", dtype, [&]<class T>() {
      launch(labels.device(), labels.numel(), Matches<Y, T>{labels.data<Y>(), from, match.data_mut<T>()});
    });
  });
  return match;
}

// [N,N] -> [N]
Tensor diagonal(At x) {
  const Index N = x->size(0);
  return gather(x, 1, arange(N, DType::i64, x->device()).reshape({N, 1})).reshape({N});
}

}  // namespace

Tensor hybrid(At u, const Tensor& v, const Tensor& labels, HybridOptions o) {
  check_views("hybrid", u, v);
  if (!labels || labels.rank() != 1 || labels.numel() != u->size(0)) {
    fail("hybrid", "needs a label for each pair, [" + std::to_string(u->size(0)) + "], got " +
                       (labels ? labels.describe() : "undefined"));
  }
  if (!(o.alpha >= 0 && o.alpha <= 1)) fail("hybrid", "alpha must lie in [0,1], got " + std::to_string(o.alpha));
  if (std::isnan(o.positive_from)) fail("hybrid", "positive_from must not be NaN");
  check_same_device("hybrid", u, labels);
  const UserLine line = u.line;
  const InfoNceOptions contrasts{.temperature = o.temperature, .reduction = Reduction::none, .form = o.form};
  Tensor scores, rows;                                            // [N]
  if (o.form == Form::closed && !info_nce_streams(u->size(0))) {  // one matrix for both
    const Tensor cosines = cosine_matrix(u, v);                   // [N,N]
    scores = diagonal(At(cosines, line));
    rows = info_nce_of_similarity(At(cosines, line), contrasts);
  } else {
    scores = cosine_similarity(u, v);
    rows = info_nce(u, v, contrasts);
  }
  const Tensor ranked = cosent(At(scores, line), labels, {.scale = o.scale, .form = o.form});
  const Tensor weight = weight_of_mean(matches(labels, o.positive_from, u->dtype()));  // [N]
  const Tensor contrast = dot(At(rows, line), weight);                                 // []
  const Tensor first = o.alpha * At(ranked, line), second = (1 - o.alpha) * At(contrast, line);
  return At(first, line) + At(second, line);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> hybrid_samples(Rng& rng) {
  const auto pairs = [&](Index N, Index D) {
    return Inputs{{"u", randn({N, D}, rng, DType::f64)},
                  {"v", randn({N, D}, rng, DType::f64)},
                  {"labels", randint(5, {N}, rng).to(DType::f64) / 4}};
  };
  Inputs with_zero = pairs(4, 3);
  for (const Index i : {3, 4, 5}) set_value(with_zero["u"], i, 0);
  return {
      {"5 pairs", pairs(5, 3)},
      {"8 pairs, matches from 0.5", pairs(8, 4), {{"positive_from", 0.5}, {"scale", 5.0}, {"temperature", 0.2}}},
      {"alpha 0.2", pairs(3, 6), {{"alpha", 0.2}}},
      {"no match", pairs(4, 2), {{"positive_from", 2.0}}},
      {"one pair", pairs(1, 3)},
      {"no pairs", pairs(0, 3)},
      {.what = "a zero vector", .inputs = with_zero, .extreme = true},
  };
}

}  // namespace

Losses hybrid_losses() {
  return {{.name = "hybrid",
           .family = Family::logsumexp,
           .formula = "alpha cosent + (1 - alpha) info_nce",
           .seeds = "A071 A072",
           .task = "sentence similarity",
           .inputs = {{"u", "[N,D]"}, {"v", "[N,D]"}, {"labels", "[N]", Kind::constant}},
           .options = {{"alpha", 0.7},
                       {"scale", 20.0},
                       {"temperature", 0.05},
                       {"positive_from", -std::numeric_limits<double>::infinity()}},
           .run =
               [](const Arguments& a) {
                 return hybrid(a["u"], a["v"], a["labels"],
                               {.alpha = a.number("alpha"),
                                .scale = a.number("scale"),
                                .temperature = a.number("temperature"),
                                .positive_from = a.number("positive_from"),
                                .form = a.form});
               },
           .samples = hybrid_samples}};
}

}  // namespace gradus
