#include "losses/reduction.h"

#include "ops/math.h"
#include "ops/reduce.h"

namespace gradus {

Tensor reduce_rows(At losses, Reduction reduction, double divisor) {
  if (reduction == Reduction::none) return losses;
  Tensor total = sum(losses);
  if (reduction == Reduction::sum) return total;
  return At(total, losses.line) * (divisor > 0 ? 1 / divisor : 0.0);
}

Tensor reduce_elements(At losses, Reduction reduction) {
  return reduce_rows(losses, reduction, double(losses->numel()));
}

}  // namespace gradus
