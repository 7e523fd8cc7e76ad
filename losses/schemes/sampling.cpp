#include "losses/schemes/sampling.h"

#include <map>

#include "ops/index.h"

namespace gradus {
std::vector<Index> oversampled_batch(const Tensor& labels, Index size, Rng& rng) {
  const Tensor y = as_index("oversampled_batch", labels).cpu();
  if (y.rank() != 1) fail("oversampled_batch", "needs labels [N], got " + y.describe());
  if (size < 0) fail("oversampled_batch", "size must not be negative, got " + std::to_string(size));
  std::map<Index, std::vector<Index>> rows_of;
  for (Index i = 0; i < y.numel(); ++i) rows_of[y.data<Index>()[i]].push_back(i);
  if (rows_of.empty()) {
    if (size > 0) fail("oversampled_batch", "there are no rows to draw from");
    return {};
  }
  std::vector<const std::vector<Index>*> classes;
  for (const auto& [label, rows] : rows_of) classes.push_back(&rows);
  std::vector<Index> batch;
  for (Index i = 0; i < size; ++i) {
    const std::vector<Index>& rows = *classes[std::size_t(rng.index(Index(classes.size())))];
    batch.push_back(rows[std::size_t(rng.index(Index(rows.size())))]);
  }
  return batch;
}

Tensor inverse_frequency_weights(const Tensor& class_counts) {
  if (!class_counts || class_counts.rank() != 1) fail("inverse_frequency_weights", "needs class counts [C]");
  const Tensor counts = class_counts.cpu();
  const Index C = counts.size(0);
  double N = 0, K = 0;
  for (Index c = 0; c < C; ++c) {
    const double n = value_at(counts, c);
    if (!(n >= 0)) fail("inverse_frequency_weights", "a class count is negative or NaN: " + std::to_string(n));
    N += n, K += n > 0;
  }
  Tensor w = zeros({C}, DType::f64, Device::cpu());
  for (Index c = 0; c < C; ++c) {
    const double n = value_at(counts, c);
    if (n > 0) set_value(w, c, N / (K * n));
  }
  return w.to(class_counts.device());
}

}  // namespace gradus
