// Two stages: a pointer proposes the spans that score best, a classifier looks at each and names it.             [A100]
//
//   f(i,j) = [h_i; h_j; mean of h_i..h_j]        logits = Mlp(f)  over H types and none (the last class)
//
// The pointer prunes T^2 cells to `candidates` for each sentence; only these are pooled. The choice itself has no
// gradient, the features do. A span has one name here: of several gold types the first is taught.
#pragma once
#include "models/heads/global_pointer.h"
#include "models/mlp.h"

namespace gradus {

// The `count` valid spans of each sentence that score highest for any type; ties by place. `head` is the best type.
// scores [N,H,T,T], mask [N,T] or undefined; window: end - begin, -1: any. Reads the scores on the CPU.
std::vector<Span> best_spans(const Tensor& scores, Index count, const Tensor& mask = {}, Index window = -1);

class SpanClassifier final : public Module {
 public:
  GlobalPointer pointer;
  Mlp classifier;  // 3 D -> hidden -> H + 1
  Index candidates;

  SpanClassifier(Index width, Index types, Index head_width, Index hidden, Index count, Rng&& rng,
                 SpanHeadOptions options = {})
      : pointer(width, types, head_width, rng.split(), options),
        classifier({3 * width, hidden, types + 1}, rng.split()),
        candidates(count) {
    check_size("SpanClassifier", "candidates", count);
  }
  void list(Parts& parts) override { parts.add("pointer", pointer), parts.add("classifier", classifier); }

  // Logits of the given spans; their types do not matter.  [N,T,D] -> [spans, H + 1]
  Tensor operator()(At hidden, const std::vector<Span>& spans);
  // Both stages: the pointer's loss, and cross entropy of the candidates and all gold spans.  -> []
  Tensor loss(At hidden, const Tensor& labels, const Tensor& mask = {});
  // Candidates that the classifier gives a type. Sorted.
  std::vector<Span> spans(const Tensor& hidden, const Tensor& mask = {});

 private:
  std::vector<Span> propose(const Tensor& hidden, const Tensor& mask) const;
};

}  // namespace gradus
