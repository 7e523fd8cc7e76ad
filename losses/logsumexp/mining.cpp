#include "losses/logsumexp/mining.h"

#include <algorithm>
#include <cmath>

#include "losses/logsumexp/ranked.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// Harder is higher, then earlier. NaN is the hardest, so that it is not lost.
struct Harder {
  const std::vector<double>& s;
  bool operator()(Index a, Index b) const {
    const double x = hardness(a), y = hardness(b);
    return x > y || (x == y && a < b);
  }
  double hardness(Index i) const {
    const double v = s[std::size_t(i)];
    return v == v ? v : vmath::infinity<double>;
  }
};

// ---- as the derivation starts: the pairs of i and H_i on the tape

Tensor definition(const Tensor& scores, const Tensor& labels, double k, Index top_k) {
  const Index N = scores.numel();
  const std::vector<double> s = scores.to_vector(), y = labels.to_vector();
  Tensor left_out = full({N, N}, 1, DType::u8);
  for (Index i = 0; i < N; ++i) {
    std::vector<Index> lower;
    for (Index j = 0; j < N; ++j) {
      if (y[std::size_t(j)] < y[std::size_t(i)]) lower.push_back(j);
    }
    std::sort(lower.begin(), lower.end(), Harder{s});
    for (Index r = 0; r < std::min(top_k, Index(lower.size())); ++r)
      set_value(left_out, i * N + lower[std::size_t(r)], 0);
  }
  const Tensor gap = k * (scores.reshape({1, N}) - scores.reshape({N, 1}));  // [N,N] k (s_j - s_i), i down, j across
  const Tensor terms = masked_fill(gap, left_out, -vmath::infinity<double>);
  return logsumexp(cat({zeros({1}, scores.dtype()), terms.reshape({N * N})}), 0);  // []
}

// ---- as the derivation ends: one node

// Room for the K hardest so far, the hardest first.
void keep_hardest(std::vector<Index>& list, Index candidate, Index top_k, const Harder& harder) {
  if (Index(list.size()) == top_k) {
    if (!harder(candidate, list.back())) return;
    list.pop_back();
  }
  list.insert(std::upper_bound(list.begin(), list.end(), candidate, harder), candidate);
}

template <class F> double log_sum_exp(Index n, const F& term) {
  double top = -vmath::infinity<double>, sum = 0;
  for (Index i = 0; i < n; ++i) top = std::max(top, term(i));
  if (top == -vmath::infinity<double>) return top;
  for (Index i = 0; i < n; ++i) sum += vmath::exp(term(i) - top);
  return top + vmath::log(sum);
}

// y = log(1 + sum_i sum_{j in H_i} e^{k (s_j - s_i)})
// dy/ds_i = k (sum_{h: i in H_h} e^{k (s_i - s_h)} - sum_{j in H_i} e^{k (s_j - s_i)}) / e^y
struct CosentHardest final : Op {
  double k;
  Index top_k;
  ranked::Order order;
  std::vector<Index> hard, list_starts;  // H of label group g is hard[list_starts[g]] .. hard[list_starts[g+1]]
  std::vector<double> low, up;           // of a group: log sum_{j in H} e^{k s_j},  log sum_i e^{-k s_i}
  double loss = 0;
  CosentHardest(double scale, Index top) : k(scale), top_k(top) {}
  const char* name() const override { return "cosent_hardest"; }

  Index begin(Index g) const { return order.starts[std::size_t(g)]; }
  Index end(Index g) const { return order.starts[std::size_t(g + 1)]; }
  Index sample(Index p) const { return Index(order.sample[std::size_t(p)]); }

  void find_hardest(const std::vector<double>& s) {
    std::vector<Index> list;
    hard.clear();
    list_starts.assign(1, 0);
    for (Index g = 0; g < order.groups(); ++g) {
      hard.insert(hard.end(), list.begin(), list.end());
      list_starts.push_back(Index(hard.size()));
      for (Index p = begin(g); p < end(g); ++p) keep_hardest(list, sample(p), top_k, Harder{s});
    }
  }

  Tensor forward(In in) override {
    const std::vector<double> s = in[0].to_vector();
    order = ranked::order_of(in[1]);
    find_hardest(s);
    low.clear();
    up.clear();
    std::vector<double> wins(s.size());
    for (Index g = 0; g < order.groups(); ++g) {
      const Index* list = hard.data() + list_starts[std::size_t(g)];
      const Index n = list_starts[std::size_t(g + 1)] - list_starts[std::size_t(g)], first = begin(g);
      low.push_back(log_sum_exp(n, [&](Index r) { return k * s[std::size_t(list[r])]; }));
      up.push_back(log_sum_exp(end(g) - first, [&](Index r) { return -k * s[std::size_t(sample(first + r))]; }));
      for (Index p = first; p < end(g); ++p) wins[std::size_t(p)] = low.back() - k * s[std::size_t(sample(p))];
    }
    loss = ranked::log1p_sum_exp(wins);
    return full({}, loss, in[0].dtype());
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!dx.wants(0)) return;
    const std::vector<double> s = in[0].to_vector();
    std::vector<double> pull(s.size(), 0);
    for (Index g = 0; g < order.groups(); ++g) {
      const double lower = low[std::size_t(g)], upper = up[std::size_t(g)];
      for (Index p = begin(g); p < end(g); ++p) {
        const std::size_t i = std::size_t(sample(p));
        pull[i] -= vmath::exp(lower - k * s[i] - loss);
      }
      for (Index r = list_starts[std::size_t(g)]; r < list_starts[std::size_t(g + 1)]; ++r) {
        const std::size_t j = std::size_t(hard[std::size_t(r)]);
        pull[j] += vmath::exp(k * s[j] + upper - loss);
      }
    }
    const double factor = dy.item() * k;
    dispatch_float(name(), in[0].dtype(), [&]<class T>() {
      T* ds = dx.into(0).data_mut<T>();
      for (std::size_t i = 0; i < pull.size(); ++i) ds[i] += T(factor * pull[i]);
    });
  }
};

}  // namespace

Tensor cosent_hardest(At scores, const Tensor& labels, CosentHardestOptions o) {
  const char* name = "cosent_hardest";
  if (!scores.tensor || !labels) fail(name, "needs scores and labels; one of them is undefined");
  if (scores->rank() != 1 || labels.shape() != scores->shape()) {
    fail(name, "needs a label for each score: scores " + scores->describe() + " and labels " + labels.describe() +
                   " must both be [N]");
  }
  if (!(o.scale > 0 && std::isfinite(o.scale))) {
    fail(name, "the scale must be a finite number above 0, got " + std::to_string(o.scale));
  }
  if (o.top_k < 1) fail(name, "top_k must be at least 1, got " + std::to_string(o.top_k));
  ranked::check_labels(name, labels);
  if (o.form == Form::definition) return definition(scores, labels, o.scale, o.top_k);
  return apply(CosentHardest{o.scale, o.top_k}, scores, labels.detach());
}

Tensor hardest_negatives(const Tensor& similarity, const Tensor& labels, Index top_k) {
  const char* name = "hardest_negatives";
  if (!similarity || !labels) fail(name, "needs a similarity matrix and labels; one of them is undefined");
  const Index N = labels.numel();
  if (similarity.rank() != 2 || labels.rank() != 1 || similarity.size(0) != N || similarity.size(1) != N) {
    fail(name,
         "needs a similarity matrix [N,N] and labels [N], got " + similarity.describe() + " and " + labels.describe());
  }
  if (top_k < 1) fail(name, "top_k must be at least 1, got " + std::to_string(top_k));
  const Tensor ids = as_index(name, labels);
  const Index* y = ids.data<Index>();
  Tensor out = full({N, top_k}, -1, DType::i64);
  for (Index i = 0; i < N; ++i) {
    const std::vector<double> row = similarity[i].to_vector();
    std::vector<Index> negatives;  // positions in the batch, not in the list of negatives
    for (Index j = 0; j < N; ++j) {
      if (y[j] != y[i]) negatives.push_back(j);
    }
    const Index found = std::min(top_k, Index(negatives.size()));
    std::partial_sort(negatives.begin(), negatives.begin() + found, negatives.end(), Harder{row});
    std::copy_n(negatives.begin(), found, out.data_mut<Index>() + i * top_k);
  }
  return out;
}

Tensor balanced_batch(const Tensor& labels, Index batch_size, Rng& rng, const std::vector<double>& edges) {
  const char* name = "balanced_batch";
  if (!labels || labels.rank() != 1) fail(name, "needs labels [n]");
  if (!std::is_sorted(edges.begin(), edges.end())) fail(name, "the edges of the buckets must ascend");
  if (batch_size < 1 || batch_size > labels.numel()) {
    fail(name, "cannot draw " + std::to_string(batch_size) + " different samples from " + labels.describe());
  }
  std::vector<std::vector<Index>> buckets(edges.size() + 1);
  for (const Index i : rng.permutation(labels.numel())) {
    const auto above = std::upper_bound(edges.begin(), edges.end(), value_at(labels, i));
    buckets[std::size_t(above - edges.begin())].push_back(i);
  }
  // One from each bucket that still has some, in turn.
  Tensor batch = empty({batch_size}, DType::i64);
  Index* out = batch.data_mut<Index>();
  for (Index drawn = 0, b = 0; drawn < batch_size; b = (b + 1) % Index(buckets.size())) {
    auto& bucket = buckets[std::size_t(b)];
    if (bucket.empty()) continue;
    out[drawn++] = bucket.back();
    bucket.pop_back();
  }
  return batch;
}

// ---- for the table of losses

namespace {

std::vector<LossSample> hardest_samples(Rng& rng) {
  const auto pair = [&](Index N) {
    return Inputs{{"scores", 2 * rand({N}, rng, DType::f64) - 1}, {"labels", randint(5, {N}, rng).to(DType::f64) / 4}};
  };
  return {
      {"5 scores, the hardest", pair(5), {{"top_k", 1}, {"scale", 3.0}}},
      {"20 scores, 3 hardest", pair(20), {{"top_k", 3}}},
      {"6 scores, all", pair(6)},
      {"labels all different",
       {{"scores", 2 * rand({13}, rng, DType::f64) - 1}, {"labels", rand({13}, rng, DType::f64)}},
       {{"top_k", 2}}},
      {"all labels equal", {{"scores", rand({4}, rng, DType::f64)}, {"labels", ones({4}, DType::f64)}}},
      {"no scores", {{"scores", zeros({0}, DType::f64)}, {"labels", zeros({0}, DType::f64)}}},
      {.what = "scale 1000", .inputs = pair(30), .options = {{"scale", 1000.0}, {"top_k", 4}}, .extreme = true},
      {.what = "scores of 1e4",
       .inputs = {{"scores", tensor({1e4, -1e4, 0, 3}, DType::f64)}, {"labels", tensor({0, 1, 2, 1}, DType::f64)}},
       .options = {{"top_k", 1}},
       .extreme = true},
  };
}

}  // namespace

Losses mining_losses() {
  return {{.name = "cosent_hardest",
           .family = Family::logsumexp,
           .formula = "log(1 + sum_i sum_{j in the K hardest of lower label} e^{k (s_j - s_i)})",
           .seeds = "A073 A076",
           .task = "sentence similarity with few hard comparisons",
           .inputs = {{"scores", "[N]"}, {"labels", "[N]", Kind::constant}},
           .options = {{"scale", 20.0}, {"top_k", 10}},
           .run =
               [](const Arguments& a) {
                 return cosent_hardest(a["scores"], a["labels"],
                                       {.scale = a.number("scale"), .top_k = a.integer("top_k"), .form = a.form});
               },
           .samples = hardest_samples}};
}

}  // namespace gradus
