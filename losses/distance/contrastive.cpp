#include "losses/distance/contrastive.h"

#include "losses/distance/checks.h"
#include "losses/distance/pair.h"
#include "ops/distance.h"
#include "ops/math.h"

namespace gradus {
namespace {

Tensor definition(const Tensor& x1, const Tensor& x2, const Tensor& y, const ContrastiveOptions& o) {
  const Tensor d = euclidean_distance(x1, x2);  // [N]
  return (o.half ? 0.5 : 1.0) * (y * square(d) + (1.0 - y) * square(relu(o.margin - d)));
}

// y = c (y d^2 + (1 - y) max(0, margin - d)^2)
// dy/dd = 2 c (y d - (1 - y) max(0, margin - d))
struct Contrastive {
  static constexpr auto name = "contrastive";
  using Distance = Euclidean;
  double margin, c;
  template <class T> HD T short_of(T d) const { return d < T(margin) ? T(margin) - d : d != d ? d : T(0); }
  template <class T> HD T value(T d, T y) const {
    const T s = short_of(d);
    return T(c) * ((y == 0 ? T(0) : y * d * d) + (1 - y) * s * s);
  }
  template <class T> HD T slope(T d, T y) const { return 2 * T(c) * (y * d - (1 - y) * short_of(d)); }
};

struct NoShare {
  HD bool operator()(double y) const { return !(y >= 0 && y <= 1); }
};

}  // namespace

Tensor contrastive(At x1, const Tensor& x2, const Tensor& y, ContrastiveOptions o) {
  constexpr auto op = Contrastive::name;
  check_row_pairs(op, x1, x2);
  check_row_labels(op, x1, y);
  check_at_least(op, "margin", o.margin, 0);
  if (const Index r = first_bad(y, NoShare{}); r >= 0) {
    fail(op, "y must lie in [0,1], 1 for similar pairs, got " + std::to_string(value_at(y, r)) + " at [" +
                 std::to_string(r) + "]");
  }
  const Tensor similar = y.detach().to(x1->dtype());
  const Tensor rows = o.form == Form::definition
                          ? definition(x1, x2, similar, o)
                          : apply(Pair(Contrastive{o.margin, o.half ? 0.5 : 1.0}), x1, x2, similar);
  return reduce_elements(At(rows, x1.line), o.reduction);
}

// ---- for the table of losses

namespace {

// Distances around 0.5, 1 and 2.5 in turn, similar and not.
Inputs pairs(Index N, Index D, Rng& rng) {
  const Tensor x = randn({N, D}, rng, DType::f64);
  Tensor z = x.clone(), y = empty({N}, DType::f64);
  for (Index r = 0; r < N; ++r) {
    set_value(y, r, r % 2);
    set_value(z, r * D, value_at(x, r * D) + (r % 3 == 0 ? 0.5 : r % 3 == 1 ? -1.1 : 2.5));
    for (Index k = 1; k < D; ++k) set_value(z, r * D + k, value_at(x, r * D + k) + 0.02 * double(k + r));
  }
  return {{"x1", x}, {"x2", z}, {"y", y}};
}

std::vector<LossSample> contrastive_samples(Rng& rng) {
  const Tensor x = randn({2, 3}, rng, DType::f64), z = randn({2, 3}, rng, DType::f64);
  const Tensor y = tensor({1, 0}, DType::f64);
  Inputs mixed = pairs(4, 2, rng);
  mixed["y"] = tensor({0.25, 0.5, 0, 0.9}, DType::f64);
  return {
      {"mean", pairs(7, 3, rng)},
      {"margin 2, half, none", pairs(6, 4, rng), {{"margin", 2.0}, {"half", true}, {"reduction", "none"}}},
      {"y between 0 and 1, sum", mixed, {{"reduction", "sum"}}},
      {"no rows", pairs(0, 3, rng)},
      {.what = "equal points", .inputs = {{"x1", x}, {"x2", x}, {"y", y}}, .extreme = true},
      {.what = "distances of 1e18",
       .inputs = {{"x1", 1e18 * x}, {"x2", 1e18 * z}, {"y", y}},
       .options = {{"reduction", "none"}},
       .extreme = true},
      {.what = "dissimilar at 1e30, far outside the margin",
       .inputs = {{"x1", 1e30 * x}, {"x2", 1e30 * z}, {"y", 0.0 * y}},
       .options = {{"reduction", "none"}},
       .extreme = true},
      {.what = "distances of 1e-25", .inputs = {{"x1", 1e-25 * x}, {"x2", 1e-25 * z}, {"y", 0.0 * y}}, .extreme = true},
  };
}

}  // namespace

Losses contrastive_losses() {
  return {
      {.name = "contrastive",
       .family = Family::distance,
       .formula = "y d^2 + (1-y) max(0, margin - d)^2, d = |x1-x2|",
       .seeds = "A055 A079",
       .task = "similar and dissimilar pairs",
       .inputs = {{"x1", "[N,D]"}, {"x2", "[N,D]"}, {"y", "[N]", Kind::constant}},
       .options = {{"margin", 1.0}, {"half", false}, reduction_option()},
       .run =
           [](const Arguments& a) {
             return contrastive(
                 a["x1"], a["x2"], a["y"],
                 {.margin = a.number("margin"), .half = a.flag("half"), .reduction = a.reduction(), .form = a.form});
           },
       .samples = contrastive_samples}};
}

}  // namespace gradus
