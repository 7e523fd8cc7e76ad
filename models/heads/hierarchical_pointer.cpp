#include "models/heads/hierarchical_pointer.h"

#include <algorithm>

#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

bool is_kept(const Tensor& mask, Index n, Index T, Index t) { return !mask || value_at(mask, n * T + t) != 0; }

// [N,T,T] of the type: 1 at cells i <= j <= i + window whose tokens the mask keeps
Tensor valid_cells(Index N, Index T, const Tensor& mask, Index window, DType dtype) {
  Tensor cells = zeros({N, T, T}, dtype);
  for (Index n = 0; n < N; ++n) {
    for (Index i = 0; i < T; ++i) {
      const Index last = window < 0 ? T - 1 : std::min(T - 1, i + window);
      for (Index j = i; j <= last; ++j) {
        if (is_kept(mask, n, T, i) && is_kept(mask, n, T, j)) set_value(cells, (n * T + i) * T + j, 1);
      }
    }
  }
  return cells;
}

// [N,1,1,1]: 1 / the number of tokens kept; 1 where there is none
Tensor one_over_length(Index N, Index T, const Tensor& mask, DType dtype) {
  Tensor weight = ones({N, 1, 1, 1}, dtype);
  for (Index n = 0; n < N; ++n) {
    Index length = 0;
    for (Index t = 0; t < T; ++t) length += is_kept(mask, n, T, t);
    if (length > 0) set_value(weight, n, 1 / double(length));
  }
  return weight;
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
  const Tensor valid = valid_cells(N, T, mask, layers[0].options.window, hidden->dtype()).reshape({N, 1, T, T}) *
                       one_over_length(N, T, mask, hidden->dtype());
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
  const Tensor valid = valid_cells(N, T, mask, -1, outer->dtype());
  Tensor lower = zeros({T, T}, outer->dtype());
  for (Index i = 0; i < T; ++i) {
    for (Index j = 0; j <= i; ++j) set_value(lower, i * T + j, 1);
  }
  const Tensor free = -(softplus(outer) * valid);            // log(1 - sigma)
  const Tensor around = matmul(matmul(lower, free), lower);  // sum over i' <= i and j' >= j
  const double cells = sum(valid).item();
  return sum(sigmoid(inner) * exp(around) * valid) * (cells > 0 ? 1 / cells : 0.0);
}

}  // namespace gradus
