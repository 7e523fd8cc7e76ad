#include "losses/transport/wasserstein_histogram.h"

#include <algorithm>
#include <cmath>

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

using Numbers = std::vector<double>;

// ---- as the definition says, on the tape

// upper [K,K-1]: (p - t) upper = D
Tensor definition(const Tensor& input, const Tensor& t, bool probabilities) {
  const Index K = input.size(1);
  Tensor upper = zeros({K, K - 1}, input.dtype());
  for (Index c = 0; c < K; ++c) {
    for (Index k = c; k < K - 1; ++k) set_value(upper, c * (K - 1) + k, 1);
  }
  if (K == 1) return sum(0.0 * input, {1}) + sum(0.0 * t, {1});
  return sum(abs(matmul((probabilities ? input : softmax(input)) - t, upper)), {1});
}

// ---- as the derivation ends: one node

// One row in f64: log p, D and what the gradient needs.
struct Row {
  Numbers p, D;
  template <class T> void set(const T* z, const T* t, Index K, bool probabilities) {
    Numbers d(static_cast<std::size_t>(K));
    p.assign(d.size(), 0.0);
    D.assign(d.size(), 0.0);
    double top = -vmath::infinity<double>, rest = 0;
    const Index best = std::max_element(z, z + K) - z;
    if (!probabilities) {
      top = double(z[best]);
      for (Index c = 0; c < K; ++c) rest += c == best ? 0.0 : std::exp(double(z[c]) - top);
      rest = std::log1p(rest);
    }
    for (Index c = 0; c < K; ++c) {
      const double log_p = probabilities ? 0.0 : (double(z[c]) - top) - rest, target = double(t[c]);
      double &mine = p[std::size_t(c)], &gap = d[std::size_t(c)];
      mine = probabilities ? double(z[c]) : std::exp(log_p);
      gap = !probabilities && target > 0.5 ? std::expm1(log_p) + (1 - target) : mine - target;
    }
    double given = 0, mine = 0;
    for (Index c = 0; c < K; ++c) {
      given += double(t[c]);
      mine += p[std::size_t(c)];
    }
    sum_gaps(d, (probabilities ? mine : 1) - given);  // a softmax has the total 1, whatever its rounding
  }
  // D_k = sum_{c <= k} d_c = total - sum_{c > k} d_c, from the end that carries less: it has the smaller rounding.
  void sum_gaps(const Numbers& d, double total) {
    double total_size = 0, size = 0, left = 0, right = 0;
    for (const double x : d) total_size += std::abs(x);
    std::size_t half = 0;
    for (; half < d.size() && size + std::abs(d[half]) <= total_size / 2; ++half) {
      size += std::abs(d[half]);
      left += d[half];
      D[half] = left;
    }
    for (std::size_t k = d.size(); k-- > half;) {
      D[k] = total - right;
      right += d[k];
    }
  }
};

double sign(double x) { return double(x > 0) - double(x < 0); }

// y_r = sum_{k < K-1} |D_k|
// dy_r/dp_c = h_c = sum_{c <= k < K-1} sign D_k,  dy_r/dt_c = -h_c,  dy_r/dz_c = p_c (h_c - sum_b p_b h_b)
struct WassersteinHistogram final : Op {
  bool probabilities;
  explicit WassersteinHistogram(bool p) : probabilities(p) {}
  const char* name() const override { return "wasserstein_histogram"; }

  Tensor forward(In in) override {
    const Index N = in[0].size(0), K = in[0].size(1);
    Tensor y = empty({N}, in[0].dtype());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      const T *z = in[0].data<T>(), *t = in[1].data<T>();
      T* out = y.data_mut<T>();
      parallel_for(N, std::max<Index>(1, serial_below / 8 / K), [&](Index begin, Index end) {
        Row row;
        for (Index r = begin; r < end; ++r) {
          row.set(z + r * K, t + r * K, K, probabilities);
          double total = 0;
          for (Index k = 0; k < K - 1; ++k) total += std::abs(row.D[std::size_t(k)]);
          out[r] = T(total);
        }
      });
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index N = in[0].size(0), K = in[0].size(1);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      const T *g = dy.data<T>(), *z = in[0].data<T>(), *t = in[1].data<T>();
      T* dz = dx.wants(0) ? dx.into(0).template data_mut<T>() : nullptr;
      T* dt = dx.wants(1) ? dx.into(1).template data_mut<T>() : nullptr;
      parallel_for(N, std::max<Index>(1, serial_below / 8 / K), [&](Index begin, Index end) {
        Row row;
        Numbers h(static_cast<std::size_t>(K));
        for (Index r = begin; r < end; ++r) {
          row.set(z + r * K, t + r * K, K, probabilities);
          double sum = 0, mean = 0;
          for (std::size_t c = h.size(); c-- > 0;) {
            sum += c + 1 < h.size() ? sign(row.D[c]) : 0.0;
            h[c] = sum;
          }
          for (std::size_t c = 0; c < h.size(); ++c) mean += probabilities ? 0.0 : row.p[c] * h[c];
          for (Index c = 0; c < K; ++c) {
            const double hc = h[std::size_t(c)], p = row.p[std::size_t(c)];
            if (dz) dz[r * K + c] += T(double(g[r]) * (probabilities ? hc : p * (hc - mean)));
            if (dt) dt[r * K + c] -= T(double(g[r]) * hc);
          }
        }
      });
    });
  }
};

}  // namespace

Tensor wasserstein_histogram(At logits, const Tensor& target_probs, WassersteinHistogramOptions o) {
  constexpr auto op = "wasserstein_histogram";
  if (!logits.tensor || !target_probs) fail(op, "needs logits and target_probs; one of them is undefined");
  check_same_kind(op, logits, target_probs);
  if (logits->rank() != 2 || logits->size(1) == 0 || logits->shape() != target_probs.shape()) {
    fail(op, "needs logits [N,K] and target_probs [N,K] with K >= 1, got " + logits->describe() + " and " +
                 target_probs.describe());
  }
  const Tensor rows = o.form == Form::definition ? definition(logits, target_probs, o.probabilities)
                                                 : apply(WassersteinHistogram(o.probabilities), logits, target_probs);
  return reduce_elements(At(rows, logits.line), o.reduction);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> histogram_samples(Rng& rng) {
  const auto logits = [&](Index N, Index K) { return randn({N, K}, rng, DType::f64); };
  const auto rows = [&](Index N, Index K) { return softmax(2 * randn({N, K}, rng, DType::f64)); };
  const Tensor sure = tensor({0, 1, 0, 0}, {1, 4}, DType::f64);
  return {
      {"4 rows", {{"logits", logits(4, 3)}, {"target_probs", rows(4, 3)}}},
      {"none", {{"logits", logits(3, 6)}, {"target_probs", rows(3, 6)}}, {{"reduction", "none"}}},
      {"probabilities, sum",
       {{"logits", rows(2, 5)}, {"target_probs", rows(2, 5)}},
       {{"probabilities", true}, {"reduction", "sum"}}},
      {"one bin", {{"logits", logits(3, 1)}, {"target_probs", ones({3, 1}, DType::f64)}}},
      {"no rows", {{"logits", logits(0, 3)}, {"target_probs", rows(0, 3)}}},
      {.what = "p_t = 1 - 1e-20",
       .inputs = {{"logits", tensor({0, 46, 0.5, -2}, {1, 4}, DType::f64)}, {"target_probs", sure}},
       .extreme = true},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, 9999}, {1, 4}, DType::f64)}, {"target_probs", sure}},
       .extreme = true},
  };
}

}  // namespace

Losses wasserstein_histogram_losses() {
  return {{.name = "wasserstein_histogram",
           .family = Family::transport,
           .formula = "sum_k |sum_{c<=k} (softmax(z)_c - t_c)|",
           .seeds = "A042",
           .task = "regression by ordered classes",
           .inputs = {{"logits", "[N,K]"}, {"target_probs", "[N,K]"}},
           .options = {{"probabilities", false}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return wasserstein_histogram(
                     a["logits"], a["target_probs"],
                     {.probabilities = a.flag("probabilities"), .reduction = a.reduction(), .form = a.form});
               },
           .samples = histogram_samples}};
}

}  // namespace gradus
