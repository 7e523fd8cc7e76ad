#include "losses/logsumexp/cosent.h"

#include <cmath>
#include <numbers>

#include "losses/logsumexp/cosent_device.h"
#include "losses/logsumexp/ranked.h"
#include "ops/distance.h"
#include "ops/elementwise.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// ---- as the derivation starts: all pairs on the tape

Tensor definition(const Tensor& s, const Tensor& labels, const Tensor& k) {
  const Index N = s.numel();
  const Tensor y = labels.detach();
  const Tensor gap = k * (s.reshape({1, N}) - s.reshape({N, 1}));        // [N,N] k (s_j - s_i), i down, j across
  const Tensor ordered = greater(y.reshape({N, 1}), y.reshape({1, N}));  // [N,N] y_i > y_j
  const Tensor terms = masked_fill(gap, logical_not(ordered), -vmath::infinity<double>);
  return logsumexp(cat({zeros({1}, s.dtype(), s.device()), terms.reshape({N * N})}), 0);  // []
}

// ---- as the derivation ends: one node

// y = log(1 + sum_{y_i > y_j} e^{k (s_j - s_i)})
// dy/ds_i = k pull_i,  dy/dk = sum_i s_i pull_i,  pull_i = e^{k s_i + higher_i - y} - e^{lower_i - k s_i - y}
// in: scores, labels, k [].  In sorted order:
//   lower_p = log sum_{y_q < y_p} e^{k s_q},  higher_p = log sum_{y_q > y_p} e^{-k s_q}
struct Cosent final : Op {
  ranked::Order order;
  std::vector<double> lower, higher;
  double loss = 0;
  cosent_device::State gpu;  // instead of these, on a GPU
  const char* name() const override { return "cosent"; }

  std::vector<double> sorted_scores(const Tensor& scores) const {
    std::vector<double> s(order.sample.size());
    dispatch_float(name(), scores.dtype(), [&]<class T>() {
      const T* in = scores.data<T>();
      for (std::size_t p = 0; p < s.size(); ++p) s[p] = double(in[order.sample[p]]);
    });
    return s;
  }

  Tensor forward(In in) override {
    if (!in[0].device().is_cpu()) return gpu.forward(in[0], in[1], in[2]);
    order = ranked::order_of(in[1]);
    std::vector<double> x = sorted_scores(in[0]), minus(x.size());
    const double k = value_at(in[2], 0);
    for (std::size_t p = 0; p < x.size(); ++p) {
      x[p] *= k;
      minus[p] = -x[p];
    }
    exclusive_logsumexp(order, ranked::Side::lower, x, lower);
    exclusive_logsumexp(order, ranked::Side::higher, minus, higher);
    for (std::size_t p = 0; p < x.size(); ++p) minus[p] += lower[p];  // all that p should win
    loss = ranked::log1p_sum_exp(minus);
    return full({}, loss, in[0].dtype(), in[0].device());
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!dy.device().is_cpu()) {
      if (dx.wants(0)) gpu.add_score_gradient(dy, dx.into(0));
      if (dx.wants(2)) dx.add(2, gpu.scale_gradient(dy, dx.dtype(2)));
      return;
    }
    const Index N = in[0].numel();
    const std::vector<double> s = sorted_scores(in[0]);
    std::vector<double> pull(s.size());
    const double g = dy.item(), k = value_at(in[2], 0), L = loss;
    const double *score = s.data(), *below = lower.data(), *above = higher.data();
    double* to = pull.data();
    parallel_for(N, serial_below, [=](Index begin, Index end) {
#pragma omp simd
      for (Index p = begin; p < end; ++p) to[p] = cosent_device::pull_of(k * score[p], below[p], above[p], L);
    });
    if (dx.wants(0)) {
      dispatch_float(name(), in[0].dtype(), [&]<class T>() {
        T* ds = dx.into(0).data_mut<T>();
        for (std::size_t p = 0; p < s.size(); ++p) ds[order.sample[p]] += T(g * k * pull[p]);
      });
    }
    if (dx.wants(2)) {
      const double slope = block_sum<double>(N, [=](Index p) { return score[p] * to[p]; });
      dx.add(2, full({}, g * slope, dx.dtype(2), dy.device()));
    }
  }
};

void check(const Tensor& scores, const Tensor& labels) {
  if (!scores || !labels) fail("cosent", "needs scores and labels; one of them is undefined");
  if (!is_floating(scores.dtype())) fail("cosent", "needs scores of f32 or f64, got " + scores.describe());
  if (scores.rank() != 1 || labels.shape() != scores.shape()) {
    fail("cosent", "needs a label for each score: scores " + scores.describe() + " and labels " + labels.describe() +
                       " must both be [N]");
  }
  check_same_device("cosent", scores, labels);
  ranked::check_labels("cosent", labels);
}

template <class T> struct NoScale {
  const T* k;
  HD bool operator()(Index i) const { return !(k[i] > 0 && k[i] < vmath::infinity<T>); }
};
void check_scale(double scale) {
  if (!(scale > 0 && std::isfinite(scale))) {
    fail("cosent", "the scale must be a finite number above 0, got " + std::to_string(scale));
  }
}

}  // namespace

Tensor cosent_scaled(At scores, const Tensor& labels, const Tensor& scale, Form form) {
  check(scores, labels);
  check_same_kind("cosent", scores, scale);
  if (scale.numel() != 1) fail("cosent", "the scale must be one number [], got " + scale.describe());
  dispatch_float("cosent", scale.dtype(), [&]<class T>() {
    if (find_first(scale.device(), 1, NoScale<T>{scale.data<T>()}) == 0) check_scale(scale.item());
  });
  const Tensor k = scale.reshape({});
  return form == Form::closed ? apply(Cosent{}, scores, labels.detach(), k) : definition(scores, labels, k);
}

Tensor cosent(At scores, const Tensor& labels, CosentOptions o) {
  check(scores, labels);
  check_scale(o.scale);
  // The scale stays a double: f32 would round 0.1.
  const Tensor k = full({}, o.scale, o.form == Form::closed ? DType::f64 : scores->dtype(), scores->device());
  return o.form == Form::closed ? apply(Cosent{}, scores, labels.detach(), k) : definition(scores, labels, k);
}

Tensor cosent_embeddings(At u, const Tensor& v, const Tensor& labels, CosentOptions o) {
  if (!u.tensor || !v) fail("cosent_embeddings", "needs u and v; one of them is undefined");
  if (u->rank() != 2 || u->shape() != v.shape()) {
    fail("cosent_embeddings", "needs two tensors [N,D] of one shape, got " + u->describe() + " and " + v.describe());
  }
  const Tensor scores = cosine_similarity(u, v);
  return cosent(At(scores, u.line), labels, o);
}

Tensor cosent_learnable_scale(At scores, const Tensor& labels, const Tensor& raw, Form form) {
  if (!raw)
    fail("cosent_learnable_scale", "raw is undefined; give a tensor [], such as scalar(9.99995) for a scale of 20");
  const Tensor softened = softplus(At(raw, scores.line));
  const Tensor scale = At(softened, scores.line) + 10;
  return cosent_scaled(scores, labels, scale, form);
}

double cosent_initial_scale(const Tensor& scores, double alpha) {
  const char* op = "cosent_initial_scale";
  if (!scores || scores.rank() != 1 || scores.numel() < 2) fail(op, "needs scores [N] with N >= 2");
  if (!(alpha > 0)) fail(op, "alpha must be above 0, got " + std::to_string(alpha));
  const std::vector<double> s = scores.to_vector();  // read on the CPU
  double mean = 0, square = 0;
  for (const double v : s) mean += v / double(s.size());
  for (const double v : s) square += (v - mean) * (v - mean);
  if (!(square > 0)) fail(op, "all scores are equal: there is no spread to measure a scale by");
  return alpha / std::sqrt(square / double(s.size() - 1));
}

double cosent_scale_schedule(double epoch, double epochs, double low, double high) {
  if (!(epochs > 0 && epoch >= 0 && epoch <= epochs)) {
    fail("cosent_scale_schedule", "needs 0 <= epoch <= epochs and epochs > 0, got epoch " + std::to_string(epoch) +
                                      " of " + std::to_string(epochs));
  }
  if (!(low > 0 && high >= low)) fail("cosent_scale_schedule", "needs 0 < low <= high");
  return low + 0.5 * (high - low) * (1 + std::cos(std::numbers::pi * epoch / epochs));
}

// ---- for the table of losses

namespace {

// Scores like cosines, labels from few values, so that some tie.
Tensor cosines(Index N, Rng& rng) { return 2 * rand({N}, rng, DType::f64) - 1; }
Tensor grades(Index N, Rng& rng) { return randint(5, {N}, rng).to(DType::f64) / 4; }

std::vector<LossSample> score_samples(Rng& rng) {
  const auto pair = [&](Index N) { return Inputs{{"scores", cosines(N, rng)}, {"labels", grades(N, rng)}}; };
  return {
      {"two scores", {{"scores", tensor({.3, .5}, DType::f64)}, {"labels", tensor({1, 0}, DType::f64)}}},
      {"7 scores, scale 5", pair(7), {{"scale", 5.0}}},
      {"33 scores", pair(33)},
      {"all different", {{"scores", cosines(12, rng)}, {"labels", rand({12}, rng, DType::f64)}}},
      {"all labels equal", {{"scores", cosines(4, rng)}, {"labels", ones({4}, DType::f64)}}},
      {"no scores", {{"scores", zeros({0}, DType::f64)}, {"labels", zeros({0}, DType::f64)}}},
      {.what = "scale 1000, scores of both signs",
       .inputs = {{"scores", tensor({-1, .999, 1, .25, -.5}, DType::f64)},
                  {"labels", tensor({1, .5, 0, .5, .75}, DType::f64)}},
       .options = {{"scale", 1000.0}},
       .extreme = true},
      {.what = "ordered so well that L is 2e-9",
       .inputs = {{"scores", tensor({1, 0}, DType::f64)}, {"labels", tensor({1, 0}, DType::f64)}},
       .extreme = true},
      {.what = "scores of 1e4",
       .inputs = {{"scores", tensor({1e4, -1e4, 0, 3}, DType::f64)}, {"labels", tensor({0, 1, 2, 1}, DType::f64)}},
       .extreme = true},
  };
}

std::vector<LossSample> embedding_samples(Rng& rng) {
  const auto vectors = [&](Index N, Index D) {
    return Inputs{
        {"u", randn({N, D}, rng, DType::f64)}, {"v", randn({N, D}, rng, DType::f64)}, {"labels", grades(N, rng)}};
  };
  Inputs with_zero = vectors(4, 3);
  for (const Index i : {0, 1, 2}) set_value(with_zero["u"], i, 0);
  return {
      {"3 pairs", vectors(3, 2), {{"scale", 3.0}}},
      {"9 pairs", vectors(9, 4)},
      {"5 pairs, scale 50", vectors(5, 7), {{"scale", 50.0}}},
      {"one pair", vectors(1, 3)},
      {.what = "a zero vector", .inputs = with_zero, .extreme = true},
  };
}

std::vector<LossSample> learnable_samples(Rng& rng) {
  const auto sample = [&](Index N, double raw) {
    return Inputs{{"scores", cosines(N, rng)}, {"labels", grades(N, rng)}, {"raw", scalar(raw, DType::f64)}};
  };
  return {
      {"raw 3, 6 scores", sample(6, 3)},
      {"raw -2, 11 scores", sample(11, -2)},
      {"raw 10, 4 scores", sample(4, 10)},
      {"one score", sample(1, 3)},
      {.what = "raw 900", .inputs = sample(5, 900), .extreme = true},
  };
}

const InputSpec label_input = {"labels", "[N]", Kind::constant};

}  // namespace

Losses cosent_losses() {
  return {{.name = "cosent",
           .family = Family::logsumexp,
           .formula = "log(1 + sum_{y_i > y_j} e^{k (s_j - s_i)})",
           .seeds = "A061 A062 A065 A066",
           .task = "sentence similarity, ranking by graded labels",
           .inputs = {{"scores", "[N]"}, label_input},
           .options = {{"scale", 20.0}},
           .run =
               [](const Arguments& a) {
                 return cosent(a["scores"], a["labels"], {.scale = a.number("scale"), .form = a.form});
               },
           .samples = score_samples},
          {.name = "cosent_embeddings",
           .family = Family::logsumexp,
           .formula = "cosent with s_r = cos(u_r, v_r)",
           .seeds = "A060 A061 A063 A064",
           .task = "sentence similarity",
           .inputs = {{"u", "[N,D]"}, {"v", "[N,D]"}, label_input},
           .options = {{"scale", 20.0}},
           .run =
               [](const Arguments& a) {
                 return cosent_embeddings(a["u"], a["v"], a["labels"], {.scale = a.number("scale"), .form = a.form});
               },
           .samples = embedding_samples},
          {.name = "cosent_learnable_scale",
           .family = Family::logsumexp,
           .formula = "cosent with k = log(1 + e^raw) + 10",
           .seeds = "A068",
           .task = "sentence similarity with a scale that is learned",
           .inputs = {{"scores", "[N]"}, label_input, {"raw", "[]"}},
           .options = {},
           .run = [](const Arguments& a) { return cosent_learnable_scale(a["scores"], a["labels"], a["raw"], a.form); },
           .samples = learnable_samples}};
}

}  // namespace gradus
