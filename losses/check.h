// The proof of a loss: its definition, its closed form and central differences agree in f64, from a random upstream
// gradient, and the closed form in f32 stays near the one in f64, on every sample that the loss gives of itself.
// `gradus check` prints it; a test demands it.
#pragma once
#include "losses/loss.h"

namespace gradus {

inline constexpr double forms_tolerance = 1e-10;   // definition against closed form: only rounding differs
inline constexpr double numeric_tolerance = 1e-7;  // against central differences of fourth order
inline constexpr double f32_tolerance = 2e-5;      // f32 against f64, both from inputs rounded to f32

// Relative errors; NaN where there is nothing to compare (a metric has no gradient, an extreme sample no differences).
struct LossCheck {
  std::string what;           // the sample
  double value = 0;           // |closed - definition| of the value, relative to its greatest entry or 1
  double gradient = 0;        // the same of the gradients
  double numeric_closed = 0;  // closed form against central differences (engine/grad_check.h)
  double numeric_definition = 0;
  double f32 = 0;   // the worse of value and gradients, relative to the greatest entry or 1; extreme samples: no "or 1"
  Index kinks = 0;  // derivatives left out because the loss has a corner there
  bool passed = false;
  std::string message;  // why not
};

std::vector<LossCheck> check_loss(const LossInfo& info, std::uint64_t seed = 1);

// The value and the gradients of all real inputs, from a random upstream gradient.
struct Evaluated {
  std::vector<double> value;
  std::map<std::string, std::vector<double>> gradients;
};
Evaluated evaluate(const LossInfo& info, const LossSample& sample, Form form, DType dtype = DType::f64,
                   std::uint64_t seed = 1);

}  // namespace gradus
