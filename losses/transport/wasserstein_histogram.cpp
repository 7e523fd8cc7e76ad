#include "losses/transport/wasserstein_histogram.h"

#include <algorithm>
#include <cmath>

#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// ---- as the definition says, on the tape

// upper [K,K-1]: (p - t) upper = D
Tensor definition(const Tensor& input, const Tensor& t, bool probabilities) {
  const Index K = input.size(1);
  if (K == 1) return sum(0.0 * input, {1}) + sum(0.0 * t, {1});
  const Tensor bins = arange(K, input.dtype(), input.device());
  const Tensor upper = less_equal(bins.reshape({K, 1}), bins.rows(0, K - 1)).to(input.dtype());
  return sum(abs(matmul((probabilities ? input : softmax(input)) - t, upper)), {1});
}

// ---- as the derivation ends: one node

// Running sums along a row by a team: each thread adds up a part of at least 16 bins, then starts from what the parts before
// it hold. On the CPU the row is one part.
constexpr Index least_part = 16, most_parts = 512;

// f64 work space for each row: D [K], p [K], then two numbers for each part.
struct Space {
  Index K, parts;
  double* at;
  explicit Space(Index bins) : K(bins), parts(std::clamp<Index>(bins / least_part, 1, most_parts)), at(nullptr) {}
  HD Index stride() const { return 2 * (K + parts); }
};

// My part of the row.
struct Part {
  Index me, begin, end, count;  // of `count` parts
  HD Part(Index rank, Index threads, Index K, Index parts) : me(rank) {
    const Index length = (K + (threads < parts ? threads : parts) - 1) / (threads < parts ? threads : parts);
    begin = rank * length < K ? rank * length : K;
    end = begin + length < K ? begin + length : K;
    count = (K + length - 1) / length;
  }
};

// p_c and d_c = p_c - t_c of one row
template <class T> struct Gaps {
  const T *z, *t;
  bool probabilities;
  double top = 0, rest = 0;
  template <class Team>
  HD Gaps(const T* logits, const T* target, Index K, bool given, Team team)
      : z(logits), t(target), probabilities(given) {
    if (probabilities) return;
    const Index best = team.template argmax<T>(K, [=](Index c) { return logits[c]; });
    const double greatest = double(z[best]);
    top = greatest;
    rest = vmath::log1p(team.template sum<double>(
        K, [=](Index c) { return c == best ? 0.0 : vmath::exp(double(logits[c]) - greatest); }));
  }
  HD double log_p(Index c) const { return (double(z[c]) - top) - rest; }
  HD double probability(Index c) const { return probabilities ? double(z[c]) : vmath::exp(log_p(c)); }
  HD double gap(Index c, double p) const {
    const double target = double(t[c]);
    return !probabilities && target > 0.5 ? vmath::expm1(log_p(c)) + (1 - target) : p - target;
  }
  // D_k = sum_{c <= k} d_c = total - sum_{c > k} d_c, from the end that carries less: it has the smaller rounding.
  template <class Team> HD void sum_gaps(const Space& space, Index r, Team team) const {
    double *D = space.at + r * space.stride(), *p = D + space.K, *parts = p + space.K;
    const Gaps row = *this;
    const Index K = space.K;
    team.each(K, [=](Index c) {
      p[c] = row.probability(c);
      D[c] = row.gap(c, p[c]);
    });
    const double given = team.template sum<double>(K, [=](Index c) { return double(row.t[c]); });
    // A softmax has the total 1, whatever its rounding.
    const double mine = probabilities ? team.template sum<double>(K, [=](Index c) { return double(row.z[c]); }) : 1.0;
    const double sizes = team.template sum<double>(K, [=](Index c) { return std::abs(D[c]); });
    team.sync();
    const Part part(team.rank(), team.size(), K, space.parts);
    double left = 0, size = 0, right = 0;
    if (part.begin < part.end && part.count > 1) {
      for (Index c = part.begin; c < part.end; ++c) left += D[c], size += std::abs(D[c]);
      parts[2 * part.me] = left, parts[2 * part.me + 1] = size;
    }
    team.sync();
    left = size = 0;
    for (Index u = 0; u < part.me && u < part.count; ++u) left += parts[2 * u], size += parts[2 * u + 1];
    for (Index u = part.count - 1; u > part.me; --u) right += parts[2 * u];
    Index half = part.begin;
    for (; half < part.end && size + std::abs(D[half]) <= sizes / 2; ++half) {
      size += std::abs(D[half]);
      left += D[half];
      D[half] = left;
    }
    for (Index k = part.end; k-- > half;) {
      const double d = D[k];
      D[k] = (mine - given) - right;
      right += d;
    }
    team.sync();
  }
};

// A team of one for rows of few bins, where sums in vector lanes or by many threads cost more than they save.
struct Alone {
  template <class F> HD void each(Index n, F f) const {
    for (Index j = 0; j < n; ++j) f(j);
  }
  template <class V, class F> HD V sum(Index n, F f) const {
    V total = 0;
    for (Index j = 0; j < n; ++j) total += f(j);
    return total;
  }
  template <class V, class F> HD Index argmax(Index n, F f) const {
    Index best = 0;
    for (Index j = 1; j < n; ++j) best = f(j) > f(best) || f(j) != f(j) ? j : best;
    return best;
  }
  HD bool leads() const { return true; }
  HD void sync() const {}
  HD int rank() const { return 0; }
  HD int size() const { return 1; }
};
template <class Row> struct ByOneThread {
  Row row;
  HD void operator()(Index r) const { row(r, Alone{}); }
};
template <class Row> void launch_histograms(Device& device, Index N, Index K, const Row& row) {
  K < 2 * least_part ? launch(device, N, ByOneThread<Row>{row}) : launch_rows(device, N, K, row);
}

// y_r = sum_{k < K-1} |D_k|
template <class T> struct HistogramRow {
  const T *z, *t;
  bool probabilities;
  Space space;
  T* y;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Index K = space.K;
    Gaps<T>(z + r * K, t + r * K, K, probabilities, team).sum_gaps(space, r, team);
    const double* D = space.at + r * space.stride();
    const double total = team.template sum<double>(K - 1, [=](Index k) { return std::abs(D[k]); });
    if (team.leads()) y[r] = T(total);
  }
};

// dy_r/dp_c = h_c = sum_{c <= k < K-1} sign D_k,  dy_r/dt_c = -h_c,  dy_r/dz_c = p_c (h_c - sum_b p_b h_b)
template <class T> struct HistogramGradient {
  const T *dy, *z, *t;
  bool probabilities;
  Space space;
  T *dz, *dt;  // null: not wanted
  template <class Team> HD void operator()(Index r, Team team) const {
    const Index K = space.K;
    const Gaps<T> row(z + r * K, t + r * K, K, probabilities, team);
    row.sum_gaps(space, r, team);
    double *h = space.at + r * space.stride(), *p = h + K, *parts = p + K;
    const Part part(team.rank(), team.size(), K, space.parts);
    double sum = 0;
    if (part.begin < part.end && part.count > 1) {
      for (Index k = part.begin; k < part.end; ++k) sum += k < K - 1 ? sign(h[k]) : 0.0;
      parts[2 * part.me] = sum;
    }
    team.sync();
    sum = 0;
    for (Index u = part.count - 1; u > part.me; --u) sum += parts[2 * u];
    for (Index c = part.end; c-- > part.begin;) {
      sum += c < K - 1 ? sign(h[c]) : 0.0;
      h[c] = sum;
    }
    team.sync();
    const double g = double(dy[r]);
    const double mean = probabilities ? 0.0 : team.template sum<double>(K, [=](Index c) { return p[c] * h[c]; });
    T *to_z = dz ? dz + r * K : nullptr, *to_t = dt ? dt + r * K : nullptr;
    if (to_z && row.probabilities) team.each(K, [=](Index c) { to_z[c] += T(g * h[c]); });
    if (to_z && !row.probabilities) team.each(K, [=](Index c) { to_z[c] += T(g * (p[c] * (h[c] - mean))); });
    if (to_t) team.each(K, [=](Index c) { to_t[c] -= T(g * h[c]); });
  }
  HD static double sign(double x) { return double(x > 0) - double(x < 0); }
};

struct WassersteinHistogram final : Op {
  bool probabilities;
  explicit WassersteinHistogram(bool p) : probabilities(p) {}
  const char* name() const override { return "wasserstein_histogram"; }

  Tensor forward(In in) override {
    const Index N = in[0].size(0), K = in[0].size(1);
    Tensor y = empty({N}, in[0].dtype(), in[0].device());
    Space space(K);
    Tensor room = empty({N, space.stride()}, DType::f64, y.device());
    space.at = room.data_mut<double>();
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch_histograms(y.device(), N, K,
                        HistogramRow<T>{in[0].data<T>(), in[1].data<T>(), probabilities, space, y.data_mut<T>()});
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index N = in[0].size(0), K = in[0].size(1);
    Space space(K);
    Tensor room = empty({N, space.stride()}, DType::f64, dy.device());
    space.at = room.data_mut<double>();
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      T* dz = dx.wants(0) ? dx.into(0).template data_mut<T>() : nullptr;
      T* dt = dx.wants(1) ? dx.into(1).template data_mut<T>() : nullptr;
      launch_histograms(
          dy.device(), N, K,
          HistogramGradient<T>{dy.data<T>(), in[0].data<T>(), in[1].data<T>(), probabilities, space, dz, dt});
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
