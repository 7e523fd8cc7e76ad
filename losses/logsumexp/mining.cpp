#include "losses/logsumexp/mining.h"

#include <algorithm>
#include <cmath>

#include "losses/logsumexp/mining_device.h"
#include "losses/logsumexp/ranked.h"
#include "ops/elementwise.h"
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
  Tensor left_out = full({N, N}, 1, DType::u8, Device::cpu());
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
  const Tensor terms = masked_fill(gap, left_out.to(scores.device()), -vmath::infinity<double>);
  return logsumexp(cat({zeros({1}, scores.dtype(), scores.device()), terms.reshape({N * N})}), 0);  // []
}

// ---- as the derivation ends: one node

// Which scores are compared: chosen on the CPU, from copies.
struct Choice {
  ranked::Order order;
  std::vector<Index> hard, lists;          // H of label group g is hard[lists[g]] .. hard[lists[g+1]]
  std::vector<Index> group, enter, leave;  // of a score: its group; it is in H_g for enter <= g < leave

  Choice(const Tensor& scores, const Tensor& labels, Index top_k) : order(ranked::order_of(labels)), lists(1, 0) {
    const std::vector<double> s = scores.to_vector();
    const Index G = order.groups();
    for (auto* v : {&group, &enter, &leave}) v->assign(s.size(), 0);
    std::vector<Index> list;  // the K hardest so far, the hardest first
    for (Index g = 0; g < G; ++g) {
      hard.insert(hard.end(), list.begin(), list.end());
      lists.push_back(Index(hard.size()));
      for (Index p = order.starts[std::size_t(g)]; p < order.starts[std::size_t(g + 1)]; ++p) {
        const Index i = Index(order.sample[std::size_t(p)]);
        group[std::size_t(i)] = g;
        add(list, i, g + 1, top_k, Harder{s});
      }
    }
    for (const Index i : list) leave[std::size_t(i)] = G;
  }

  void add(std::vector<Index>& list, Index candidate, Index next_group, Index top_k, const Harder& harder) {
    if (Index(list.size()) == top_k) {
      if (!harder(candidate, list.back())) return;
      leave[std::size_t(list.back())] = next_group;
      list.pop_back();
    }
    enter[std::size_t(candidate)] = next_group;
    list.insert(std::upper_bound(list.begin(), list.end(), candidate, harder), candidate);
  }
};

// y = log(1 + sum_i sum_{j in H_i} e^{k (s_j - s_i)})
// dy/ds_i = k (sum_{h: i in H_h} e^{k (s_i - s_h)} - sum_{j in H_i} e^{k (s_j - s_i)}) / e^y
struct CosentHardest final : Op {
  double k;
  Index top_k, groups = 0;
  Tensor sample, starts, hard, lists, group, enter, leave;
  Tensor low, up;  // [2,G]: logarithms, and then nothing of use
  Tensor L;        // [] f64
  CosentHardest(double scale, Index top) : k(scale), top_k(top) {}
  const char* name() const override { return "cosent_hardest"; }

  void choose(const Tensor& scores, const Tensor& y) {
    const Choice c(scores, y, top_k);
    Device& device = scores.device();
    groups = c.order.groups();
    sample = labels({c.order.sample.begin(), c.order.sample.end()}, device);
    starts = labels(c.order.starts, device);
    hard = labels(c.hard, device);
    lists = labels(c.lists, device);
    group = labels(c.group, device);
    enter = labels(c.enter, device);
    leave = labels(c.leave, device);
  }

  mining::Lists of() const {
    return {sample.data<Index>(), starts.data<Index>(), hard.data<Index>(), lists.data<Index>(),
            group.data<Index>(),  enter.data<Index>(),  leave.data<Index>()};
  }

  Tensor forward(In in) override {
    const Tensor& s = in[0];
    Device& device = s.device();
    choose(s, in[1]);
    L = empty({}, DType::f64, device);
    Tensor y = empty({}, s.dtype(), device);
    const Index N = s.numel(), R = chunks_of(N);
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      const auto log_sums = [&](double sign, const Tensor& index, const Tensor& begins) {
        Tensor y = row_max_sums(
            device, groups, top_k,
            mining::ListTerms<T>{s.data<T>(), sign * k, index.template data<Index>(), begins.template data<Index>()});
        launch(device, groups, mining::Logs{y.data_mut<double>(), groups});
        return y;
      };
      low = log_sums(1, hard, lists);
      up = log_sums(-1, sample, starts);
      const Tensor parts =
          chunk_max_sums(device, N, mining::Wins<T>{s.data<T>(), k, group.data<Index>(), low.data<double>()});
      launch_rows(device, 1, R, Log1pOfRows<T>{parts.data<double>(), R, L.data_mut<double>(), y.data_mut<T>()});
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (!dx.wants(0)) return;
    const Tensor& s = in[0];
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_rows(s.device(), s.numel(), top_k,
                  mining::Gradient<T>{s.data<T>(), dy.data<T>(), k, of(), low.data<double>(), up.data<double>(),
                                      L.data<double>(), dx.into(0).template data_mut<T>()});
    });
  }
};

// hardest_negatives on the CPU: one partial sort a row.
void sort_negatives(const Tensor& similarity, const Index* y, Index N, Index top_k, Index* out) {
  for (Index i = 0; i < N; ++i) {
    const std::vector<double> row = similarity[i].to_vector();
    std::vector<Index> negatives;  // positions in the batch, not in the list of negatives
    for (Index j = 0; j < N; ++j) {
      if (y[j] != y[i]) negatives.push_back(j);
    }
    const Index found = std::min(top_k, Index(negatives.size()));
    std::partial_sort(negatives.begin(), negatives.begin() + found, negatives.end(), Harder{row});
    std::copy_n(negatives.begin(), found, out + i * top_k);
    std::fill_n(out + i * top_k + found, top_k - found, Index(-1));
  }
}

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
  check_same_device(name, scores, labels);
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
  check_same_device(name, similarity, labels);
  const Tensor ids = as_index(name, labels);
  Tensor out = empty({N, top_k}, DType::i64, similarity.device());
  if (similarity.device().is_cpu()) {
    sort_negatives(similarity.detach(), ids.data<Index>(), N, top_k, out.data_mut<Index>());
    return out;
  }
  dispatch_float(name, similarity.dtype(), [&]<class T>() {
    launch_rows(similarity.device(), N, N,
                mining::RowNegatives<T>{similarity.data<T>(), ids.data<Index>(), N, top_k, out.data_mut<Index>()});
  });
  return out;
}

Tensor balanced_batch(const Tensor& labels, Index batch_size, Rng& rng, const std::vector<double>& edges) {
  const char* name = "balanced_batch";
  if (!labels || labels.rank() != 1) fail(name, "needs labels [n]");
  if (!std::is_sorted(edges.begin(), edges.end())) fail(name, "the edges of the buckets must ascend");
  if (batch_size < 1 || batch_size > labels.numel()) {
    fail(name, "cannot draw " + std::to_string(batch_size) + " different samples from " + labels.describe());
  }
  const std::vector<double> y = labels.to_vector();
  std::vector<std::vector<Index>> buckets(edges.size() + 1);
  for (const Index i : rng.permutation(labels.numel())) {
    const auto above = std::upper_bound(edges.begin(), edges.end(), y[std::size_t(i)]);
    buckets[std::size_t(above - edges.begin())].push_back(i);
  }
  // One from each bucket that still has some, in turn.
  std::vector<Index> batch;
  for (std::size_t b = 0; Index(batch.size()) < batch_size; b = (b + 1) % buckets.size()) {
    auto& bucket = buckets[b];
    if (bucket.empty()) continue;
    batch.push_back(bucket.back());
    bucket.pop_back();
  }
  return gradus::labels(batch, labels.device());
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
