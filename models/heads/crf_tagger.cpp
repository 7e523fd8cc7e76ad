#include "models/heads/crf_tagger.h"

#include <algorithm>

namespace gradus {

Tensor bio_tags(std::vector<Span> spans, Index N, Index T, std::vector<Span>* dropped, Device& device) {
  std::stable_sort(spans.begin(), spans.end(),
                   [](const Span& a, const Span& b) { return a.end - a.begin > b.end - b.begin; });
  std::vector<Index> tags(std::size_t(N * T), 0);
  for (const Span& s : spans) {
    if (s.batch < 0 || s.batch >= N || s.head < 0 || s.begin < 0 || s.begin > s.end || s.end >= T) {
      fail("bio_tags", "the span " + std::to_string(s.begin) + ".." + std::to_string(s.end) + " of type " +
                           std::to_string(s.head) + ", sentence " + std::to_string(s.batch) + ", does not lie in " +
                           Shape({N, T}).text());
    }
    Index* row = tags.data() + s.batch * T;
    if (std::any_of(row + s.begin, row + s.end + 1, [](Index t) { return t != 0; })) {
      if (dropped) dropped->push_back(s);
      continue;
    }
    row[s.begin] = 1 + 2 * s.head;
    std::fill(row + s.begin + 1, row + s.end + 1, 2 + 2 * s.head);
  }
  return labels(tags, device).reshape({N, T});
}

std::vector<Span> spans_of_bio(const Tensor& tags, const Tensor& mask) {
  if (!tags || tags.rank() != 2) fail("spans_of_bio", "needs tags [N,T], got " + (tags ? tags.describe() : "nothing"));
  if (mask && mask.shape() != tags.shape()) {
    fail("spans_of_bio", "the mask must be [N,T] for tags " + tags.describe() + ", got " + mask.describe());
  }
  std::vector<Span> spans;
  const Index T = tags.size(1);
  const std::vector<double> all = tags.to_vector(), token = mask ? mask.to_vector() : std::vector<double>();
  for (Index n = 0; n < tags.size(0); ++n) {
    Index before = 0;
    for (Index t = 0; t < T; ++t) {
      const std::size_t at = std::size_t(n * T + t);
      const Index tag = !mask || token[at] != 0 ? Index(all[at]) : 0, head = (tag - 1) / 2;
      if (tag > 0) {
        const bool goes_on = tag % 2 == 0 && before > 0 && (before - 1) / 2 == head;
        if (goes_on) {
          spans.back().end = t;
        } else {
          spans.push_back({n, head, t, t});
        }
      }
      before = tag;
    }
  }
  return spans;
}

}  // namespace gradus
