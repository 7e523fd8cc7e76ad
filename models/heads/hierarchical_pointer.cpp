#include "models/heads/hierarchical_pointer.h"

#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// [N,T,T] of the type: 1 at cells i <= j whose tokens the mask keeps
Tensor valid_cells(Index N, Index T, const Tensor& mask, DType dtype) {
  Tensor cells = zeros({N, T, T}, dtype);
  for (Index n = 0; n < N; ++n) {
    for (Index i = 0; i < T; ++i) {
      for (Index j = i; j < T; ++j) {
        const bool kept = !mask || (value_at(mask, n * T + i) != 0 && value_at(mask, n * T + j) != 0);
        if (kept) set_value(cells, (n * T + i) * T + j, 1);
      }
    }
  }
  return cells;
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
  std::vector<Tensor> seen{hidden};
  const Index N = hidden->size(0), T = hidden->size(1);
  const Tensor valid = valid_cells(N, T, mask, hidden->dtype()).reshape({N, 1, T, T}) / double(T);
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

// log prod_{i' <= i, j' >= j} (1 - sigma(s_outer(i',j'))) = sums of -softplus(s_outer) over the cells above and to the right,
// the cell itself included: two products with triangles of ones.
Tensor hierarchy_penalty(At outer, const Tensor& inner, const Tensor& mask) {
  if (!outer.tensor || outer->rank() != 3 || outer->size(1) != outer->size(2) || !inner ||
      inner.shape() != outer->shape()) {
    fail("hierarchy_penalty", "needs scores of outer and inner spans, [N,T,T] each, got " +
                                  (outer.tensor ? outer->describe() : "nothing") + " and " +
                                  (inner ? inner.describe() : "nothing"));
  }
  const Index N = outer->size(0), T = outer->size(1);
  const Tensor valid = valid_cells(N, T, mask, outer->dtype());
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
