#include "losses/logsumexp/info_nce.h"

#include "losses/logsumexp/info_nce_rows.h"
#include "ops/arithmetic.h"
#include "ops/distance.h"
#include "ops/index.h"
#include "ops/normalize.h"
#include "ops/shape_ops.h"

namespace gradus {

namespace {

// ids as i64 for N rows, or undefined
Tensor checked_ids(const InfoNceOptions& o, Index N) {
  if (!o.ids) return {};
  if (o.ids.rank() != 1 || o.ids.numel() != N) {
    fail("info_nce", "needs an id for each of " + std::to_string(N) + " rows, got ids " + o.ids.describe());
  }
  return as_index("info_nce", o.ids).detach();
}

Tensor mean_of(At rows, const Tensor& columns) {
  const Tensor both = rows + At(columns, rows.line);
  return At(both, rows.line) * 0.5;
}

}  // namespace

Tensor info_nce_of_similarity(At similarity, const InfoNceOptions& o) {
  check_temperature("info_nce", o.temperature);
  if (!similarity.tensor) fail("info_nce", "the similarity matrix is undefined");
  const Tensor& s = similarity;
  if (s.rank() != 2 || s.size(0) != s.size(1)) fail("info_nce", "needs a similarity matrix [N,N], got " + s.describe());
  const UserLine line = similarity.line;
  const Tensor ids = checked_ids(o, s.size(0));
  Tensor rows = info_nce_rows(similarity, ids, Positives::diagonal, o.temperature, o.form);
  if (o.symmetric) {
    const Tensor turned = transpose(similarity, 0, 1);
    rows = mean_of(At(rows, line), info_nce_rows(At(turned, line), ids, Positives::diagonal, o.temperature, o.form));
  }
  return reduce_rows(At(rows, line), o.reduction, double(s.size(0)));
}

Tensor info_nce(At q, const Tensor& k, const InfoNceOptions& o) {
  check_temperature("info_nce", o.temperature);
  check_views("info_nce", q, k);
  const UserLine line = q.line;
  const Index N = q->size(0);
  if (o.form == Form::definition || !info_nce_streams(N)) {
    const Tensor similarity = cosine_matrix(q, k);
    return info_nce_of_similarity(At(similarity, line), o);
  }
  const Tensor ids = checked_ids(o, N), a = l2_normalize(q), b = l2_normalize(At(k, line));  // [N,D]
  const auto direction = [&](const Tensor& from, const Tensor& to) {
    return info_nce_products(At(from, line), to, ids, Positives::diagonal, o.temperature, o.form);
  };
  Tensor rows = direction(a, b);
  if (o.symmetric) rows = mean_of(At(rows, line), direction(b, a));
  return reduce_rows(At(rows, line), o.reduction, double(N));
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
