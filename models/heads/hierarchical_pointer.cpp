#include "models/heads/hierarchical_pointer.h"

#include <algorithm>

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// 1 at cells i <= j <= i + window whose tokens are kept; rows of [N T]
template <class T> struct ValidCell {
  Index length, window;       // window < 0: any
  const std::uint8_t* token;  // [N,T] or null
  T* cell;
  HD void operator()(Index row, Index j) const {
    const Index i = row % length;
    const std::uint8_t* kept = token ? token + row / length * length : nullptr;
    const bool valid = i <= j && (window < 0 || j - i <= window) && (!kept || (kept[i] != 0 && kept[j] != 0));
    cell[row * length + j] = valid ? T(1) : T(0);
  }
};

// u8 [N,T], not 0 where a token is; undefined when all are.
Tensor tokens_of(const Tensor& mask) {
  return mask ? not_equal(mask, full({}, 0, mask.dtype(), mask.device())) : Tensor();
}

// [N,T,T] like the scores: 1 at valid cells
Tensor valid_cells(Index N, Index T, const Tensor& mask, Index window, const Tensor& like) {
  Tensor cells = empty({N, T, T}, like.dtype(), like.device());
  const Tensor token = tokens_of(mask);
  dispatch_float("HierarchicalGlobalPointer", like.dtype(), [&]<class F>() {
    launch_grid(like.device(), N * T, T,
                ValidCell<F>{T, window, kept<std::uint8_t>(token), cells.template data_mut<F>()});
  });
  return cells;
}

// [N,1,1,1]: 1 / the number of tokens kept; 1 where there is none
Tensor one_over_length(Index N, Index T, const Tensor& mask, const Tensor& like) {
  const Tensor one = ones({}, like.dtype(), like.device());
  if (!mask) return full({N, 1, 1, 1}, T > 0 ? 1 / double(T) : 1, like.dtype(), like.device());
  const Tensor length = sum(tokens_of(mask).to(like.dtype()), {1});  // [N]
  return (one / maximum(length, one)).reshape({N, 1, 1, 1});
}

}  // namespace

HierarchicalGlobalPointer::HierarchicalGlobalPointer(Index width, Index types, Index head_width, Rng&& rng,
                                                     Index num_layers, SpanHeadOptions options) {
  check_size("HierarchicalGlobalPointer", "num_layers", num_layers);
  for (Index k = 0; k < num_layers; ++k) {
    layers.emplace_back(width, types, head_width, rng.split(), options);
    if (k > 0) feedback.emplace_back(2 * types, width, rng.split());
  }
}

std::vector<Tensor> HierarchicalGlobalPointer::inputs(At hidden, const Tensor& mask) const {
  check_sentences("HierarchicalGlobalPointer", hidden, mask);
  std::vector<Tensor> seen{hidden};
  const Index N = hidden->size(0), T = hidden->size(1);
  const Tensor valid = valid_cells(N, T, mask, layers[0].options.window, hidden).reshape({N, 1, T, T}) *
                       one_over_length(N, T, mask, hidden);
  for (std::size_t k = 0; k < feedback.size(); ++k) {
    const Tensor p = sigmoid(layers[k](seen.back())) * valid;                   // [N,H,T,T]
    const Tensor tokens = transpose(cat({sum(p, {3}), sum(p, {2})}, 1), 1, 2);  // [N,T,2H]
    seen.push_back(seen.back() + feedback[k](tokens));
  }
  return seen;
}

std::vector<Tensor> HierarchicalGlobalPointer::operator()(At hidden, const Tensor& mask) const {
  const std::vector<Tensor> seen = inputs(hidden, mask);
  std::vector<Tensor> scores;
  for (std::size_t k = 0; k < layers.size(); ++k) scores.push_back(layers[k](seen[k]));
  return scores;
}

Tensor HierarchicalGlobalPointer::loss(At hidden, const std::vector<Tensor>& labels, const Tensor& mask) const {
  if (labels.size() != layers.size()) {
    fail("HierarchicalGlobalPointer", "needs labels for each of the " + std::to_string(layers.size()) +
                                          " layers, got " + std::to_string(labels.size()));
  }
  const std::vector<Tensor> seen = inputs(hidden, mask);
  Tensor total;
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const Tensor one = layers[k].loss(seen[k], labels[k], mask);
    total = total ? total + one : one;
  }
  return total / double(layers.size());
}

std::vector<Span> HierarchicalGlobalPointer::spans(const Tensor& hidden, const Tensor& mask, double threshold) const {
  const NoGrad no_grad;
  const std::vector<Tensor> seen = inputs(hidden, mask);
  std::vector<Span> found;
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const std::vector<Span> more = layers[k].spans(seen[k], mask, threshold);
    found.insert(found.end(), more.begin(), more.end());
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

// The logarithm of the product is a sum of -softplus(s_outer) over the cells above and to the right, the cell itself
// included: two products with triangles of ones.
Tensor hierarchy_penalty(At outer, const Tensor& inner, const Tensor& mask) {
  if (!outer.tensor || outer->rank() != 3 || outer->size(1) != outer->size(2) || !inner ||
      inner.shape() != outer->shape()) {
    fail("hierarchy_penalty", "needs scores of outer and inner spans, [N,T,T] each, got " +
                                  (outer.tensor ? outer->describe() : "nothing") + " and " +
                                  (inner ? inner.describe() : "nothing"));
  }
  check_sentences("hierarchy_penalty", outer, mask);
  const Index N = outer->size(0), T = outer->size(1);
  const Tensor valid = valid_cells(N, T, mask, -1, outer);
  const Tensor place = arange(T, DType::i64, outer->device());
  const Tensor lower = less_equal(place, place.reshape({T, 1})).to(outer->dtype());  // [T,T]
  const Tensor free = -(softplus(outer) * valid);                                    // log(1 - sigma)
  const Tensor around = matmul(matmul(lower, free), lower);                          // sum over i' <= i and j' >= j
  const Tensor cells = maximum(sum(valid), ones({}, outer->dtype(), outer->device()));
  return sum(sigmoid(inner) * exp(around) * valid) / cells;
}

}  // namespace gradus
