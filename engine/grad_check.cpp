// The check is  <gradient(u), v> = <u, slope(v)>  for pairs of an upstream gradient u and a direction v: for all unit vectors
// when the function is small, for random ones when it is large.
#include "engine/grad_check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/grad_check_guess.h"
#include "engine/grad_check_subject.h"
#include "engine/random.h"

namespace gradus {
namespace {

using Vector = GradCheckSubject::Vector;
using Direction = GradCheckSubject::Direction;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// 0.5 .. 1.5 with either sign: never near 0, never all the same.
double random_factor(Rng& rng) {
  const double u = 2 * rng.uniform() - 1;
  return u < 0 ? u - 0.5 : u + 0.5;
}
Vector random_vector(std::size_t n, Rng& rng) {
  Vector v(n);
  for (double& x : v) x = random_factor(rng);
  return v;
}

// How far entry i moves when t = 1: in proportion to itself, and not at all from the -inf of a mask.
double reach(const Tensor& x, Index i) {
  const double v = std::abs(value_at(x, i));
  return std::isfinite(v) ? std::max(1.0, v) : 0;
}

Direction along_entry(const GradCheckSubject& subject, std::size_t input, Index i) {
  const Tensor& x = subject.input(input);
  Direction d{input, Vector(std::size_t(x.numel())), reach(x, i)};
  d.v[std::size_t(i)] = d.size;
  return d;
}

std::vector<Direction> all_directions(const GradCheckSubject& subject, bool complete, int count, Rng& rng) {
  std::vector<Direction> out;
  for (const std::size_t k : subject.checked()) {
    const Tensor& x = subject.input(k);
    if (complete) {
      for (Index i = 0; i < x.numel(); ++i) {
        if (reach(x, i) > 0) out.push_back(along_entry(subject, k, i));
      }
      continue;
    }
    for (int n = 0; n < count && x.numel() > 0; ++n) {
      Vector v = random_vector(std::size_t(x.numel()), rng);
      for (std::size_t i = 0; i < v.size(); ++i) v[i] *= reach(x, Index(i));
      out.push_back({k, std::move(v), 1});
    }
  }
  return out;
}

// An upstream gradient, and what the tape makes of it.
struct Row {
  Vector u;
  std::vector<Vector> gradients;
};

// Unit vectors, but of random length: a scalar's unit vector would be the 1 that hides a forgotten dy.
std::vector<Row> all_rows(GradCheckSubject& subject, bool complete, int count, Rng& rng) {
  const Vector& y = subject.values();
  std::vector<Row> rows(complete ? y.size() : std::size_t(count));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    Vector& u = rows[r].u;
    if (complete) {
      u.resize(y.size());
      u[r] = random_factor(rng);
    } else {
      u = random_vector(y.size(), rng);
    }
    rows[r].gradients = subject.gradients(u);
  }
  return rows;
}

// What a relative error is relative to, see grad_check.h.
double scale_of(const Vector& y, const Row& row, const Direction& d) {
  const Vector& gradient = row.gradients[d.input];
  double size = 0;
  for (std::size_t j = 0; j < y.size(); ++j) size += std::abs(row.u[j]) * std::max(d.size, std::abs(y[j]));
  return std::max({std::abs(dot(gradient, d.v)), std::sqrt(dot(gradient, gradient)), 1e-4 * size});
}

// Slopes to the right and to the left: where the function is smooth, they approach each other as the step shrinks.
bool on_kink(const GradCheckSubject& subject, const Direction& d, const Vector& u, double step, double scale) {
  const double here = dot(u, subject.values());
  const auto disagreement = [&](double h) {
    const double right = (dot(u, subject.value(d, h)) - here) / h;
    const double further = (dot(u, subject.value(d, 2 * h)) - here) / (2 * h);  // differs from right at a jump
    const double left = (here - dot(u, subject.value(d, -h))) / h;
    return std::abs(right - left) + std::abs(right - further);
  };
  const double coarse = disagreement(step / 64), fine = disagreement(step / 4096);  // 64 times smaller when smooth
  return !(fine < coarse / 4) && !(fine < 1e-3 * scale);
}

// Which entry of this input is wrong, and a guess why; by a fresh upstream gradient on all outputs.
std::string explanation(GradCheckSubject& subject, std::size_t input, const GradCheckOptions& options, Rng& rng) {
  const Tensor& x = subject.input(input);
  if (x.numel() > 10000) return "wrong along a random direction; check a smaller instance to see which entry";
  Vector u = random_vector(subject.values().size(), rng);
  Mismatch m{subject.gradients(u)[input], {}, {}, x.shape()};
  std::size_t worst = 0;
  for (std::size_t i = 0; i < m.analytic.size(); ++i) {
    const Direction d = along_entry(subject, input, Index(i));
    const bool moves = d.v[i] > 0;
    m.numeric.push_back(moves ? dot(u, subject.slope(d, options.step / 64)) / d.v[i] : m.analytic[i]);
    const auto error = [&](std::size_t e) { return std::abs(m.analytic[e] - m.numeric[e]); };
    if (!(error(i) <= error(worst))) worst = i;
  }
  for (double& v : u) v *= 2;
  m.analytic_for_twice_dy = subject.gradients(u)[input];
  char numbers[100];
  std::snprintf(numbers, sizeof numbers, ": analytic %.9g, numeric %.9g; ", m.analytic[worst], m.numeric[worst]);
  return "at " + index_text(x.shape(), Index(worst)) + numbers + guess_cause(m);
}

GradCheckResult failed(GradCheckResult result, std::string message) {
  result.passed = false;
  result.message = std::move(message);
  return result;
}

}  // namespace

GradCheckResult grad_check(const TensorFunction& f, const std::vector<Tensor>& inputs,
                           const GradCheckOptions& options) {
  GradCheckResult result;
  GradCheckSubject subject(f, inputs, options.wrt);
  if (!subject.fault.empty()) return failed(result, subject.fault);

  Rng rng(options.seed);
  const Vector& y = subject.values();
  Index entries = 0;
  for (const std::size_t k : subject.checked()) entries += subject.input(k).numel();
  const bool complete = options.every_entry || Index(y.size()) * entries <= options.small;
  const std::vector<Row> rows = all_rows(subject, complete, options.directions, rng);
  if (!subject.fault.empty()) return failed(result, subject.fault);

  std::size_t worst_input = 0;
  for (const Direction& d : all_directions(subject, complete, options.directions, rng)) {
    const Vector slope = subject.slope(d, options.step);
    for (const Row& row : rows) {
      const double analytic = dot(row.gradients[d.input], d.v), scale = scale_of(y, row, d);
      const auto error_of = [&](const Vector& measured) {
        const double numeric = dot(row.u, measured);
        return std::abs(analytic - numeric) / std::max(scale, std::abs(numeric));
      };
      double error = error_of(slope);
      for (double h = options.step / 8; !(error <= options.tolerance) && h > options.step / 5000; h /= 8) {
        error = std::fmin(error, error_of(subject.slope(d, h)));
      }
      ++result.checked;
      if (!(error <= options.tolerance) && on_kink(subject, d, row.u, options.step, scale)) {
        ++result.kinks;
      } else if (!(error <= result.worst)) {
        result.worst = error;
        worst_input = d.input;
      }
    }
  }
  if (!(result.worst <= options.tolerance)) {
    char error[60];
    std::snprintf(error, sizeof error, "relative error %.2g, ", result.worst);
    return failed(result, subject.about(worst_input) + error + explanation(subject, worst_input, options, rng));
  }
  if (result.kinks > 0 && result.kinks == result.checked) {
    return failed(result, "the function has a kink or a jump here in every direction: nothing could be checked");
  }
  return result;
}

}  // namespace gradus
