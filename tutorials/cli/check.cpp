// `gradus check NAME|all`: definition = closed form = central differences, f32 near f64, with the worst relative error of each.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "losses/check.h"
#include "tutorials/cli/commands.h"

namespace gradus::cli {
namespace {

std::string error_text(double error) {
  if (std::isnan(error)) return "-";
  char text[16];
  std::snprintf(text, sizeof text, "%.1e", error);
  return text;
}

void print_row(const LossCheck& c, const char* verdict) {
  std::printf("  %-44s", c.what.c_str());
  for (const double error : {c.value, c.gradient, c.numeric_closed, c.numeric_definition, c.f32}) {
    std::printf(" %10s", error_text(error).c_str());
  }
  std::printf("%s\n", verdict);
}

bool check_one(const LossInfo& info) {
  std::printf("%s: %s\n", info.name, info.formula);
  std::printf("  %-44s %10s %10s %10s %10s %10s\n", "", "forms:", "forms:", "numeric:", "numeric:", "f32:");
  std::printf("  %-44s %10s %10s %10s %10s %10s\n", "sample", "value", "gradient", "closed", "definition", "closed");
  LossCheck worst{"worst", NAN, NAN, NAN, NAN, NAN};
  worst.passed = true;
  for (const LossCheck& c : check_loss(info)) {
    print_row(c, c.passed ? "" : "  FAILED");
    if (!c.passed) std::printf("    %s\n", c.message.c_str());
    for (const auto column : {&LossCheck::value, &LossCheck::gradient, &LossCheck::numeric_closed,
                              &LossCheck::numeric_definition, &LossCheck::f32}) {
      worst.*column = std::fmax(worst.*column, c.*column);  // fmax(NaN, x) = x
    }
    worst.passed = worst.passed && c.passed;
  }
  print_row(worst, worst.passed ? "   agree" : "   DIFFER");
  return worst.passed;
}

}  // namespace

int check(const std::string& name) {
  int passed = 0, failed = 0;
  if (name == "all") {
    for (const LossInfo& info : all_losses()) ++(check_one(info) ? passed : failed);
    std::printf("%d losses agree, %d differ\n", passed, failed);
  } else {
    failed = !check_one(find_loss(name));
  }
  std::printf("relative errors, random upstream gradient; tolerances %.0e between forms, %.0e numeric, %.0e f32\n",
              forms_tolerance, numeric_tolerance, f32_tolerance);
  return failed ? 1 : 0;
}

}  // namespace gradus::cli
