#include "models/heads/sentence_encoder.h"

#include <limits>

#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {

Tensor pool(At hidden, const Tensor& mask, Pooling pooling) {
  if (!hidden.tensor || hidden->rank() != 3 || hidden->size(1) == 0) {
    fail("pool", "needs hidden states [N,T,D] with T >= 1, got " + (hidden.tensor ? hidden->describe() : "nothing"));
  }
  const Index N = hidden->size(0), T = hidden->size(1), D = hidden->size(2);
  if (mask && mask.shape() != Shape{N, T}) {
    fail("pool", "the mask must be [N,T] for " + hidden->describe() + ", got " + mask.describe());
  }
  if (pooling == Pooling::cls) return slice(hidden, 1, 0, 1).reshape({N, D}, hidden.line);
  if (!mask) return pooling == Pooling::mean ? mean(hidden, {1}) : max(hidden, 1);
  const Tensor kept = not_equal(mask, full({}, 0, mask.dtype(), mask.device()));  // [N,T]
  const Tensor count = sum(kept.to(hidden->dtype()), {1}).reshape({N, 1});        // [N,1]
  const Tensor left_out = logical_not(kept).reshape({N, T, 1}),
               none = equal(count, full({}, 0, count.dtype(), count.device()));
  if (pooling == Pooling::mean) {
    return sum(masked_fill(hidden, left_out, 0), {1}) / masked_fill(count, none, 1);  // a sentence of no token: 0 / 1
  }
  const double lowest = hidden->dtype() == DType::f64 ? std::numeric_limits<double>::lowest()
                                                      : double(std::numeric_limits<float>::lowest());
  return masked_fill(max(masked_fill(hidden, left_out, lowest), 1), none, 0);
}

}  // namespace gradus
