#include "losses/distance/cosine.h"

#include "losses/distance/checks.h"
#include "losses/distance/hinge.h"
#include "losses/distance/pair.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/select.h"

namespace gradus {
namespace {

// y = c
// dy/dc = 1
struct CosineSimilarity {
  static constexpr auto name = "cosine_similarity";
  using Distance = Similarity;
  template <class T> HD T value(T c, T) const { return c; }
  template <class T> HD T slope(T, T) const { return 1; }
};

// y = d where alike, max(0, 1 - d - margin) elsewhere, d = 1 - c
// dy/dd = 1 where alike, -[1 - d >= margin] elsewhere
struct CosineEmbedding {
  static constexpr auto name = "cosine_embedding";
  using Distance = Cosine;
  double margin;
  template <class T> HD T value(T d, T y) const { return y > 0 ? d : hinge(1 - d - T(margin)); }
  template <class T> HD T slope(T d, T y) const { return y > 0 ? T(1) : -hinge_slope(1 - d - T(margin)); }
};

struct NoSign {
  HD bool operator()(double y) const { return y != 1 && y != -1; }
};

Tensor embedding_definition(const Tensor& x1, const Tensor& x2, const Tensor& y, double margin) {
  const Tensor c = cosine_similarity(x1, x2);  // [N]
  return where(greater(y, zeros({}, y.dtype(), y.device())), 1.0 - c, clamp(c - margin, 0, vmath::infinity<double>));
}

}  // namespace

Tensor cosine_similarity(At u, const Tensor& v, CosineOptions o) {
  check_same_shape("cosine_similarity", u, v);
  if (u->rank() == 0) fail("cosine_similarity", "needs vectors [..,D], got " + u->describe());
  if (o.form == Form::definition) return cosine_similarity(u, v);
  return apply(Pair(CosineSimilarity{}), u, v, Tensor());
}

Tensor cosine_embedding(At x1, const Tensor& x2, const Tensor& y, CosineEmbeddingOptions o) {
  constexpr auto op = "cosine_embedding";
  check_row_pairs(op, x1, x2);
  check_row_labels(op, x1, y);
  if (!(o.margin >= -1 && o.margin <= 1)) fail(op, "margin must lie in [-1,1], got " + std::to_string(o.margin));
  if (const Index r = first_bad(y, NoSign{}); r >= 0) {
    fail(op, "y must be 1 (alike) or -1 (not alike), got " + std::to_string(value_at(y, r)) + " at [" +
                 std::to_string(r) + "]");
  }
  const Tensor sign = y.detach().to(x1->dtype());
  const Tensor rows = o.form == Form::definition ? embedding_definition(x1, x2, sign, o.margin)
                                                 : apply(Pair(CosineEmbedding{o.margin}), x1, x2, sign);
  return reduce_elements(At(rows, x1.line), o.reduction);
}

// ---- for the table of losses

namespace {

Inputs two_vectors(const std::vector<double>& u, const std::vector<double>& v) {
  return {{"u", tensor(u, DType::f64)}, {"v", tensor(v, DType::f64)}};
}

std::vector<LossSample> similarity_samples(Rng& rng) {
  const auto random = [&](Index D) -> Inputs {
    return {{"u", randn({D}, rng, DType::f64)}, {"v", randn({D}, rng, DType::f64)}};
  };
  return {
      {"five axes", random(5)},
      {"two axes", random(2)},
      {"33 axes", random(33)},
      {"one axis: 1 or -1", two_vectors({2}, {-3})},
      {.what = "a zero vector", .inputs = two_vectors({0, 0, 0}, {1, 2, 3}), .extreme = true},
      {.what = "no axes", .inputs = two_vectors({}, {}), .extreme = true},
      {.what = "lengths of 1e30 and 1e-30", .inputs = two_vectors({1e30, 2e30, 0}, {1e-30, 0, 3e-30}), .extreme = true},
      {.what = "nearly parallel", .inputs = two_vectors({1, 1e-6, 2}, {2, 0, 4}), .extreme = true},
  };
}

// Cosines clear of the margins 0 and 0.3.
Inputs pairs(Index N, Index D, Rng& rng) {
  const Tensor x = randn({N, D}, rng, DType::f64);
  Tensor z = (x + 0.5 * randn({N, D}, rng, DType::f64)).clone(), y = empty({N}, DType::i64);
  for (Index r = 0; r < N; ++r) {
    set_value(y, r, r % 2 ? -1 : 1);
    if (r % 4 < 2) continue;
    for (Index k = 0; k < D; ++k) set_value(z, r * D + k, -value_at(z, r * D + k));
  }
  return {{"x1", x}, {"x2", z}, {"y", y}};
}

std::vector<LossSample> embedding_samples(Rng& rng) {
  const Tensor x = tensor({1, 2, 3, 4, 5, 6}, {2, 3}, DType::f64), z = tensor({3, 2, 1, 1, 0, 2}, {2, 3}, DType::f64);
  return {
      {"mean", pairs(8, 3, rng)},
      {"margin 0.3, none", pairs(5, 6, rng), {{"margin", 0.3}, {"reduction", "none"}}},
      {"sum", pairs(4, 2, rng), {{"reduction", "sum"}}},
      {"no rows", {{"x1", zeros({0, 3}, DType::f64)}, {"x2", zeros({0, 3}, DType::f64)}, {"y", labels({})}}},
      {.what = "zero vectors", .inputs = {{"x1", 0.0 * x}, {"x2", z}, {"y", labels({1, -1})}}, .extreme = true},
      {.what = "lengths of 1e18 and 1e-18",
       .inputs = {{"x1", 1e18 * x}, {"x2", 1e-18 * z}, {"y", labels({1, -1})}},
       .extreme = true},
      {.what = "1 - cos of 1e-12",
       .inputs = {{"x1", tensor({1, 0}, {1, 2}, DType::f64)},
                  {"x2", tensor({1, 1.5e-6}, {1, 2}, DType::f64)},
                  {"y", labels({1})}},
       .extreme = true},
  };
}

}  // namespace

Losses cosine_losses() {
  return {{.name = "cosine_similarity",
           .family = Family::distance,
           .formula = "<u,v> / (|u| |v|)",
           .seeds = "A060 A063",
           .task = "similarity of sentences and images",
           .inputs = {{"u", "[D]"}, {"v", "[D]"}},
           .options = {},
           .run = [](const Arguments& a) { return cosine_similarity(a["u"], a["v"], {.form = a.form}); },
           .samples = similarity_samples},
          {.name = "cosine_embedding",
           .family = Family::distance,
           .formula = "1 - cos if y = 1 else max(0, cos - margin)",
           .seeds = "A060 A063",
           .task = "similar and dissimilar pairs",
           .inputs = {{"x1", "[N,D]"}, {"x2", "[N,D]"}, {"y", "[N]", Kind::integer}},
           .options = {{"margin", 0.0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return cosine_embedding(a["x1"], a["x2"], a["y"],
                                         {.margin = a.number("margin"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = embedding_samples}};
}

}  // namespace gradus
