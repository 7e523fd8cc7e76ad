// `gradus check NAME|all`: definition = closed form = central differences, with the worst relative error of each.
#include <algorithm>
#include <cstdio>

#include "losses/check.h"
#include "tutorials/cli/commands.h"

namespace gradus::cli {
namespace {

bool check_one(const LossInfo& info) {
  std::printf("%s: %s\n", info.name, info.formula);
  std::printf("  %-42s %11s %11s %11s %11s\n", "", "forms:", "forms:", "numeric:", "numeric:");
  std::printf("  %-42s %11s %11s %11s %11s\n", "sample", "value", "gradient", "closed", "definition");
  LossCheck worst{.what = "worst"};
  worst.passed = true;
  for (const LossCheck& c : check_loss(info)) {
    std::printf("  %-42s %11.1e %11.1e %11.1e %11.1e%s\n", c.what.c_str(), c.value, c.gradient, c.numeric_closed,
                c.numeric_definition, c.passed ? "" : "  FAILED");
    if (!c.passed) std::printf("    %s\n", c.message.c_str());
    worst.value = std::max(worst.value, c.value);
    worst.gradient = std::max(worst.gradient, c.gradient);
    worst.numeric_closed = std::max(worst.numeric_closed, c.numeric_closed);
    worst.numeric_definition = std::max(worst.numeric_definition, c.numeric_definition);
    worst.passed = worst.passed && c.passed;
  }
  std::printf("  %-42s %11.1e %11.1e %11.1e %11.1e   %s\n", worst.what.c_str(), worst.value, worst.gradient,
              worst.numeric_closed, worst.numeric_definition, worst.passed ? "agree" : "DIFFER");
  return worst.passed;
}

}  // namespace

int check(const std::string& name) {
  bool passed = true;
  if (name == "all") {
    for (const LossInfo& info : all_losses()) passed = check_one(info) && passed;
  } else {
    passed = check_one(find_loss(name));
  }
  std::printf("relative errors in f64, random upstream gradient; tolerances %.0e between forms, %.0e numeric\n",
              forms_tolerance, numeric_tolerance);
  return passed ? 0 : 1;
}

}  // namespace gradus::cli
