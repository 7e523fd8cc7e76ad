#include "losses/metrics/span_f1.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "ops/math.h"
#include "ops/select.h"

namespace gradus {
namespace {

void keep_one_of_each(std::vector<Span>& spans) {
  std::sort(spans.begin(), spans.end());
  spans.erase(std::unique(spans.begin(), spans.end()), spans.end());
}

Index common(const std::vector<Span>& a, const std::vector<Span>& b) {  // both sorted
  std::vector<Span> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return Index(both.size());
}

// The gold intervals of one sentence, whatever their label.
using Intervals = std::set<std::pair<Index, Index>>;

std::size_t depth_of(const Span& s, const Intervals& gold) {
  std::size_t depth = 0;
  for (const auto& [begin, end] : gold) { depth += begin <= s.begin && s.end <= end && end - begin > s.end - s.begin; }
  return depth;
}

void check_scores(const Tensor& scores, const Tensor& mask) {
  if (!scores || scores.rank() != 4 || scores.size(2) != scores.size(3)) fail("span_f1", "needs scores [B,H,n,n]");
  if (mask && mask.shape() != Shape{scores.size(0), scores.size(2)}) {
    fail("span_f1", "needs a mask [B,n] beside scores " + scores.describe() + ", got " + mask.describe());
  }
}

// f(i, span) for every place of the scores that is a span.
template <class F> void for_each_span(const Tensor& scores, const Tensor& mask, const F& f) {
  const Index H = scores.size(1), n = scores.size(2);
  const std::vector<double> in_mask = mask ? mask.to_vector() : std::vector<double>();
  const auto inside = [&](Index b, Index t) { return !mask || in_mask[std::size_t(b * n + t)] != 0; };
  for (Index i = 0; i < scores.numel(); ++i) {
    const Span s{i / (H * n * n), i / (n * n) % H, i / n % n, i % n};
    if (s.begin <= s.end && inside(s.batch, s.begin) && inside(s.batch, s.end)) f(i, s);
  }
}

}  // namespace

PrecisionRecall span_f1(std::vector<Span> predicted, std::vector<Span> gold) {
  keep_one_of_each(predicted);
  keep_one_of_each(gold);
  return precision_recall(common(predicted, gold), Index(predicted.size()), Index(gold.size()));
}

std::vector<PrecisionRecall> span_f1_by_depth(std::vector<Span> predicted, std::vector<Span> gold) {
  keep_one_of_each(predicted);
  keep_one_of_each(gold);
  std::map<Index, Intervals> sentences;
  for (const Span& s : gold) sentences[s.batch].insert({s.begin, s.end});
  std::vector<std::vector<Span>> P, G;
  const auto sort_in = [&](const std::vector<Span>& spans, std::vector<std::vector<Span>>& by_depth) {
    for (const Span& s : spans) {
      const std::size_t d = depth_of(s, sentences[s.batch]);
      if (d >= P.size()) P.resize(d + 1), G.resize(d + 1);
      by_depth[d].push_back(s);
    }
  };
  sort_in(gold, G);
  sort_in(predicted, P);
  std::vector<PrecisionRecall> out;
  for (std::size_t d = 0; d < P.size(); ++d) {
    out.push_back(precision_recall(common(P[d], G[d]), Index(P[d].size()), Index(G[d].size())));
  }
  return out;
}

std::vector<Span> spans_above(const Tensor& scores, double threshold, const Tensor& mask) {
  check_scores(scores, mask);
  const std::vector<double> score = scores.to_vector();
  std::vector<Span> spans;
  for_each_span(scores, mask, [&](Index i, const Span& s) {
    if (score[std::size_t(i)] > threshold) spans.push_back(s);
  });
  return spans;
}

PrecisionRecall span_f1(const Tensor& scores, const Tensor& labels, const Tensor& mask, SpanScoreOptions o) {
  check_scores(scores, mask);
  if (!labels || labels.shape() != scores.shape()) {
    fail("span_f1", "needs labels of the shape of the scores, " + scores.describe());
  }
  if (o.form == Form::definition) {
    return span_f1(spans_above(scores, o.threshold, mask), spans_above(labels, 0.5, mask));
  }
  const std::vector<double> score = scores.to_vector(), label = labels.to_vector();
  Index hit = 0, predicted = 0, gold = 0;
  for_each_span(scores, mask, [&](Index i, const Span&) {
    const bool p = score[std::size_t(i)] > o.threshold, g = label[std::size_t(i)] > 0.5;
    hit += p && g, predicted += p, gold += g;
  });
  return precision_recall(hit, predicted, gold);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> span_samples(Rng& rng) {
  const auto inputs = [&](Index B, Index H, Index n) {
    const Tensor chosen = greater(randn({B, H, n, n}, rng, DType::f64), zeros({}, DType::f64));
    return Inputs{{"scores", randn({B, H, n, n}, rng, DType::f64)}, {"labels", chosen.to(DType::f64)}};
  };
  Inputs masked = inputs(2, 2, 3);
  masked["mask"] = tensor({1, 1, 0, 1, 1, 1}, {2, 3}, DType::f64);
  return {
      {"2 sentences, 3 labels, 4 positions", inputs(2, 3, 4)},
      {"masked", masked},
      {"threshold 0.5", inputs(1, 1, 6), {{"threshold", 0.5}}},
      {"nothing is above", inputs(1, 2, 3), {{"threshold", 100.0}}},
      {"no sentences", inputs(0, 2, 3)},
  };
}

}  // namespace

Losses span_f1_losses() {
  return {
      {.name = "span_f1",
       .family = Family::metric,
       .formula = "2 |P and G| / (|P| + |G|)",
       .seeds = "A173",
       .task = "entity recognition, nested or not",
       .inputs = {{"scores", "[B,H,n,n]", Kind::constant},
                  {"labels", "[B,H,n,n]", Kind::constant},
                  {"mask", "[B,n]", Kind::constant, true}},
       .options = {{"threshold", 0.0}},
       .run =
           [](const Arguments& a) {
             const PrecisionRecall r = span_f1(a["scores"], a["labels"], a["mask"], {a.number("threshold"), a.form});
             return full({}, r.f1, a["scores"].dtype(), a["scores"].device());
           },
       .samples = span_samples}};
}

}  // namespace gradus
