#include "losses/softmax/linear_cross_entropy.h"

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/labels.h"
#include "losses/softmax/partition.h"
#include "ops/arithmetic.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

constexpr auto op_name = "linear_cross_entropy";

// L_r = rest + (top - z_t); where the gradient is wanted, z_j becomes g_r (p_j - [j = t]), and 0 in a row that does not
// count. g is what arrives for each row, or null for 1.
template <class T> struct ChunkRow {
  Index V, ignore;
  const Index* label;
  const T* g;
  T *z, *loss;
  bool gradient;
  template <class Team> HD void operator()(Index r, Team team) const {
    T* row = z + r * V;
    const Index t = label[r];
    if (t == ignore) {
      if (team.leads()) loss[r] = 0;
      if (gradient) team.each(V, [=](Index j) { row[j] = 0; });
      return;
    }
    const Partition<T> p = partition<T>(team, V, [=](Index j) { return row[j]; });
    const T nll = p.rest + (p.top - row[t]);
    team.sync();  // all have read row[t]
    if (team.leads()) loss[r] = nll;
    if (!gradient) return;
    const T arrived = g ? g[r] : T(1);
    team.each(V, [=](Index j) {
      const T e = vmath::exp_below((row[j] - p.top) - p.rest);
      row[j] = arrived * (j == t ? vmath::expm1(-nll) : e);  // p_t - 1 keeps its digits where p_t is nearly 1
    });
  }
};

// total = sum_r L_r in one team: a fixed order
template <class T> struct Total {
  const T* loss;
  Index n;
  T* total;
  template <class Team> HD void operator()(Index, Team team) const {
    const T* L = loss;
    const T s = team.template sum<T>(n, [=](Index r) { return L[r]; });
    if (team.leads()) *total = s;
  }
};

// dx (+)= g d, g the one number that arrives
template <class T> struct TimesUpstream {
  const T *g, *d;
  T* dx;
  bool add;
  HD void operator()(Index i) const { dx[i] = add ? dx[i] + *g * d[i] : *g * d[i]; }
};

// L = sum_r L_r, or L_r for each row
// dL/dh = (p - e) W        dL/dW = (p - e)^T h
struct LinearCrossEntropy final : Op {
  Constant target;
  Index ignore, chunk;
  bool rows;    // one loss for each row, whose gradients wait for what arrives
  Tensor d[2];  // of hidden and weight; of the sum, made by forward when a tape records
  LinearCrossEntropy(Tensor t, Index i, Index c, bool r) : target(std::move(t)), ignore(i), chunk(c), rows(r) {}
  const char* name() const override { return "linear_cross_entropy"; }

  Tensor forward(In in) override {
    const bool ahead = Tape::recording() && !rows;
    return run(in, ahead && in[0].requires_grad(), ahead && in[1].requires_grad(), {});
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const bool missing = (dx.wants(0) && !d[0]) || (dx.wants(1) && !d[1]);
    if (rows || missing) run(in, dx.wants(0), dx.wants(1), rows ? dy : Tensor());
    for (const int k : {0, 1}) {
      if (!dx.wants(k)) continue;
      if (rows) {
        dx.add(k, d[k]);
        d[k] = Tensor();
        continue;
      }
      auto [sum, started] = dx.sum(k);
      dispatch_float(name(), dy.dtype(), [&, &to = sum, add = started]<class T>() {
        launch(dy.device(), to.numel(), TimesUpstream<T>{dy.data<T>(), d[k].data<T>(), to.template data_mut<T>(), add});
      });
    }
  }

 private:
  Tensor run(In in, bool wants_hidden, bool wants_weight, const Tensor& dy) {
    const Tensor &hidden = in[0], &weight = in[1];
    const Index N = hidden.size(0), D = hidden.size(1), V = weight.size(0);
    Device& device = hidden.device();
    const DType dtype = hidden.dtype();
    d[0] = wants_hidden ? empty(hidden.shape(), dtype, device) : Tensor();
    d[1] = wants_weight ? zeros(weight.shape(), dtype, device) : Tensor();
    const Index most = std::min(N, chunk > 0 ? chunk : std::max<Index>(256, N * D / V));
    Tensor losses = empty({N}, dtype, device), z = empty({most, V}, dtype, device), total = empty({}, dtype, device);
    dispatch_float(name(), dtype, [&]<class T>() {
      const T *h = hidden.data<T>(), *w = weight.data<T>();
      T* logits = z.data_mut<T>();
      const auto gemm = [&](Gemm g, const T* a, const T* b, T* c) { device.gemm(dtype, g, a, b, c); };
      for (Index r = 0; r < N; r += most) {
        const Index n = std::min(most, N - r);
        gemm({.transpose_b = true, .m = n, .n = V, .k = D}, h + r * D, w, logits);
        launch_rows(device, n, V,
                    ChunkRow<T>{V, ignore, target.get(name()).data<Index>() + r, dy ? dy.data<T>() + r : nullptr,
                                logits, losses.data_mut<T>() + r, wants_hidden || wants_weight});
        if (wants_hidden) gemm({.m = n, .n = D, .k = V}, logits, w, d[0].data_mut<T>() + r * D);
        if (wants_weight) {
          gemm({.transpose_a = true, .accumulate = true, .m = V, .n = D, .k = n}, logits, h + r * D,
               d[1].data_mut<T>());
        }
      }
      if (!rows) launch_rows(device, 1, N, Total<T>{losses.data<T>(), N, total.data_mut<T>()});
    });
    return rows ? losses : total;
  }
};

}  // namespace

Tensor linear_cross_entropy(At hidden, const Tensor& weight, const Tensor& target, LinearCrossEntropyOptions o) {
  if (!hidden.tensor || !weight || !target)
    fail(op_name, "needs hidden states, a weight and a target; one is undefined");
  check_same_kind(op_name, hidden, weight);
  if (hidden->rank() != 2 || weight.rank() != 2 || hidden->size(1) != weight.size(1) || weight.size(0) == 0) {
    fail(op_name, "needs hidden [N,D] and weight [V,D], got " + hidden->describe() + " and " + weight.describe());
  }
  if (target.shape() != Shape{hidden->size(0)}) {
    fail(op_name, "needs one label for each row: hidden " + hidden->describe() + ", target " + target.describe());
  }
  if (o.chunk < 0) fail(op_name, "chunk must be 0 (choose) or a number of rows, got " + std::to_string(o.chunk));
  const Tensor labels = as_index(op_name, target);
  check_same_device(op_name, hidden, labels);
  check_indices(op_name, "label", labels, weight.size(0), &o.ignore_index);
  if (o.form == Form::definition) {
    return cross_entropy(linear(hidden, weight), labels,
                         {.ignore_index = o.ignore_index, .reduction = o.reduction, .form = o.form});
  }
  const bool rows = o.reduction == Reduction::none;
  const Tensor total = apply(LinearCrossEntropy(labels, o.ignore_index, o.chunk, rows), hidden, weight);
  if (o.reduction != Reduction::mean) return total;
  const Tensor count = sum(label_weights(labels, {}, o.ignore_index, total.dtype()));
  return At(total, hidden.line) / At(clamp(count, 1, INFINITY), hidden.line);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto inputs = [&](Index N, Index D, Index V, Tensor target = {}) {
    return Inputs{{"hidden", randn({N, D}, rng, DType::f64)},
                  {"linear_weight", randn({V, D}, rng, DType::f64)},
                  {"target", target ? target : randint(V, {N}, rng)}};
  };
  return {
      {"one chunk", inputs(5, 3, 7)},
      {"chunks of 2, the last shorter, sum", inputs(5, 4, 6), {{"chunk", 2}, {"reduction", "sum"}}},
      {"ignored rows, chunks of 3", inputs(7, 2, 5, labels({4, -100, 0, 1, -100, 2, 3})), {{"chunk", 3}}},
      {"all ignored", inputs(2, 3, 4, labels({-100, -100}))},
      {"no rows", inputs(0, 3, 4)},
      {.what = "logits of 1e4",
       .inputs = {{"hidden", tensor({100, 0, -100, 1}, {2, 2}, DType::f64)},
                  {"linear_weight", tensor({100, 0, -100, 1, 0, 0}, {3, 2}, DType::f64)},
                  {"target", labels({1, 1})}},
       .extreme = true},
  };
}

}  // namespace

Losses linear_cross_entropy_losses() {
  return {{.name = "linear_cross_entropy",
           .family = Family::softmax,
           .formula = "-log softmax(W h)_t",
           .seeds = "A008 A014",
           .task = "language models with a large vocabulary",
           .inputs = {{"hidden", "[N,D]"}, {"linear_weight", "[V,D]"}, {"target", "[N]", Kind::integer}},
           .options = {{"ignore_index", -100}, {"chunk", 0}, reduction_option()},
           .run =
               [](const Arguments& a) {
                 return linear_cross_entropy(a["hidden"], a["linear_weight"], a["target"],
                                             {.ignore_index = a.integer("ignore_index"),
                                              .reduction = a.reduction(),
                                              .chunk = a.integer("chunk"),
                                              .form = a.form});
               },
           .samples = samples}};
}

}  // namespace gradus
