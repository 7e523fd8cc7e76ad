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

// d_c = z_c - max z, how far the row reaches down, and whether it can be used
template <class T> struct GapRow {
  const T* logits;
  const Index* labels;
  Index C;
  double *d, *reach, *invalid;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* z = logits + r * C;
    double* gap = d + r * C;
    const double top = team.template max<double>(C, [=](Index c) { return double(z[c]); });
    team.each(C, [=](Index c) { gap[c] = double(z[c]) - top; });
    const double far = team.template max<double>(C, [=](Index c) { return gap[c] > -INFINITY ? -gap[c] : 0.0; });
    const double at_label = double(z[labels[r]]) - top;
    const double wrong = team.template sum<double>(C, [=](Index c) { return gap[c] <= 0 ? 0.0 : 1.0; });  // NaN
    if (team.leads()) reach[r] = far, invalid[r] = wrong > 0 || !(at_label > -INFINITY) ? 1.0 : 0.0;
  }
};
struct Greatest {
  const double* x;
  Index N;
  double* y;
  template <class Team> HD void operator()(Index, Team team) const {
    const double* v = x;
    const double most = team.template max<double>(N, [=](Index r) { return v[r]; });
    if (team.leads()) *y = most;
  }
};
struct ScaleGaps {
  double scale;
  double* d;
  HD void operator()(Index i) const { d[i] /= scale; }
};
struct AtLabel {
  const double* d;
  const Index* labels;
  Index C;
  double* y;
  HD void operator()(Index r) const { y[r] = d[r * C + labels[r]]; }
};
struct IsInvalid {
  const double* invalid;
  HD bool operator()(Index r) const { return invalid[r] != 0; }
};

// The logits from the greatest of their row, d_c = (z_c - max) / scale in [-1, 0]: with them everything is of order 1.
// scale is the widest range of a row; 0: all rows are constant.
struct Gaps {
  Index N, C;
  double scale = 0;
  Tensor d, label;  // f64 [N,C]; [N] that of the label
  bool valid = true;

  Gaps(const Tensor& logits, const Tensor& labels)
      : N(logits.size(0)),
        C(logits.size(1)),
        d(empty({N, C}, DType::f64, logits.device())),
        label(empty({N}, DType::f64, logits.device())) {
    Device& device = logits.device();
    if (N == 0) return;
    Tensor invalid = empty({N}, DType::f64, device), reach = empty({N}, DType::f64, device),
           most = empty({1}, DType::f64, device);
    const Index* y = labels.data<Index>();
    dispatch_float("optimal_temperature", logits.dtype(), [&]<class T>() {
      launch_rows(device, N, C,
                  GapRow<T>{logits.data<T>(), y, C, d.data_mut<double>(), reach.data_mut<double>(),
                            invalid.data_mut<double>()});
    });
    valid = find_first(device, N, IsInvalid{invalid.data<double>()}) < 0;
    launch_rows(device, 1, N, Greatest{reach.data<double>(), N, most.data_mut<double>()});
    scale = most.item();
    if (scale > 0) launch(device, N * C, ScaleGaps{scale, d.data_mut<double>()});
    launch(device, N, AtLabel{d.data<double>(), y, C, label.data_mut<double>()});
  }
};

// f'(beta) and f''(beta)
struct Slope {
  double first, second;
};

// E_p d - d_y and Var_p d; few classes: by one thread
struct SlopeRow {
  const double *gaps, *label;
  Index C;
  double beta;
  double *first, *second;
  HD void operator()(Index r) const {
    const double* d = gaps + r * C;
    double weight = 0, mean = 0, square = 0;
    for (Index c = 0; c < C; ++c) {
      const double gap = d[c] > -INFINITY ? d[c] : 0, e = d[c] > -INFINITY ? vmath::exp(beta * gap) : 0;
      weight += e, mean += e * gap, square += e * gap * gap;
    }
    mean /= weight;
    first[r] = mean - label[r], second[r] = square / weight - mean * mean;
  }
  template <class Team> HD void operator()(Index r, Team team) const {
    const double *d = gaps + r * C, b = beta;
    const auto gap = [=](Index c) { return d[c] > -INFINITY ? d[c] : 0.0; };
    const auto e = [=](Index c) { return d[c] > -INFINITY ? vmath::exp(b * d[c]) : 0.0; };
    const double weight = team.template sum<double>(C, e);
    const double mean = team.template sum<double>(C, [=](Index c) { return e(c) * gap(c); }) / weight;
    const double square = team.template sum<double>(C, [=](Index c) { return e(c) * gap(c) * gap(c); }) / weight;
    if (team.leads()) first[r] = mean - label[r], second[r] = square - mean * mean;
  }
};
struct RowSum {
  const double* x;
  Index N;
  double* y;
  template <class Team> HD void operator()(Index r, Team team) const {
    const double* row = x + r * N;
    const double sum = team.template sum<double>(N, [=](Index i) { return row[i]; });
    if (team.leads()) y[r] = sum;
  }
};

std::vector<double> row_sums(const Tensor& x, Index rows) {
  Tensor y = empty({rows}, DType::f64, x.device());
  launch_rows(x.device(), rows, x.numel() / rows, RowSum{x.data<double>(), x.numel() / rows, y.data_mut<double>()});
  return y.to_vector();
}

Slope slope(const Gaps& g, double beta) {
  Tensor both = empty({2, g.N}, DType::f64, g.d.device());
  double* to = both.data_mut<double>();
  const SlopeRow row{g.d.data<double>(), g.label.data<double>(), g.C, beta, to, to + g.N};
  g.C < 32 ? launch(g.d.device(), g.N, row) : launch_rows(g.d.device(), g.N, g.C, row);
  const std::vector<double> sums = row_sums(both, 2);
  return {sums[0] / double(g.N), sums[1] / double(g.N)};
}

// f'(infinity) = mean (max z - z_y), but for its sign and N
double last_slope(const Gaps& g) { return row_sums(g.label, 1)[0]; }

// ---- as the derivation starts: f' on the ops, its sign by bisection

double definition_slope(const Gaps& g, double beta) {
  const Tensor p = softmax(beta * g.d);
  return sum(p * masked_fill(g.d, equal(p, zeros({}, DType::f64, p.device())), 0)).item() - sum(g.label).item();
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
  return full({}, T, logits.dtype(), logits.device());
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
