#include "losses/logsumexp/span_bce.h"

#include <cmath>

#include "losses/logsumexp/log1p_sum_exp.h"
#include "losses/logsumexp/multilabel.h"
#include "losses/logsumexp/span.h"
#include "losses/softmax/bce_math.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

Tensor where_cells_are(const Tensor& cells, Cell state) {
  return equal(cells, full({}, state, DType::u8, cells.device()));
}

// ---- as the formula reads: -y (1 - p)^g log p - (1 - y) p^g log(1 - p), one sum for each row

Tensor definition(const Tensor& scores, const Tensor& cells, double g) {  // [R,n] -> [R]
  const Tensor s = masked_fill(scores, where_cells_are(cells, left_out_cell), 0);
  const Tensor y = where_cells_are(cells, positive_cell).to(s.dtype());
  const Tensor not_y = where_cells_are(cells, negative_cell).to(s.dtype());
  const Tensor hit = y * pow(sigmoid(-s), g) * logsigmoid(s), miss = not_y * pow(sigmoid(s), g) * logsigmoid(-s);
  return -sum(hit + miss, {1});
}

// ---- one node

template <class T> struct CellTerm {
  T value, slope;  // f(z), f'(z)
};
template <class T> [[gnu::always_inline]] inline HD CellTerm<T> cell_term(T z, T g) {
  const Sigmoids<T> s(z);
  const T p = s.yes(), q = s.no(), damping = vmath::exp_below(-g * s.cost_no()),
          weight = g == 0 ? T(1) : damping;  // q^g
  return {weight * s.cost_yes(), -weight * (weighed(g * p, s.cost_yes()) + q)};
}

template <class T> struct CellSum {
  Index n;
  const T* scores;
  const std::uint8_t* cells;
  T g, *loss;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const T *s = scores + r * n, gamma = g;
    const std::uint8_t* cell = cells + r * n;
    const T total = row_sum<T>(team, n, [=](Index j) {
      const T v = cell_term(cell[j] == positive_cell ? s[j] : -s[j], gamma).value;
      return cell[j] == left_out_cell ? T(0) : v;
    });
    if (team.leads()) loss[r] = total;
  }
};

template <class T, bool Add> struct CellGradient {
  Index n;
  const T *dy, *scores;
  const std::uint8_t* cells;
  T g, *ds;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const T *s = scores + r * n, gamma = g, up = dy[r];
    const std::uint8_t* cell = cells + r * n;
    T* to = ds + r * n;
    team.each(n, [=](Index j) {
      const bool right = cell[j] == positive_cell;
      const T slope = cell_term(right ? s[j] : -s[j], gamma).slope;
      const T v = cell[j] == left_out_cell || up == 0 ? T(0) : up * (right ? slope : -slope);
      to[j] = Add ? to[j] + v : v;
    });
  }
};

// in: scores [R,n], cells u8 [R,n].  y_r = sum_j f(z_j), z = s where positive, -s where negative
// dy/ds = f'(s) where positive, -f'(-s) where negative
struct SpanCells final : Op {
  double g;
  explicit SpanCells(double gamma) : g(gamma) {}
  const char* name() const override { return "span_cells"; }
  Tensor forward(In in) override {
    const Tensor& s = in[0];
    Tensor loss = empty({s.size(0)}, s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), s.size(0), s.size(1),
                  CellSum<T>{s.size(1), s.data<T>(), in[1].data<std::uint8_t>(), T(g), loss.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& s = in[0];
    auto [sum, started] = dx.sum(0);
    dispatch_float(name(), s.dtype(), [&, &ds = sum, add = started]<class T>() {
      with_flag(add, [&]<bool Add>() {
        launch_rows(s.device(), s.size(0), s.size(1),
                    CellGradient<T, Add>{s.size(1), dy.data<T>(), s.data<T>(), in[1].data<std::uint8_t>(), T(g),
                                         ds.template data_mut<T>()});
      });
    });
  }
};

Tensor cell_rows(At scores, const Tensor& cells, double g, Form form) {
  return form == Form::definition ? definition(scores, cells, g) : apply(SpanCells(g), scores, cells);
}

// 1 / n^2 or 1 / its valid cells for each text, and 1 / H; 0 for a text without any.
template <class T> struct TextFactor {
  Index n;                    // cells of a text, all types
  const std::uint8_t* cells;  // null: all count
  double most;
  T* factor;
  template <class Team> HD void operator()(Index b, Team team) const {
    const std::uint8_t* text = cells + b * n;
    Index count = n;
    if (cells) count = team.template sum<Index>(n, [=](Index i) { return Index(text[i] != left_out_cell); });
    if (team.leads()) factor[b] = count > 0 ? T(most / double(count)) : T(0);
  }
};

Tensor factors(const Tensor& cells, const BceGlobalPointerOptions& o, DType dtype) {  // [B]
  const Index B = cells.size(0), n = B ? cells.numel() / B : 0;
  Tensor f = empty({B}, dtype, cells.device());
  const bool counts = o.normaliser == SpanNormaliser::valid;
  dispatch_float("bce_global_pointer", dtype, [&]<class T>() {
    launch_rows(cells.device(), B, n,
                TextFactor<T>{n, counts ? cells.data<std::uint8_t>() : nullptr, o.per_head ? 1 : double(cells.size(1)),
                              f.data_mut<T>()});
  });
  return f;
}

}  // namespace

Tensor bce_global_pointer(At scores, const Tensor& labels, BceGlobalPointerOptions o) {
  constexpr auto op = "bce_global_pointer";
  const SpanOptions area{.mask = o.mask, .triangle = o.triangle};
  check_spans(op, scores, labels, area);
  const Index B = scores->size(0), H = scores->size(1), n = scores->size(2);
  const Tensor cells = span_cells(op, labels, area);
  const Tensor flat = scores->reshape({B * H, n * n}, scores.line);
  const Tensor maps = cell_rows(At(flat, scores.line), cells.reshape({B * H, n * n}), 0, o.form);  // [B H]
  const Tensor texts = sum(maps.reshape({B, H}), {1}) * factors(cells, o, scores->dtype());        // [B]
  return reduce_rows(At(texts, scores.line), o.reduction, double(B));
}

Tensor gp_focal(At scores, const Tensor& labels, GpFocalOptions o) {
  constexpr auto op = "gp_focal";
  if (!scores.tensor || !labels) fail(op, "needs scores and labels; one of them is undefined");
  if (labels.shape() != scores->shape()) {
    fail(op, "needs labels of the shape of the scores " + scores->describe() + ", got " + labels.describe());
  }
  check_same_device(op, scores, labels);
  if (!(o.gamma >= 0 && std::isfinite(o.gamma))) fail(op, "gamma must be >= 0, got " + std::to_string(o.gamma));
  const Index n = scores->rank() ? scores->size(-1) : 1, R = n ? scores->numel() / n : 0;
  const Tensor flat = scores->reshape({R, n}, scores.line);
  const Tensor rows = cell_rows(At(flat, scores.line), label_cells(op, labels, {}).reshape({R, n}), o.gamma, o.form);
  return sum(At(rows, scores.line));
}

// ---- for the table of losses

namespace {

// f64, 1 at about one cell in four on and above the diagonal, among the first `tokens` of each text
Tensor random_spans(Index B, Index H, Index n, Rng& rng, Index tokens = 100) {
  Tensor t = zeros({B, H, n, n}, DType::f64);
  for (Index k = 0; k < t.numel(); ++k) {
    const Index i = k / n % n, j = k % n;
    if (i <= j && j < tokens && rng.uniform() < 0.25) set_value(t, k, 1);
  }
  return t;
}

std::vector<LossSample> bce_samples(Rng& rng) {
  const auto scores = [&](Index B, Index H, Index n) { return 2 * randn({B, H, n, n}, rng, DType::f64); };
  const Tensor mask = tensor({1, 1, 0, 1, 1, 0}, {2, 3}, DType::f64);
  return {
      {"all n^2 cells", {{"scores", scores(2, 3, 4)}, {"labels", random_spans(2, 3, 4, rng)}}},
      {"triangle, none",
       {{"scores", scores(3, 1, 5)}, {"labels", random_spans(3, 1, 5, rng)}},
       {{"triangle", true}, {"reduction", "none"}}},
      {"mask, triangle, by valid cells and types",
       {{"scores", scores(2, 2, 3)}, {"labels", random_spans(2, 2, 3, rng, 2)}, {"mask", mask}},
       {{"triangle", true}, {"normaliser", "valid"}, {"per_head", true}, {"reduction", "sum"}}},
      {"padding alone",
       {{"scores", scores(1, 2, 2)}, {"labels", zeros({1, 2, 2, 2}, DType::f64)}, {"mask", zeros({1, 2}, DType::f64)}},
       {{"normaliser", "valid"}}},
      {.what = "scores of 1e4",
       .inputs = {{"scores", 5000 * scores(1, 2, 3)}, {"labels", random_spans(1, 2, 3, rng)}},
       .extreme = true},
  };
}

std::vector<LossSample> focal_samples(Rng& rng) {
  const auto scores = [&](Shape shape) { return 2 * randn(shape, rng, DType::f64); };
  return {
      {"two texts", {{"scores", scores({2, 3, 4, 4})}, {"labels", random_spans(2, 3, 4, rng)}}},
      {"gamma 0", {{"scores", scores({1, 2, 3, 3})}, {"labels", random_spans(1, 2, 3, rng)}}, {{"gamma", 0.0}}},
      {"gamma 3.5, a vector",
       {{"scores", scores({5})}, {"labels", tensor({0, 1, 1, 0, 0}, DType::f64)}},
       {{"gamma", 3.5}}},
      {"no cell", {{"scores", scores({2, 0})}, {"labels", zeros({2, 0}, DType::f64)}}},
      {.what = "scores of 1e4",
       .inputs = {{"scores", tensor({1e4, -1e4, 1e4, -1e4, 9, -9}, {2, 3}, DType::f64)},
                  {"labels", tensor({1, 0, 0, 1, 1, 1}, {2, 3}, DType::f64)}},
       .extreme = true},
      {.what = "a loss of 1e-40",
       .inputs = {{"scores", tensor({25, -24}, {2}, DType::f64)}, {"labels", tensor({1, 0}, {2}, DType::f64)}},
       .extreme = true},
  };
}

}  // namespace

Losses span_bce_losses() {
  return {{.name = "bce_global_pointer",
           .family = Family::logsumexp,
           .formula = "-(1/n^2) sum [y log p + (1-y) log(1-p)]",
           .seeds = "A084",
           .task = "named entities: the baseline",
           .inputs = {{"scores", "[B,H,n,n]"},
                      {"labels", "[B,H,n,n]", Kind::constant},
                      {"mask", "[B,n]", Kind::constant, true}},
           .options =
               {{"triangle", false}, {"normaliser", "n^2", {"n^2", "valid"}}, {"per_head", false}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return bce_global_pointer(
                     a["scores"], a["labels"],
                     {.mask = a["mask"],
                      .triangle = a.flag("triangle"),
                      .normaliser = a.text("normaliser") == "valid" ? SpanNormaliser::valid : SpanNormaliser::n_squared,
                      .per_head = a.flag("per_head"),
                      .reduction = a.reduction(),
                      .form = a.form});
               },
           .samples = bce_samples},
          {.name = "gp_focal",
           .family = Family::logsumexp,
           .formula = "-sum_pos (1-p)^g log p - sum_neg p^g log(1-p)",
           .seeds = "A096",
           .task = "named entities, easy cells discounted",
           .inputs = {{"scores", "[...]"}, {"labels", "[...]", Kind::constant}},
           .options = {{"gamma", 2.0}},
           .run =
               [](const Arguments& a) {
                 return gp_focal(a["scores"], a["labels"], {.gamma = a.number("gamma"), .form = a.form});
               },
           .samples = focal_samples}};
}

}  // namespace gradus
