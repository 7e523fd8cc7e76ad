#include "losses/logsumexp/multilabel.h"

#include <algorithm>
#include <cmath>

#include "losses/logsumexp/multilabel_sides.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as the derivation starts: two logarithms of two sums on the tape

Tensor hard_definition(const Tensor& s, const Tensor& cells, Shifts shift) {
  const auto side = [&](const Tensor& x, Cell cell) {
    const Tensor others = not_equal(cells, full({}, cell, DType::u8, cells.device()));
    return log1p(sum(exp(masked_fill(x, others, -vmath::infinity<double>)), {1}));  // [N]
  };
  return side(s + shift.down, negative_cell) + side(shift.up - s, positive_cell);
}

// ---- as the derivation ends: one node

// sum_pos e^{up - s} and sum_neg e^{s + down} of a row
template <class T> struct HardRow {
  const T* s;
  const std::uint8_t* cell;
  T down, up;
  HD Two<T> operator()(Index j) const {
    const bool right = cell[j] == positive_cell;
    const T e = vmath::exp_normal(right ? up - s[j] : s[j] + down);
    return {right ? e : T(0), cell[j] == negative_cell ? e : T(0)};
  }
  template <class Team> HD Two<T> sums(Team team, Index n) const { return sum_two<T>(team, n, *this); }
  // Positives are rare: on the CPU most blocks have none, and one sum less.
  HD Two<T> sums(CpuTeam team, Index n) const {
    double positive = 0, negative = 0;
    for (Index b = 0; b < n; b += row_block) {
      const Index size = n - b < row_block ? n - b : row_block;
      const HardRow block{s + b, cell + b, down, up};
      const T *x = block.s, lower = down;
      const std::uint8_t* state = block.cell;
      if (team.sum<std::uint16_t>(size, [=](Index j) { return state[j]; }) == 0) {
        negative += team.sum<T>(size, [=](Index j) { return vmath::exp_normal(x[j] + lower); });
        continue;
      }
      const Two<T> both = sum_two<T>(team, size, block);
      positive += both.a, negative += both.b;
    }
    return {T(positive), T(negative)};
  }
};

template <class T> struct HardLoss {
  Index n;
  const T* scores;
  const std::uint8_t* cells;
  T down, up, *loss;
  Sides<T> sides;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const T *s = scores + r * n, lower = down, raise = up;
    const std::uint8_t* cell = cells + r * n;
    const Two<T> sums = HardRow<T>{s, cell, lower, raise}.sums(team, n);
    const LogSum<T> P = log1p_of_sum(
        team, n, sums.a, [=](Index j) { return cell[j] == positive_cell ? raise - s[j] : -vmath::infinity<T>; });
    const LogSum<T> Q = log1p_of_sum(
        team, n, sums.b, [=](Index j) { return cell[j] == negative_cell ? s[j] + lower : -vmath::infinity<T>; });
    if (team.leads()) {
      loss[r] = P.value() + Q.value();
      sides.keep(r, P, Q);
    }
  }
};

// ds_j = e^{s_j - Q} at a negative, -e^{-s_j - P} at a positive
template <class T, bool Add> struct HardGradient {
  Index n;
  const T *dy, *scores;
  const std::uint8_t* cells;
  T down, up, *ds;
  Sides<T> sides;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const T *s = scores + r * n, lower = down, raise = up, g = dy[r];
    const std::uint8_t* cell = cells + r * n;
    const LogSum<T> P = sides.P(r), Q = sides.Q(r);
    const T pm = P.m, p_rest = P.rest, qm = Q.m, q_rest = Q.rest;
    T* to = ds + r * n;
    team.each(n, [=](Index j) {
      const bool right = cell[j] == positive_cell;
      const T e = vmath::exp_below(right ? ((raise - s[j]) - pm) - p_rest : ((s[j] + lower) - qm) - q_rest);
      const T sign = right ? -g : cell[j] == negative_cell ? g : T(0), v = sign == 0 ? T(0) : sign * e;
      to[j] = Add ? to[j] + v : v;
    });
  }
};

// in: scores [R,n], cells u8 [R,n].  y = P + Q
// dy/ds = [negative] e^{s - Q} - [positive] e^{-s - P}
struct MultilabelHard final : Op {
  Shifts shift;
  Tensor p, q;  // [R,2], for the backward pass
  explicit MultilabelHard(Shifts s) : shift(s) {}
  const char* name() const override { return "multilabel_ce"; }

  Tensor forward(In in) override {
    const Tensor& s = in[0];
    const Index R = s.size(0), n = s.size(1);
    Tensor loss = empty({R}, s.dtype(), s.device());
    p = empty({R, 2}, s.dtype(), s.device());
    q = empty({R, 2}, s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), R, n,
                  HardLoss<T>{n, s.data<T>(), in[1].data<std::uint8_t>(), T(shift.down), T(shift.up),
                              loss.data_mut<T>(), Sides<T>{p.data_mut<T>(), q.data_mut<T>()}});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& s = in[0];
    const Index R = s.size(0), n = s.size(1);
    auto [sum, started] = dx.sum(0);
    dispatch_float(name(), s.dtype(), [&, &ds = sum, add = started]<class T>() {
      with_flag(add, [&]<bool Add>() {
        launch_rows(
            s.device(), R, n,
            HardGradient<T, Add>{n, dy.data<T>(), s.data<T>(), in[1].data<std::uint8_t>(), T(shift.down), T(shift.up),
                                 ds.template data_mut<T>(), Sides<T>{p.data_mut<T>(), q.data_mut<T>()}});
      });
    });
  }
};

// ---- arguments

template <class T> struct MarkCell {
  const T* label;
  std::uint8_t* cell;
  HD void operator()(Index i) const {
    const std::int32_t state = label[i] == T(0) ? negative_cell : label[i] == T(1) ? positive_cell : bad_cell;
    cell[i] = std::uint8_t(state);
  }
};
struct IsBad {
  const std::uint8_t* cell;
  HD bool operator()(Index i) const { return cell[i] == bad_cell; }
};
template <class T> struct LeaveOut {
  const T* mask;
  std::uint8_t* cell;
  HD void operator()(Index i) const { cell[i] = mask[i] == T(0) ? std::uint8_t(left_out_cell) : cell[i]; }
};

}  // namespace

void check_multilabel(std::string_view op, const Tensor& scores, const Tensor& targets, const MultilabelOptions& o) {
  if (!scores || !targets) fail(op, "needs scores and labels; one of them is undefined");
  if (scores.rank() != 2 || targets.shape() != scores.shape()) {
    fail(op, "needs scores [N,C] and labels [N,C], got " + scores.describe() + " and " + targets.describe());
  }
  if (o.mask && o.mask.shape() != scores.shape()) {
    fail(op, "needs a mask of the shape of the scores " + scores.describe() + ", got " + o.mask.describe());
  }
  check_same_device(op, scores, targets);
  if (o.mask) check_same_device(op, scores, o.mask);
  if (!std::isfinite(o.bias) || !std::isfinite(o.margin)) fail(op, "bias and margin must be finite numbers");
}

Index first_bad_cell(const Tensor& cells) {
  const std::uint8_t* cell = cells.data<std::uint8_t>();
  const Index n = cells.numel(), blocks = (n + row_block - 1) / row_block;
  if (cells.device().is_cpu()) {  // a loop that may stop has no vector lanes: first ask whether there is one at all
    std::vector<std::uint16_t> bad(static_cast<std::size_t>(blocks));
    parallel_for(blocks, serial_below / row_block, [&](Index begin, Index end) {
      for (Index b = begin; b < end; ++b) {
        const std::uint8_t* c = cell + b * row_block;
        bad[std::size_t(b)] = CpuTeam{}.sum<std::uint16_t>(std::min(row_block, n - b * row_block),
                                                           [=](Index j) { return c[j] == bad_cell; });
      }
    });
    if (std::all_of(bad.begin(), bad.end(), [](std::uint16_t count) { return count == 0; })) return -1;
  }
  return find_first(cells.device(), n, IsBad{cell});
}

Tensor label_cells(std::string_view op, const Tensor& labels, const Tensor& mask) {
  Tensor cells = empty(labels.shape(), DType::u8, labels.device());
  std::uint8_t* c = cells.data_mut<std::uint8_t>();
  const Index n = labels.numel();
  dispatch(labels.dtype(), [&]<class T>() { launch(cells.device(), n, MarkCell<T>{labels.data<T>(), c}); });
  if (mask) dispatch(mask.dtype(), [&]<class T>() { launch(cells.device(), n, LeaveOut<T>{mask.data<T>(), c}); });
  if (const Index i = first_bad_cell(cells); i >= 0) {
    fail(op, "label " + std::to_string(value_at(labels, i)) + " at " + index_text(labels.shape(), i) +
                 " is neither 0 nor 1; soft labels are for multilabel_ce_soft");
  }
  return cells;
}

Tensor multilabel_rows(At scores, const Tensor& cells, double bias, double margin, Form form) {
  const Shifts shift(bias, margin);
  return form == Form::definition ? hard_definition(scores, cells, shift) : apply(MultilabelHard(shift), scores, cells);
}

Tensor multilabel_ce(At scores, const Tensor& labels, MultilabelOptions o) {
  check_multilabel("multilabel_ce", scores, labels, o);
  const Tensor rows = multilabel_rows(scores, label_cells("multilabel_ce", labels, o.mask), o.bias, o.margin, o.form);
  return reduce_rows(At(rows, scores.line), o.reduction, double(scores->size(0)));
}

// ---- for the table of losses

MultilabelOptions multilabel_options(const Arguments& a) {
  return {.mask = a["mask"],
          .bias = a.number("bias"),
          .margin = a.number("margin"),
          .reduction = a.reduction(),
          .form = a.form};
}

// 0 and 1 with about a third of ones
Tensor some_labels(Shape shape, Rng& rng) {
  return equal(randint(3, shape, rng), zeros({}, DType::i64)).to(DType::f64);
}

namespace {

std::vector<LossSample> hard_samples(Rng& rng) {
  const auto scores = [&](Index N, Index C) { return 2 * randn({N, C}, rng, DType::f64); };
  const auto classes = [&](Index N, Index C) { return some_labels({N, C}, rng); };
  return {
      {"six rows, mean", {{"scores", scores(6, 4)}, {"labels", classes(6, 4)}}},
      {"none", {{"scores", scores(3, 7)}, {"labels", classes(3, 7)}}, {{"reduction", "none"}}},
      {"mask, bias, margin, sum",
       {{"scores", scores(2, 5)}, {"labels", classes(2, 5)}, {"mask", some_labels({2, 5}, rng)}},
       {{"bias", 0.5}, {"margin", 1.0}, {"reduction", "sum"}}},
      {"a long row", {{"scores", scores(1, 300)}, {"labels", classes(1, 300)}}},
      {"no positive, no negative", {{"scores", scores(2, 2)}, {"labels", tensor({0, 0, 1, 1}, {2, 2}, DType::f64)}}},
      {"no class", {{"scores", scores(2, 0)}, {"labels", classes(2, 0)}}},
      {.what = "scores of 1e4",
       .inputs = {{"scores", tensor({1e4, 9999.5, -1e4, -9999, 1e4, -1e4, 1e4, -1e4}, {2, 4}, DType::f64)},
                  {"labels", tensor({0, 0, 1, 1, 1, 0, 1, 0}, {2, 4}, DType::f64)}},
       .extreme = true},
      {.what = "loss of 1e-30",
       .inputs = {{"scores", tensor({70, -69, -71}, {1, 3}, DType::f64)},
                  {"labels", tensor({1, 0, 0}, {1, 3}, DType::f64)}},
       .extreme = true},
  };
}

}  // namespace

Losses multilabel_losses() {
  return {
      {.name = "multilabel_ce",
       .family = Family::logsumexp,
       .formula = "log(1 + sum_neg e^s) + log(1 + sum_pos e^-s)",
       .seeds = "A085 A109 A118 A119",
       .task = "multi-label tagging",
       .inputs = {{"scores", "[N,C]"}, {"labels", "[N,C]", Kind::constant}, {"mask", "[N,C]", Kind::constant, true}},
       .options = {{"bias", 0.0}, {"margin", 0.0}, reduction_option()},
       .run = [](const Arguments& a) { return multilabel_ce(a["scores"], a["labels"], multilabel_options(a)); },
       .samples = hard_samples}};
}

}  // namespace gradus
