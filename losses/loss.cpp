#include "losses/loss.h"

#include "ops/math.h"
#include "ops/reduce.h"

namespace gradus {

Tensor reduce_rows(At rows, Reduction reduction, double divisor) {
  if (reduction == Reduction::none) return rows;
  Tensor total = sum(rows);
  if (reduction == Reduction::sum) return total;
  return At(total, rows.line) * (divisor > 0 ? 1 / divisor : 0.0);
}

const char* name_of(Family family) {
  constexpr const char* names[] = {"softmax", "logsumexp", "distance", "transport", "combine", "scheme", "metric"};
  return names[int(family)];
}

const LossInfo& find_loss(const std::string& name) {
  std::string known;
  for (const LossInfo& info : all_losses()) {
    if (info.name == name) return info;
    known += (known.empty() ? "" : ", ") + std::string(info.name);
  }
  fail("loss", "there is no loss '" + name + "'; known are: " + known);
}

}  // namespace gradus
