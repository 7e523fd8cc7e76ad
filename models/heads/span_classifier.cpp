#include "models/heads/span_classifier.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "losses/softmax/cross_entropy.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/shape_ops.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// A span without its type.
Span untyped(Span s) { return {s.batch, 0, s.begin, s.end}; }

}  // namespace

std::vector<Span> best_spans(const Tensor& scores, Index count, const Tensor& mask) {
  if (!scores || scores.rank() != 4 || scores.size(2) != scores.size(3)) {
    fail("best_spans", "needs scores [N,H,T,T], got " + (scores ? scores.describe() : "nothing"));
  }
  const Index N = scores.size(0), H = scores.size(1), T = scores.size(2);
  struct Scored {
    double score;
    Span span;
  };
  std::vector<Span> best;
  for (Index n = 0; n < N; ++n) {
    std::vector<Scored> all;
    const auto is_token = [&](Index t) { return !mask || value_at(mask, n * T + t) != 0; };
    for (Index i = 0; i < T; ++i) {
      for (Index j = i; j < T; ++j) {
        if (!is_token(i) || !is_token(j)) continue;
        Scored top{-std::numeric_limits<double>::infinity(), {n, 0, i, j}};
        for (Index h = 0; h < H; ++h) {
          const double s = value_at(scores, ((n * H + h) * T + i) * T + j);
          if (s > top.score) top.score = s, top.span.head = h;
        }
        all.push_back(top);
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const Scored& a, const Scored& b) { return a.score > b.score; });
    for (std::size_t k = 0; k < std::min(all.size(), std::size_t(count)); ++k) best.push_back(all[k].span);
  }
  return best;
}

Tensor SpanClassifier::operator()(At hidden, const std::vector<Span>& spans) {
  const Index N = hidden->size(0), T = hidden->size(1), D = hidden->size(2), S = Index(spans.size());
  Tensor first = zeros({S}, DType::i64), last = zeros({S}, DType::i64), inside = zeros({S, N * T}, hidden->dtype());
  for (Index k = 0; k < S; ++k) {
    const Span& s = spans[std::size_t(k)];
    set_value(first, k, double(s.batch * T + s.begin));
    set_value(last, k, double(s.batch * T + s.end));
    for (Index t = s.begin; t <= s.end; ++t) {
      set_value(inside, k * N * T + s.batch * T + t, 1 / double(s.end - s.begin + 1));
    }
  }
  const Tensor tokens = hidden->reshape({N * T, D}, hidden.line);
  const Tensor features =
      cat({index_select(tokens, 0, first), index_select(tokens, 0, last), matmul(inside, tokens)}, 1);
  return classifier(features);
}

Tensor SpanClassifier::loss(At hidden, const Tensor& labels, const Tensor& mask) {
  const Tensor proposal = pointer.loss(hidden, labels, mask);
  std::vector<Span> gold = spans_above(labels, 0.5, mask), chosen;
  {
    const NoGrad no_grad;
    chosen = best_spans(pointer(hidden), candidates, mask);
  }
  // The type of each span; a span of several types is taught the first.
  std::map<Span, Index> type;
  for (const Span& s : chosen) type[untyped(s)] = pointer.types;  // none
  std::set<Span> named;
  for (const Span& s : gold) {
    if (named.insert(untyped(s)).second) type[untyped(s)] = s.head;
  }
  if (type.empty()) return proposal;
  std::vector<Span> spans;
  std::vector<Index> classes;
  for (const auto& [span, head] : type) spans.push_back(span), classes.push_back(head);
  return proposal + cross_entropy((*this)(hidden, spans), gradus::labels(classes));
}

std::vector<Span> SpanClassifier::spans(const Tensor& hidden, const Tensor& mask) {
  const NoGrad no_grad;
  const std::vector<Span> chosen = best_spans(pointer(hidden), candidates, mask);
  std::vector<Span> found;
  if (chosen.empty()) return found;
  const Tensor classes = argmax((*this)(hidden, chosen), 1);
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    const Index head = Index(value_at(classes, Index(k)));
    if (head < pointer.types) found.push_back({chosen[k].batch, head, chosen[k].begin, chosen[k].end});
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace gradus
