#include "losses/logsumexp/span.h"

#include <algorithm>

#include "losses/logsumexp/hardest.h"
#include "losses/logsumexp/multilabel.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// Cells of one row of a map: left out when not valid, bad when a label stands on a span that only the window forbids.
struct LeaveOutSpans {
  Index heads, n, window;
  bool triangle;
  const std::uint8_t* token;  // [B,n] or null
  std::uint8_t* cell;
  HD void operator()(Index r, Index j) const {
    const Index i = r % n, apart = j < i ? i - j : j - i;
    const std::uint8_t* text = token ? token + r / (n * heads) * n : nullptr;
    const bool span = (!triangle || i <= j) && (!text || (text[i] != 0 && text[j] != 0));
    const bool far = window >= 0 && apart > window;
    std::uint8_t& c = cell[r * n + j];
    const bool lost = span && far && c == positive_cell;
    c = lost ? std::uint8_t(bad_cell) : span && !far ? c : std::uint8_t(left_out_cell);
  }
};

void mine(const Tensor& scores, Tensor& cells, double percent) {  // [R,n] both
  const Index n = cells.size(1);
  std::uint8_t* cell = cells.data_mut<std::uint8_t>();
  dispatch_float("span_hard_negatives", scores.dtype(), [&]<class T>() {
    launch_rows(cells.device(), cells.size(0), n, KeepHardest<T>{n, percent, scores.data<T>(), cell});
  });
}

// The same by sorting everything, on the CPU.
void mine_by_sorting(const Tensor& scores, Tensor& cells, double percent) {
  const Index R = cells.size(0), n = cells.size(1);
  const Tensor order = argsort(scores.detach(), 1, true).cpu();  // [R,n]
  Tensor chosen = cells.cpu().clone();
  std::uint8_t* cell = chosen.data_mut<std::uint8_t>();
  for (Index r = 0; r < R; ++r, cell += n) {
    const double negatives = double(std::count(cell, cell + n, negative_cell));
    double taken = 0;
    for (Index c = 0; c < n; ++c) {
      std::uint8_t& at = cell[order.data<Index>()[r * n + c]];
      if (at == negative_cell && taken++ >= percent / 100 * negatives) at = left_out_cell;
    }
  }
  cells.copy_from(chosen);
}

// One loss for each map, types summed, reduced over texts.
Tensor reduced(const Tensor& maps, Index B, Index H, Reduction reduction, UserLine line) {
  const Tensor texts = sum(maps.reshape({B, H}), {1});  // [B]
  return reduce_rows(At(texts, line), reduction, double(B));
}

}  // namespace

void check_spans(std::string_view op, const Tensor& scores, const Tensor& labels, const SpanOptions& area) {
  if (!scores || !labels) fail(op, "needs scores and labels; one of them is undefined");
  if (scores.rank() != 4 || scores.size(2) != scores.size(3) || labels.shape() != scores.shape()) {
    fail(op, "needs scores [B,H,n,n] and labels [B,H,n,n], got " + scores.describe() + " and " + labels.describe());
  }
  if (area.mask && area.mask.shape() != Shape{scores.size(0), scores.size(2)}) {
    fail(op, "needs a mask [B,n] for scores " + scores.describe() + ", got " + area.mask.describe());
  }
  check_same_device(op, scores, labels);
  if (area.mask) check_same_device(op, scores, area.mask);
  if (area.window < -1) fail(op, "window must be -1 for any width, or at least 0, got " + std::to_string(area.window));
}

Tensor span_cells(std::string_view op, const Tensor& labels, const SpanOptions& area) {
  const Index H = labels.size(1), n = labels.size(2);
  const Tensor token = area.mask ? not_equal(area.mask, zeros({}, area.mask.dtype(), area.mask.device())) : Tensor();
  Tensor cells = label_cells(op, labels, {});
  std::uint8_t* c = cells.data_mut<std::uint8_t>();
  launch_grid(cells.device(), labels.size(0) * H * n, n,
              LeaveOutSpans{H, n, area.window, area.triangle, kept<std::uint8_t>(token), c});
  if (area.window < 0) return cells;
  if (const Index i = first_bad_cell(cells); i >= 0) {
    fail(op, "the label at " + index_text(labels.shape(), i) + " is wider than the window of " +
                 std::to_string(area.window) + "; widen the window or drop the span");
  }
  return cells;
}

Tensor span_multilabel_ce(At scores, const Tensor& labels, SpanOptions o) {
  constexpr auto op = "span_multilabel_ce";
  check_spans(op, scores, labels, o);
  const Index B = scores->size(0), H = scores->size(1), cells = scores->size(2) * scores->size(3);
  const Tensor state = span_cells(op, labels, o).reshape({B * H, cells});
  const Tensor maps = scores->reshape({B * H, cells}, scores.line);
  return reduced(multilabel_rows(At(maps, scores.line), state, 0, 0, o.form), B, H, o.reduction, scores.line);
}

Tensor span_hard_negatives(At scores, const Tensor& labels, HardNegativeOptions o) {
  constexpr auto op = "span_hard_negatives";
  check_spans(op, scores, labels, o.span);
  if (!(o.percent > 0 && o.percent <= 100)) {
    fail(op, "percent must lie in (0,100], got " + std::to_string(o.percent));
  }
  const Index B = scores->size(0), H = scores->size(1), cells = scores->size(2) * scores->size(3);
  Tensor state = span_cells(op, labels, o.span).reshape({B * H, cells});
  const Tensor maps = scores->reshape({B * H, cells}, scores.line);
  (o.span.form == Form::definition ? mine_by_sorting : mine)(maps, state, o.percent);
  return reduced(multilabel_rows(At(maps, scores.line), state, 0, 0, o.span.form), B, H, o.span.reduction, scores.line);
}

// ---- for the table of losses

namespace {

// f64: in each map the cells of `spans` are 1, as [b,h,i,j] four by four.
Tensor spans(Index B, Index H, Index n, const std::vector<Index>& spans) {
  Tensor t = zeros({B, H, n, n}, DType::f64);
  for (std::size_t k = 0; k < spans.size(); k += 4) {
    set_value(t, ((spans[k] * H + spans[k + 1]) * n + spans[k + 2]) * n + spans[k + 3], 1);
  }
  return t;
}

SpanOptions span_options(const Arguments& a) {
  return {.mask = a["mask"],
          .triangle = a.flag("triangle"),
          .window = a.integer("window"),
          .reduction = a.reduction(),
          .form = a.form};
}

std::vector<LossSample> span_samples(Rng& rng, const Options& more) {
  const auto scores = [&](Index B, Index H, Index n) { return 2 * randn({B, H, n, n}, rng, DType::f64); };
  const auto with = [&](Options o) {
    o.insert(more.begin(), more.end());
    return o;
  };
  const Tensor mask = tensor({1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0}, {3, 4}, DType::f64);
  return {
      {"two texts, three types",
       {{"scores", scores(2, 3, 5)}, {"labels", spans(2, 3, 5, {0, 0, 1, 3, 0, 2, 0, 0, 1, 1, 2, 4})}},
       with({})},
      {"padding, none",
       {{"scores", scores(3, 2, 4)}, {"labels", spans(3, 2, 4, {0, 0, 0, 2, 1, 1, 0, 1})}, {"mask", mask}},
       with({{"reduction", "none"}})},
      {"all cells, sum",
       {{"scores", scores(1, 2, 3)}, {"labels", spans(1, 2, 3, {0, 0, 2, 0, 0, 1, 1, 1})}},
       with({{"triangle", false}, {"reduction", "sum"}})},
      {"a window of 1",
       {{"scores", scores(2, 1, 6)}, {"labels", spans(2, 1, 6, {0, 0, 2, 3, 1, 0, 5, 5})}},
       with({{"window", 1}})},
      {"padding alone",
       {{"scores", scores(1, 2, 3)}, {"labels", spans(1, 2, 3, {})}, {"mask", zeros({1, 3}, DType::f64)}},
       with({})},
      {.what = "scores of 1e4",
       .inputs = {{"scores", 5000 * scores(1, 2, 4)}, {"labels", spans(1, 2, 4, {0, 0, 1, 3, 0, 1, 0, 0})}},
       .options = with({}),
       .extreme = true},
  };
}

std::vector<LossSample> all_negatives(Rng& rng) { return span_samples(rng, {}); }
std::vector<LossSample> hard_negatives(Rng& rng) { return span_samples(rng, {{"percent", 40.0}}); }

const std::vector<InputSpec> map_inputs = {
    {"scores", "[B,H,n,n]"}, {"labels", "[B,H,n,n]", Kind::constant}, {"mask", "[B,n]", Kind::constant, true}};

}  // namespace

Losses span_losses() {
  return {{.name = "span_multilabel_ce",
           .family = Family::logsumexp,
           .formula = "sum_h log(1 + sum_neg e^s) + log(1 + sum_pos e^-s)",
           .seeds = "A085 A086",
           .task = "named entities, nested ones too: GlobalPointer",
           .inputs = map_inputs,
           .options = {{"triangle", true}, {"window", -1}, reduction_option()},
           .run = [](const Arguments& a) { return span_multilabel_ce(a["scores"], a["labels"], span_options(a)); },
           .samples = all_negatives},
          {.name = "span_hard_negatives",
           .family = Family::logsumexp,
           .formula = "sum_h log(1 + sum_hardest_neg e^s) + log(1 + sum_pos e^-s)",
           .seeds = "A097",
           .task = "named entities, from the hardest negatives alone",
           .inputs = map_inputs,
           .options = {{"percent", 10.0}, {"triangle", true}, {"window", -1}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return span_hard_negatives(a["scores"], a["labels"],
                                            {.percent = a.number("percent"), .span = span_options(a)});
               },
           .samples = hard_negatives}};
}

}  // namespace gradus
