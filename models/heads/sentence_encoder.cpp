#include "models/heads/sentence_encoder.h"

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
  const Tensor kept = mask ? not_equal(mask, full({}, 0, mask.dtype())) : ones({N, T}, DType::u8);  // [N,T]
  const Tensor weight = kept.to(hidden->dtype()).reshape({N, T, 1});
  const Tensor some = greater(sum(weight, {1}), full({}, 0, hidden->dtype()));  // [N,1]
  if (pooling == Pooling::mean) {
    const Tensor count = where(some, sum(weight, {1}), full({}, 1, hidden->dtype()));  // a sentence of no token: 0 / 1
    return sum(hidden * weight, {1}) / count;
  }
  const Tensor greatest = max(masked_fill(hidden, logical_not(kept.reshape({N, T, 1})), -1e30), 1);
  return masked_fill(greatest, logical_not(some), 0);
}

}  // namespace gradus
