#include "losses/schemes/temperature.h"

#include <algorithm>
#include <cmath>

#include "losses/schemes/log_partition.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// The logits from the greatest of their row, d_c = (z_c - max) / scale in [-1, 0]: with them everything is of order 1.
// scale is the widest range of a row; 0: all rows are constant.
struct Gaps {
  Index N = 0, C = 0;
  double scale = 0;
  Tensor d;  // f64 [N,C]
  std::vector<Index> label;
  bool valid = true;

  Gaps(const Tensor& logits, const Tensor& labels)
      : N(logits.size(0)), C(logits.size(1)), d(logits.detach().to(DType::f64).clone()), label(std::size_t(N)) {
    double* z = d.data_mut<double>();
    for (Index r = 0; r < N; ++r, z += C) {
      const double top = *std::max_element(z, z + C);
      label[std::size_t(r)] = Index(value_at(labels, r));
      for (Index c = 0; c < C; ++c) {
        z[c] -= top;
        if (z[c] > -INFINITY) scale = std::max(scale, -z[c]);
        valid = valid && z[c] <= 0;  // false for NaN
      }
      valid = valid && z[label[std::size_t(r)]] > -INFINITY;
    }
    if (scale > 0) {
      z = d.data_mut<double>();
      for (Index i = 0; i < N * C; ++i) z[i] /= scale;
    }
  }
  const double* row(Index r) const { return d.data<double>() + r * C; }
  double at_label(Index r) const { return row(r)[label[std::size_t(r)]]; }
};

// f'(beta) and f''(beta)
struct Slope {
  double first, second;
};

Slope slope(const Gaps& g, double beta) {
  std::vector<double> first(std::size_t(g.N)), second(std::size_t(g.N));
  parallel_for(g.N, std::max<Index>(1, serial_below / g.C), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const double* d = g.row(r);
      double weight = 0, mean = 0, square = 0;
      for (Index c = 0; c < g.C; ++c) {
        const double gap = d[c] > -INFINITY ? d[c] : 0, e = d[c] > -INFINITY ? vmath::exp(beta * gap) : 0;
        weight += e;
        mean += e * gap;
        square += e * gap * gap;
      }
      mean /= weight;
      first[std::size_t(r)] = mean - g.at_label(r);
      second[std::size_t(r)] = square / weight - mean * mean;
    }
  });
  const auto average = [&](const std::vector<double>& v) {
    return block_sum<double>(g.N, [&](Index r) { return v[std::size_t(r)]; }) / double(g.N);
  };
  return {average(first), average(second)};
}

// f'(infinity) = mean (max z - z_y)
double last_slope(const Gaps& g) {
  return block_sum<double>(g.N, [&](Index r) { return -g.at_label(r); });
}

// ---- as the derivation starts: f' on the ops, its sign by bisection

double definition_slope(const Gaps& g, double beta) {
  double sum = 0;
  for (Index r = 0; r < g.N; ++r) {
    const Tensor z = tensor(std::vector<double>(g.row(r), g.row(r) + g.C), DType::f64);
    const Tensor p = softmax(beta * z);
    sum += gradus::sum(p * masked_fill(z, equal(p, zeros({}, DType::f64)), 0)).item() - g.at_label(r);
  }
  return sum;
}

double bisected(const Gaps& g) {
  double low = 0, high = 1;
  while (definition_slope(g, high) < 0) low = high, high *= 2;
  for (int step = 0; step < 200; ++step) {
    const double middle = low + (high - low) / 2;
    (definition_slope(g, middle) < 0 ? low : high) = middle;
  }
  return high;
}

// ---- as the derivation ends

// The root of f' by Newton within a bracket; f'(0) < 0 < f'(infinity).
double newton(const Gaps& g) {
  double low = 0, high = INFINITY, beta = 1;
  while (true) {
    const Slope s = slope(g, beta);
    if (s.first == 0) return beta;
    (s.first < 0 ? low : high) = beta;
    double next = beta - s.first / s.second;
    // Beyond the bracket, or without curvature to trust: double while there is no upper end, else halve.
    if (!(next > low && next < std::min(high, 4 * beta))) next = high == INFINITY ? 2 * beta : low + (high - low) / 2;
    // Newton squares the error: a step of 1e-13 is the last.
    if (std::abs(next - beta) <= 1e-13 * beta || next <= low || next >= high) return next;
    beta = next;
  }
}

}  // namespace

Tensor optimal_temperature(const Tensor& logits, const Tensor& labels, Form form) {
  check_logits("optimal_temperature", logits);
  const Tensor index = checked_labels("optimal_temperature", "labels", logits, labels);
  const Gaps g(logits, index);
  double T = 1;
  if (!g.valid) {
    T = NAN;
  } else if (g.N > 0 && g.scale > 0) {
    if (slope(g, 0).first >= 0) {
      T = INFINITY;
    } else if (last_slope(g) == 0) {
      T = 0;
    } else {
      T = g.scale / (form == Form::definition ? bisected(g) : newton(g));
    }
  }
  return full({}, T, logits.dtype());
}

// ---- for the table of losses

namespace {

std::vector<LossSample> temperature_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index C, double size) {
    return Inputs{{"logits", size * randn({N, C}, rng, DType::f64)}, {"labels", randint(C, {N}, rng)}};
  };
  // Labels that mostly follow the logits, so that a temperature exists.
  const auto fitted = [&](Index N, Index C, double size) {
    Inputs in = inputs(N, C, size);
    for (Index r = 0; r < N; ++r) set_value(in["logits"], r * C + Index(value_at(in["labels"], r)), 1.2 * size);
    return in;
  };
  return {
      {"12 rows, 3 classes", fitted(12, 3, 2)},
      {"two classes", fitted(30, 2, 1)},
      {"small logits", fitted(25, 4, 1e-3)},
      {"labels at random", inputs(9, 5, 1)},
      {"separable: 0", {{"logits", tensor({2, 1, 0, 0, 1, 1}, {2, 3}, DType::f64)}, {"labels", labels({0, 2})}}},
      {"constant logits: 1", {{"logits", ones({3, 2}, DType::f64)}, {"labels", labels({0, 1, 1})}}},
      {"no rows", {{"logits", zeros({0, 3}, DType::f64)}, {"labels", labels({})}}},
      {.what = "logits of 1e4", .inputs = fitted(20, 3, 1e4), .extreme = true},
      {.what = "logits of 1e-30", .inputs = fitted(20, 3, 1e-30), .extreme = true},
  };
}

}  // namespace

Losses temperature_losses() {
  return {{.name = "optimal_temperature",
           .family = Family::scheme,
           .formula = "argmin_T mean CE(logits / T, labels)",
           .seeds = "A153 B038-B040 D25",
           .task = "calibration after training",
           .inputs = {{"logits", "[N,C]", Kind::constant}, {"labels", "[N]", Kind::integer}},
           .options = {},
           .run = [](const Arguments& a) { return optimal_temperature(a["logits"], a["labels"], a.form); },
           .samples = temperature_samples}};
}

}  // namespace gradus
