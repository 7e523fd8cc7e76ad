// The proof of a loss: its definition, its closed form and central differences agree, in f64, from a random upstream
// gradient, on every sample that the loss gives of itself. `gradus check` prints it; a test demands it.
#pragma once
#include "losses/loss.h"

namespace gradus {

inline constexpr double forms_tolerance = 1e-10;   // definition against closed form: only rounding differs
inline constexpr double numeric_tolerance = 1e-9;  // against central differences of fourth order

struct LossCheck {
  std::string what;           // the sample
  double value = 0;           // |closed - definition| of the value, relative to max(1, |value|)
  double gradient = 0;        // the same of the gradients, relative to the greatest entry or 1
  double numeric_closed = 0;  // closed form against central differences (engine/grad_check.h)
  double numeric_definition = 0;
  Index kinks = 0;  // derivatives left out because the loss has a corner there
  bool passed = false;
  std::string message;  // why not
};

std::vector<LossCheck> check_loss(const LossInfo& info, std::uint64_t seed = 1);

}  // namespace gradus
