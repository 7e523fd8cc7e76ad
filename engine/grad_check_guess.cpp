// The usual causes, each with its signature:
//
//   analytic = 0                          nothing arrives
//   analytic(2 dy) = analytic(dy)         dy is ignored
//   analytic = -numeric                   sign
//   analytic = c numeric                  a factor
//   analytic = numeric transposed         a matrix the wrong way round
//   analytic = numeric in most entries    those that differ are special: used twice, masked, tied
#include "engine/grad_check_guess.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace gradus {
namespace {

using Vector = std::vector<double>;

double length(const Vector& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

Vector scaled(Vector v, double factor) {
  for (double& x : v) x *= factor;
  return v;
}

bool close(const Vector& a, const Vector& b) {
  Vector difference = a;
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] -= b[i];
  return length(difference) <= 1e-5 * length(b);
}

// The last two axes exchanged, but for the shape: what a kernel writes that takes rows for columns.
Vector transposed(const Vector& v, const Shape& shape) {
  const std::size_t rows = std::size_t(shape[-2]), columns = std::size_t(shape[-1]), size = rows * columns;
  Vector out(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) {
    const std::size_t matrix = i / size * size, r = i % size / columns, c = i % columns;
    out[matrix + c * rows + r] = v[i];
  }
  return out;
}

std::string text(const char* format, double value) {
  char out[160];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

}  // namespace

std::string guess_cause(const Mismatch& m) {
  const Vector& analytic = m.analytic;
  const Vector& numeric = m.numeric;
  if (!std::all_of(analytic.begin(), analytic.end(), [](double v) { return std::isfinite(v); })) {
    return "the gradient is not finite: run it on a debug tape, which names the op";
  }
  if (length(analytic) == 0) return "no gradient arrives: detach? NoGrad? a constant where the input was meant?";
  if (length(numeric) <= 1e-6 * length(analytic)) return "the result does not depend on this input, or not here";
  if (close(m.analytic_for_twice_dy, analytic)) return "upstream gradient ignored? doubling dy changes nothing";
  if (close(scaled(analytic, -1), numeric)) return "the sign is flipped";
  double factor = 0;  // of the best fit, analytic ~ factor numeric
  for (std::size_t i = 0; i < numeric.size(); ++i) factor += analytic[i] * numeric[i];
  factor /= length(numeric) * length(numeric);
  if (close(scaled(numeric, factor), analytic)) {
    return text("off by the factor %.6g everywhere: a missing 1/N, or counted twice?", factor);
  }
  if (m.shape.rank() >= 2 && close(transposed(numeric, m.shape), analytic)) return "transposed?";
  Index right = 0;
  for (std::size_t i = 0; i < numeric.size(); ++i) {
    right += std::abs(analytic[i] - numeric[i]) <= 1e-5 * std::abs(numeric[i]) + 1e-9 * length(numeric);
  }
  if (right > 0) {
    return "right at " + std::to_string(right) + " of " + std::to_string(numeric.size()) +
           " entries: an index used twice with `=` for `+=`? a mask, a tie, the edge of a block?";
  }
  return "no known pattern: check_tape on a debug tape finds the op, or else the graph is not what you think";
}

}  // namespace gradus
