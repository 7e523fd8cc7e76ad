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

std::vector<Span> best_spans(const Tensor& scores, Index count, const Tensor& mask, Index window) {
  if (!scores || scores.rank() != 4 || scores.size(2) != scores.size(3)) {
    fail("best_spans", "needs scores [N,H,T,T], got " + (scores ? scores.describe() : "nothing"));
  }
  const Index N = scores.size(0), H = scores.size(1), T = scores.size(2);
  if (mask && mask.shape() != Shape{N, T}) {
    fail("best_spans", "the mask must be [N,T] for " + scores.describe() + ", got " + mask.describe());
  }
  check_size("best_spans", "count", count);
  struct Scored {
    double score;
    Span span;
  };
  std::vector<Span> best;
  const std::vector<double> score = scores.to_vector(), token = mask ? mask.to_vector() : std::vector<double>();
  for (Index n = 0; n < N; ++n) {
    std::vector<Scored> all;
    const auto is_token = [&](Index t) { return !mask || token[std::size_t(n * T + t)] != 0; };
    for (Index i = 0; i < T; ++i) {
      const Index last = window < 0 ? T - 1 : std::min(T - 1, i + window);
      for (Index j = i; j <= last; ++j) {
        if (!is_token(i) || !is_token(j)) continue;
        Scored top{-std::numeric_limits<double>::infinity(), {n, 0, i, j}};
        for (Index h = 0; h < H; ++h) {
          const double s = score[std::size_t(((n * H + h) * T + i) * T + j)];
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

// Means are one matrix product for each sentence: row k of `inside` holds 1 / length at the tokens of its k-th span.
Tensor SpanClassifier::operator()(At hidden, const std::vector<Span>& spans) {
  check_sentences("SpanClassifier", hidden);
  const Index N = hidden->size(0), T = hidden->size(1), D = hidden->size(2), S = Index(spans.size());
  std::vector<Index> first, last, of_sentence, used(std::size_t(N), 0);
  for (const Span& s : spans) {
    if (s.batch < 0 || s.batch >= N || s.begin < 0 || s.begin > s.end || s.end >= T) {
      fail("SpanClassifier", "the span " + std::to_string(s.begin) + ".." + std::to_string(s.end) + " of sentence " +
                                 std::to_string(s.batch) + " does not lie in " + hidden->describe());
    }
    first.push_back(s.batch * T + s.begin), last.push_back(s.batch * T + s.end);
    of_sentence.push_back(used[std::size_t(s.batch)]++);
  }
  const Index most = used.empty() ? 0 : *std::max_element(used.begin(), used.end());
  std::vector<double> inside(std::size_t(N * most * T), 0);
  std::vector<Index> row;
  for (std::size_t k = 0; k < std::size_t(S); ++k) {
    const Span& s = spans[k];
    row.push_back(s.batch * most + of_sentence[k]);
    std::fill_n(inside.begin() + row[k] * T + s.begin, s.end - s.begin + 1, 1 / double(s.end - s.begin + 1));
  }
  const Tensor tokens = hidden->reshape({N * T, D}, hidden.line);
  const Tensor means = matmul(tensor(inside, {N, most, T}, hidden->dtype(), hidden->device()), hidden);
  const auto picked = [&](const Tensor& x, const std::vector<Index>& rows) {
    return index_select(x, 0, gradus::labels(rows, hidden->device()));
  };
  return classifier(cat({picked(tokens, first), picked(tokens, last), picked(means.reshape({N * most, D}), row)}, 1));
}

std::vector<Span> SpanClassifier::propose(const Tensor& hidden, const Tensor& mask) const {
  const NoGrad no_grad;
  return best_spans(pointer(hidden), candidates, mask, pointer.options.window);
}

Tensor SpanClassifier::loss(At hidden, const Tensor& labels, const Tensor& mask) {
  const Tensor proposal = pointer.loss(hidden, labels, mask);
  const std::vector<Span> gold = spans_above(labels, 0.5, mask), chosen = propose(hidden, mask);
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
  return proposal + cross_entropy((*this)(hidden, spans), gradus::labels(classes, hidden->device()));
}

std::vector<Span> SpanClassifier::spans(const Tensor& hidden, const Tensor& mask) {
  const NoGrad no_grad;
  const std::vector<Span> chosen = propose(hidden, mask);
  std::vector<Span> found;
  if (chosen.empty()) return found;
  const std::vector<double> classes = argmax((*this)(hidden, chosen), 1).to_vector();
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    const Index head = Index(classes[k]);
    if (head < pointer.types) found.push_back({chosen[k].batch, head, chosen[k].begin, chosen[k].end});
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace gradus
