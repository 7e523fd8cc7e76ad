#include "losses/logsumexp/info_nce.h"

#include "losses/logsumexp/info_nce_rows.h"
#include "ops/arithmetic.h"
#include "ops/distance.h"
#include "ops/index.h"
#include "ops/shape_ops.h"

namespace gradus {

Tensor info_nce_of_similarity(At similarity, const InfoNceOptions& o) {
  check_temperature("info_nce", o.temperature);
  if (!similarity.tensor) fail("info_nce", "the similarity matrix is undefined");
  const Tensor& s = similarity;
  if (s.rank() != 2 || s.size(0) != s.size(1)) fail("info_nce", "needs a similarity matrix [N,N], got " + s.describe());
  const Index N = s.size(0);
  if (o.ids && (o.ids.rank() != 1 || o.ids.numel() != N)) {
    fail("info_nce", "needs an id for each of " + std::to_string(N) + " rows, got ids " + o.ids.describe());
  }
  const Tensor ids = o.ids ? as_index("info_nce", o.ids).detach() : Tensor();
  Tensor rows = info_nce_rows(similarity, ids, Positives::diagonal, o.temperature, o.form);
  if (o.symmetric) {
    const Tensor turned = transpose(similarity, 0, 1);
    const Tensor columns = info_nce_rows(At(turned, similarity.line), ids, Positives::diagonal, o.temperature, o.form);
    const Tensor both = At(rows, similarity.line) + At(columns, similarity.line);
    rows = At(both, similarity.line) * 0.5;
  }
  return reduce_rows(At(rows, similarity.line), o.reduction, double(N));
}

Tensor info_nce(At q, const Tensor& k, const InfoNceOptions& o) {
  check_views("info_nce", q, k);
  const Tensor similarity = cosine_matrix(q, k);
  return info_nce_of_similarity(At(similarity, q.line), o);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> info_nce_samples(Rng& rng) {
  const auto views = [&](Index N, Index D) {
    return Inputs{{"q", randn({N, D}, rng, DType::f64)}, {"k", randn({N, D}, rng, DType::f64)}};
  };
  Inputs masked = views(6, 4), long_rows = views(5, 3), with_zero = views(3, 2);
  masked["ids"] = labels({0, 1, 0, 2, 2, 0});
  long_rows["q"] = long_rows["q"] * 1e12;
  for (const Index i : {2, 3}) set_value(with_zero["k"], i, 0);
  return {
      {"4 rows, temperature 0.5", views(4, 3), {{"temperature", 0.5}}},
      {"7 rows, symmetric", views(7, 5), {{"temperature", 0.2}, {"symmetric", true}}},
      {"ids, none", masked, {{"temperature", 0.3}, {"symmetric", true}, {"reduction", "none"}}},
      {"default temperature, sum", views(5, 2), {{"reduction", "sum"}}},
      {"one row", views(1, 3)},
      {"no rows", views(0, 3)},
      {.what = "queries of length 1e12", .inputs = long_rows, .extreme = true},
      {.what = "a zero key", .inputs = with_zero, .extreme = true},
  };
}

}  // namespace

Losses info_nce_losses() {
  return {{.name = "info_nce",
           .family = Family::logsumexp,
           .formula = "-log softmax_j(cos(q_i, k_j) / t)_i",
           .seeds = "A072 A080",
           .task = "representations from pairs of views; text and image towers when symmetric",
           .inputs = {{"q", "[N,D]"}, {"k", "[N,D]"}, {"ids", "[N]", Kind::integer, true}},
           .options = {{"temperature", 0.07}, {"symmetric", false}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return info_nce(a["q"], a["k"],
                                 {.temperature = a.number("temperature"),
                                  .symmetric = a.flag("symmetric"),
                                  .ids = a["ids"],
                                  .reduction = a.reduction(),
                                  .form = a.form});
               },
           .samples = info_nce_samples}};
}

}  // namespace gradus
