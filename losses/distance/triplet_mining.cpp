#include "losses/distance/triplet_mining.h"

#include "losses/distance/checks.h"
#include "losses/distance/mining_device.h"
#include "losses/distance/mining_rules.h"
#include "losses/distance/pair.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/normalize.h"
#include "ops/reduce.h"
#include "ops/select.h"

namespace gradus {
namespace {

// ---- as the derivation starts: all [N,N] or [N,N,N] hinges on the tape

// The masks and distances that the definitions share; the masks are u8.
struct Batch {
  Index N;
  Tensor d, positive, negative;  // [N,N]: distances; p != a with a's label; other labels
  Batch(const Tensor& e, const Tensor& labels) : N(e.size(0)) {
    const Index D = e.size(1);
    d = norm(e.reshape({N, 1, D}) - e.reshape({1, N, D}));
    const Tensor same = equal(labels.reshape({N, 1}), labels.reshape({1, N}));
    const Tensor row = arange(N, DType::i64, e.device());
    const Tensor self = equal(row.reshape({N, 1}), row.reshape({1, N}));
    positive = logical_and(same, logical_not(self));
    negative = logical_not(same);
  }
  Tensor across(const Tensor& x) const { return x.reshape({N, 1, N}); }  // [a,n] -> [a,.,n]
  Tensor down(const Tensor& x) const { return x.reshape({N, N, 1}); }    // [a,p] -> [a,p,.]
};

Tensor constant_like(const Tensor& x, double value) { return full({}, value, x.dtype(), x.device()); }

// h where a triplet is valid, else 0
Tensor hinges(const Tensor& gap, const Tensor& valid) { return relu(masked_fill(gap, logical_not(valid), 0)); }

struct Hinges {
  Tensor h, valid;  // [N,..]
};

Hinges definition(const BatchAll&, const Batch& b, double margin) {
  const Tensor valid = logical_and(b.down(b.positive), b.across(b.negative));  // [N,N,N]
  return {hinges(b.down(b.d) - b.across(b.d) + margin, valid), valid};
}

Hinges definition(const BatchHard&, const Batch& b, double margin) {
  const Tensor far = max(masked_fill(b.d, logical_not(b.positive), -vmath::infinity<double>), 1);  // [N]
  const Tensor near = min(masked_fill(b.d, logical_not(b.negative), vmath::infinity<double>), 1);
  const Tensor infinite = constant_like(far, vmath::infinity<double>);
  const Tensor valid = logical_and(greater(far, -infinite), less(near, infinite));
  return {hinges(far - near + margin, valid), valid};
}

Hinges definition(const SemiHard&, const Batch& b, double margin) {
  const Tensor infinite = constant_like(b.d, vmath::infinity<double>);
  const Tensor candidate = logical_and(b.across(b.negative), greater(b.across(b.d), b.down(b.d)));  // [N,N,N]
  const Tensor wide = b.across(b.d) + zeros({b.N, b.N, b.N}, b.d.dtype(), b.d.device());
  const Tensor farther = min(masked_fill(wide, logical_not(candidate), vmath::infinity<double>), 2);          // [N,N]
  const Tensor farthest = max(masked_fill(b.d, logical_not(b.negative), -vmath::infinity<double>), 1, true);  // [N,1]
  const Tensor chosen = where(less(farther, infinite), farther, farthest);
  const Tensor valid = logical_and(b.positive, greater(farthest, -infinite));
  return {hinges(b.d - chosen + margin, valid), valid};
}

template <class Rule, class Options>
Tensor defined_rows(const Tensor& embeddings, const Tensor& labels, const Options& o) {
  if (embeddings.size(0) == 0) return sum(embeddings, {1});  // [0]
  const Hinges all = definition(Rule{}, Batch(embeddings, labels), o.margin);
  const Index N = embeddings.size(0);
  const Tensor rows = sum(all.h.reshape({N, all.h.numel() / N}), {1});
  if (o.reduction != Reduction::mean) return rows;
  const Tensor counted = o.over == TripletMean::valid ? all.valid : greater(all.h, constant_like(all.h, 0));
  const Tensor n = sum(counted.to(rows.dtype()));  // 0 only where all rows are 0
  return rows / maximum(n, constant_like(rows, 1));
}

// ---- as it ends: one node

// n = the triplets that count, scale = 1 / n or 1
struct MeanScale {
  Index N;
  const double* counted;
  bool mean;
  double* scale;
  template <class Team> HD void operator()(Index, Team team) const {
    const double* c = counted;
    const double n = team.template sum<double>(N, [=](Index a) { return c[a]; });
    if (team.leads()) *scale = !mean ? 1 : n > 0 ? 1 / n : 0;
  }
};

template <class T> struct ScaledRows {
  const double *loss, *scale;
  T* y;
  HD void operator()(Index a) const { y[a] = T(loss[a] != loss[a] ? loss[a] : loss[a] * scale[0]); }
};

// in: embeddings [N,D], labels i64 [N].  y: per anchor, the sum of its hinges times `scale`.
template <class Rule> struct Mined final : Op {
  double margin;
  bool over_active, mean;
  Tensor scale;  // f64 [1], for the backward pass
  Mined(double m, TripletMean over, bool divide) : margin(m), over_active(over == TripletMean::active), mean(divide) {}
  const char* name() const override { return Rule::name; }

  Tensor forward(In in) override {
    const Tensor& e = in[0];
    const Index N = e.size(0);
    Tensor rows = empty({N}, e.dtype(), e.device());
    Tensor loss = empty({N}, DType::f64, e.device()), counted = empty({N}, DType::f64, e.device());
    scale = empty({1}, DType::f64, e.device());
    double *L = loss.data_mut<double>(), *count = counted.data_mut<double>(), *factor = scale.data_mut<double>();
    dispatch_float(name(), e.dtype(), [&]<class T>() {
      if (e.device().is_cpu()) {
        each_anchor<T>(in, [&](Index a, Anchor& row) {
          const Tally t = row.judge<Rule>(margin, nullptr);
          L[a] = t.loss;
          count[a] = double(over_active ? t.active : t.valid);
        });
      } else {
        mine_on_device(
            in, mining::MineRow<T, Rule>{.margin = margin, .over_active = over_active, .loss = L, .counted = count});
      }
      launch_rows(e.device(), 1, N, MeanScale{N, count, mean, factor});
      launch(e.device(), N, ScaledRows<T>{L, factor, rows.data_mut<T>()});
    });
    return rows;
  }

  // s_aj = dL/dd(a,j) / d(a,j), then de_i += sum_j (s_ij + s_ji) (e_i - e_j)
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& e = in[0];
    const Index N = e.size(0), D = e.size(1);
    dispatch_float(name(), e.dtype(), [&]<class T>() {
      Tensor pull = empty({N, N}, e.dtype(), e.device());
      const T *g = dy.data<T>(), *x = e.data<T>();
      T *s = pull.data_mut<T>(), *de = dx.into(0).template data_mut<T>();
      const double* factor = scale.data<double>();
      if (!e.device().is_cpu()) {
        mine_on_device(in, mining::MineRow<T, Rule>{.margin = margin, .dy = g, .scale = factor, .s = s});
        return launch_grid(e.device(), N, D, mining::PullGradient<T>{N, D, s, x, de});
      }
      each_anchor<T>(in, [&](Index a, Anchor& row) {
        std::fill(s + a * N, s + (a + 1) * N, T(0));
        if (g[a] == 0) return;
        row.judge<Rule>(margin, row.slope.data());
        for (Index j = 0; j < N; ++j) {
          const double d = row.d[std::size_t(j)];
          if (d != 0) s[a * N + j] = T(double(g[a]) * factor[0] * row.slope[std::size_t(j)] / d);
        }
      });
      parallel_for(N, anchors_at_once(N, D), [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
          for (Index j = 0; j < N; ++j) {
            const T c = s[i * N + j] + s[j * N + i];
            if (c == 0) continue;
#pragma omp simd
            for (Index k = 0; k < D; ++k) de[i * D + k] += c * (x[i * D + k] - x[j * D + k]);
          }
        }
      });
    });
  }

 private:
  static Index anchors_at_once(Index N, Index D) {
    return std::max<Index>(1, serial_below / std::max<Index>(1, N * D));
  }

  // f(a, row) for every anchor a, its distances in row.d; rows share nothing.
  template <class T, class F> static void each_anchor(In in, const F& f) {
    const Index N = in[0].size(0), D = in[0].size(1), *labels = in[1].data<Index>();
    const T* x = in[0].data<T>();
    parallel_for(N, anchors_at_once(N, D), [&](Index begin, Index end) {
      Anchor row(N);
      for (Index a = begin; a < end; ++a) {
        for (Index j = 0; j < N; ++j) {
          row.d[std::size_t(j)] = double(Euclidean::of(CpuTeam{}, D, x + a * D, x + j * D));
        }
        row.divide(a, labels);
        f(a, row);
      }
    });
  }

  // The same on a GPU, for as many anchors at a time as a workspace of 64 MB holds.
  template <class T> static void mine_on_device(In in, mining::MineRow<T, Rule> row) {
    const Tensor& e = in[0];
    const Index N = e.size(0), D = e.size(1);
    if (N == 0) return;
    const Index most = std::clamp<Index>((Index(1) << 22) / N, 1, N);
    Tensor across = empty({D, N}, e.dtype(), e.device());
    Tensor workspace = empty({most, N, 2}, DType::i64, e.device());
    static_assert(sizeof(mining::Ranked) == 2 * sizeof(Index));
    row.N = N;
    row.ranked = reinterpret_cast<mining::Ranked*>(workspace.data_mut<Index>());
    launch_grid(e.device(), D, N, mining::Across<T>{N, D, e.data<T>(), across.data_mut<T>()});
    for (row.first = 0; row.first < N; row.first += most) {
      const Index anchors = std::min(most, N - row.first);
      const mining::Distances<T> distances{row.first, anchors, N, D, across.data<T>(), in[1].data<Index>(), row.ranked};
      launch_grid(e.device(), (anchors + distances.four - 1) / distances.four, N, distances);
      launch_rows(e.device(), anchors, N, row);
    }
  }
};

template <class Rule, class Options> Tensor mined(At embeddings, const Tensor& labels, const Options& o) {
  constexpr auto op = Rule::name;
  if (!embeddings.tensor || !labels) fail(op, "needs embeddings and labels; one of them is undefined");
  if (embeddings->rank() != 2) fail(op, "needs embeddings [N,D], got " + embeddings->describe());
  check_row_labels(op, embeddings, labels);
  check_at_least(op, "margin", o.margin, 0);
  const Tensor y = as_index(op, labels);
  const Tensor rows = o.form == Form::definition
                          ? defined_rows<Rule>(embeddings, y, o)
                          : apply(Mined<Rule>(o.margin, o.over, o.reduction == Reduction::mean), embeddings, y);
  return reduce_rows(At(rows, embeddings.line), o.reduction == Reduction::none ? Reduction::none : Reduction::sum, 1);
}

}  // namespace

Tensor triplet_batch_all(At embeddings, const Tensor& labels, BatchAllOptions o) {
  return mined<BatchAll>(embeddings, labels, o);
}

Tensor triplet_batch_hard(At embeddings, const Tensor& labels, TripletMiningOptions o) {
  return mined<BatchHard>(embeddings, labels, o);
}

Tensor triplet_semi_hard(At embeddings, const Tensor& labels, TripletMiningOptions o) {
  return mined<SemiHard>(embeddings, labels, o);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> mining_samples(Rng& rng) {
  const auto batch = [&](Index D, const std::vector<Index>& y) -> Inputs {
    return {{"embeddings", randn({Index(y.size()), D}, rng, DType::f64)}, {"labels", labels(y)}};
  };
  const Tensor x = randn({5, 3}, rng, DType::f64), y = labels({0, 1, 0, 1, 0});
  return {
      {"two classes", batch(4, {0, 0, 1, 1, 0, 1, 1})},
      {"unequal classes, over active", batch(3, {5, -2, 5, 5, 7, -2}), {{"over", "active"}, {"margin", 0.5}}},
      {"a class of one, over valid, none",
       batch(2, {1, 1, 2, 1, 3}),
       {{"over", "valid"}, {"margin", 2.0}, {"reduction", "none"}}},
      {"sum", batch(5, {0, 1, 2, 0, 1, 2, 0, 1}), {{"reduction", "sum"}}},
      {"one label: no negatives", batch(3, {4, 4, 4})},
      {"all labels differ: no positives", batch(3, {0, 1, 2, 3}), {{"reduction", "none"}}},
      {"no rows", {{"embeddings", zeros({0, 3}, DType::f64)}, {"labels", labels({})}}},
      {.what = "all points equal",
       .inputs = {{"embeddings", ones({4, 3}, DType::f64)}, {"labels", labels({0, 0, 1, 1})}},
       .extreme = true},
      {.what = "lengths of 1e18",
       .inputs = {{"embeddings", 1e18 * x}, {"labels", y}},
       .options = {{"margin", 1e18}},
       .extreme = true},
      {.what = "lengths of 1e-25", .inputs = {{"embeddings", 1e-25 * x}, {"labels", y}}, .extreme = true},
  };
}

template <class Options> Options options_of(const Arguments& a) {
  return {.margin = a.number("margin"),
          .over = a.text("over") == "valid" ? TripletMean::valid : TripletMean::active,
          .reduction = a.reduction(),
          .form = a.form};
}

LossInfo mined_info(const char* name, const char* formula, const char* over) {
  return {.name = name,
          .family = Family::distance,
          .formula = formula,
          .seeds = "A053 A054",
          .task = "embeddings from labelled batches",
          .inputs = {{"embeddings", "[N,D]"}, {"labels", "[N]", Kind::integer}},
          .options = {{"margin", 1.0}, {"over", over, {"valid", "active"}}, reduction_option()},
          .run = {},
          .samples = mining_samples};
}

}  // namespace

Losses triplet_mining_losses() {
  Losses all = {mined_info("triplet_batch_all", "sum of max(0, d(a,p) - d(a,n) + m) over all triplets", "active"),
                mined_info("triplet_batch_hard", "farthest positive, nearest negative of each anchor", "valid"),
                mined_info("triplet_semi_hard", "nearest negative farther off than each positive", "valid")};
  all[0].run = [](const Arguments& a) {
    return triplet_batch_all(a["embeddings"], a["labels"], options_of<BatchAllOptions>(a));
  };
  all[1].run = [](const Arguments& a) {
    return triplet_batch_hard(a["embeddings"], a["labels"], options_of<TripletMiningOptions>(a));
  };
  all[2].run = [](const Arguments& a) {
    return triplet_semi_hard(a["embeddings"], a["labels"], options_of<TripletMiningOptions>(a));
  };
  return all;
}

}  // namespace gradus
