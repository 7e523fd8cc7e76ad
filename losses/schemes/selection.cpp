#include "losses/schemes/selection.h"

#include <algorithm>
#include <cmath>

#include "losses/schemes/log_partition.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// floor(keep N), at least 1. The product may fall a rounding short of the integer it means, as 0.29 * 100 does.
Index rows_kept(double keep, Index N) {
  return std::min(N, std::max<Index>(1, Index(std::floor(keep * double(N) * (1 + 0x1p-50)))));
}

// ---- co_teaching and jocor, as the derivations start

struct Peers {
  double keep, lambda;
  bool joint;  // jocor: both are judged, and chosen, together
};

Tensor peers_definition(At z1, const Tensor& z2, const Tensor& target, const Peers& o) {
  const CrossEntropyOptions rows{.reduction = Reduction::none, .form = Form::definition};
  const Index k = rows_kept(o.keep, z1->size(0));
  const Tensor ce1 = cross_entropy(z1, target, rows), ce2 = cross_entropy(At(z2, z1.line), target, rows);  // [N]
  if (!o.joint) { return ce1 * least_mask(ce2, k, Form::definition) + ce2 * least_mask(ce1, k, Form::definition); }
  const Tensor log_p1 = log_softmax(z1), log_p2 = log_softmax(At(z2, z1.line));
  const Tensor J = sum((exp(log_p1) - exp(log_p2)) * (log_p1 - log_p2), {1});
  const Tensor l = (1 - o.lambda) * (ce1 + ce2) + o.lambda * J;
  return l * least_mask(l, k, Form::definition);
}

// ---- as the derivations end: one node

template <class T> struct Pair {
  LogProbabilities<T> one, two;
  const Index* target;
};

// J_r = sum_c (p1 - p2) (log p1 - log p2)
template <class T> struct Agreement {
  Pair<T> pair;
  T* J;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Pair<T> at = pair;
    const T sum = team.template sum<T>(at.one.classes, [=](Index c) {
      const T a = at.one.log_p(r, c), b = at.two.log_p(r, c), gap = vmath::exp(a) - vmath::exp(b);
      return gap == 0 ? T(0) : gap * (a - b);
    });
    if (team.leads()) J[r] = sum;
  }
};

// Both cross entropies, and (1 - lambda) (CE1 + CE2) + lambda J
template <class T> struct JointLoss {
  Pair<T> pair;
  const T* J;
  T lambda, rest;
  T *ce1, *ce2, *joint;
  HD void operator()(Index r) const {
    const T a = pair.one.nll(r, pair.target[r]), b = pair.two.nll(r, pair.target[r]);
    ce1[r] = a, ce2[r] = b;
    joint[r] = (rest == 0 ? T(0) : rest * (a + b)) + (lambda == 0 ? T(0) : lambda * J[r]);
  }
};
// What is left of the losses: 0 where a row is not chosen, whatever stood there.
template <class T> struct KeptJointly {
  const T* w;
  T* y;
  HD void operator()(Index r) const { y[r] = w[r] == 0 ? T(0) : y[r]; }
};
template <class T> struct KeptByPeer {
  const T *ce1, *ce2, *w1, *w2;
  T* y;
  HD void operator()(Index r) const { y[r] = (w1[r] == 0 ? T(0) : ce1[r]) + (w2[r] == 0 ? T(0) : ce2[r]); }
};

// dL_r/dz1_j = (1 - lambda) w (p1_j - [j = t]) + lambda w (p1_j (d_j - K) + p1_j - p2_j); `one` is the side asked for
template <class T> struct PeerGradient {
  Pair<T> pair;
  const T *dy, *w;
  T lambda;
  T* dz;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T g = dy[r] * w[r], plain = g * (1 - lambda), pull = g * lambda;
    if (g == 0) return;
    const LogProbabilities<T> one = pair.one, two = pair.two;
    const Index C = one.classes, t = pair.target[r];
    T* to = dz + r * C;
    if (pull == 0) return team.each(C, [=](Index j) { to[j] += plain * one.p_minus_one_hot(r, j, t); });
    const T *z1 = one.logits + r * C, *z2 = two.logits + r * C;
    const Index m = team.template argmax<T>(C, [=](Index j) { return z1[j]; });
    const auto term = [=](Index c) {  // p1_c (d_c - d_m)
      const T p = one.p(r, c);
      return p == 0 ? T(0) : p * ((z1[c] - z1[m]) - (z2[c] - z2[m]));
    };
    const T K = team.template sum<T>(C, term);
    team.each(C, [=](Index j) {
      const T p = one.p(r, j);
      to[j] += plain * one.p_minus_one_hot(r, j, t) + pull * ((term(j) - p * K) + (p - two.p(r, j)));
    });
  }
};

// in: both logits, target i64 [N].  y: the loss of each row, 0 where it is not chosen.
struct PeerLoss final : Op {
  Peers o;
  LogPartition of_one, of_two;
  Tensor w1, w2;  // [N] 1 where network 1, 2 learns from the row
  explicit PeerLoss(const Peers& options) : o(options) {}
  const char* name() const override { return "peer_loss"; }

  template <class T> Pair<T> pair(In in, bool exchanged = false) const {
    const LogProbabilities<T> one(in[0], of_one), two(in[1], of_two);
    return {exchanged ? two : one, exchanged ? one : two, in[2].data<Index>()};
  }

  Tensor forward(In in) override {
    const Index N = in[0].size(0), C = in[0].size(1), k = rows_kept(o.keep, N);
    of_one = LogPartition(in[0]), of_two = LogPartition(in[1]);
    Tensor y = empty({N}, in[0].dtype(), in[0].device()), J = zeros({N}, y.dtype(), y.device());
    Tensor ce1 = empty({N}, y.dtype(), y.device()), ce2 = empty({N}, y.dtype(), y.device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      const Pair<T> at = pair<T>(in);
      if (o.lambda > 0) launch_rows(y.device(), N, C, Agreement<T>{at, J.data_mut<T>()});
      T *a = ce1.data_mut<T>(), *b = ce2.data_mut<T>(), *to = y.data_mut<T>();
      launch(y.device(), N, JointLoss<T>{at, J.data<T>(), T(o.lambda), T(1 - o.lambda), a, b, to});
      w1 = least_mask(o.joint ? y : ce2, k), w2 = o.joint ? w1 : least_mask(ce1, k);
      const T *v1 = w1.data<T>(), *v2 = w2.data<T>();
      if (o.joint) {
        launch(y.device(), N, KeptJointly<T>{v1, to});
      } else {
        launch(y.device(), N, KeptByPeer<T>{a, b, v1, v2, to});
      }
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index N = in[0].size(0), C = in[0].size(1);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      for (const int side : {0, 1}) {
        if (!dx.wants(side)) continue;
        launch_rows(dy.device(), N, C,
                    PeerGradient<T>{pair<T>(in, side == 1), dy.data<T>(), (side ? w2 : w1).template data<T>(),
                                    T(o.lambda), dx.into(side).template data_mut<T>()});
      }
    });
  }
};

Tensor peers(const char* op, At z1, const Tensor& z2, const Tensor& target, const Peers& o, Reduction reduction,
             Form form) {
  check_logits(op, z1);
  check_logits(op, z2);
  check_same_kind(op, z1, z2);
  if (z1->shape() != z2.shape()) {
    fail(op, "needs logits of one shape from both networks, got " + z1->describe() + " and " + z2.describe());
  }
  const Tensor t = checked_labels(op, "target", z1, target);
  if (!(o.keep > 0 && o.keep <= 1)) fail(op, "keep must lie in (0,1], got " + std::to_string(o.keep));
  if (!(o.lambda >= 0 && o.lambda <= 1)) fail(op, "lambda must lie in [0,1], got " + std::to_string(o.lambda));
  const Tensor rows = form == Form::definition ? peers_definition(z1, z2, t, o) : apply(PeerLoss(o), z1, z2, t);
  return reduce_rows(At(rows, z1.line), reduction, double(rows_kept(o.keep, z1->size(0))));
}

}  // namespace

Tensor co_teaching(At logits1, const Tensor& logits2, const Tensor& target, CoTeachingOptions o) {
  return peers("co_teaching", logits1, logits2, target, {o.keep, 0, false}, o.reduction, o.form);
}
Tensor jocor(At logits1, const Tensor& logits2, const Tensor& target, JocorOptions o) {
  return peers("jocor", logits1, logits2, target, {o.keep, o.lambda, true}, o.reduction, o.form);
}

double keep_rate(double epoch, double noise, double gradual) {
  if (!(epoch >= 0 && noise >= 0 && noise < 1 && gradual >= 0)) {
    fail("keep_rate", "needs epoch >= 0, noise in [0,1) and gradual >= 0");
  }
  return 1 - noise * (epoch >= gradual ? 1 : epoch / gradual);
}

namespace {

template <class T> struct MarkRow {
  const Index* order;
  T* mask;
  HD void operator()(Index i) const { mask[order[i]] = 1; }
};

}  // namespace

Tensor least_mask(const Tensor& losses, Index count, Form form) {
  if (!losses || losses.rank() != 1) fail("least_mask", "needs losses [N]");
  if (count < 0) fail("least_mask", "count must not be negative, got " + std::to_string(count));
  const Index N = losses.size(0);
  if (form == Form::closed) {
    const Tensor order = argsort(losses.detach(), 0);
    Tensor mask = zeros({N}, losses.dtype(), losses.device());
    dispatch_float("least_mask", losses.dtype(), [&]<class T>() {
      launch(losses.device(), std::min(count, N), MarkRow<T>{order.data<Index>(), mask.data_mut<T>()});
    });
    return mask;
  }
  // how many come before each row
  const Tensor l = losses.detach(), place = arange(N, DType::f64, l.device());
  const Tensor across = l.reshape({1, N}), down = l.reshape({N, 1});
  const Tensor tied = logical_and(equal(across, down), less(place, place.reshape({N, 1})));
  const Tensor before = sum(logical_or(less(across, down), tied).to(DType::f64), {1});  // [N]
  return less(before, full({}, double(count), DType::f64, l.device())).to(l.dtype());
}

// ---- for the table of losses

namespace {

std::vector<LossSample> peer_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index C) {
    return Inputs{{"logits1", 2 * randn({N, C}, rng, DType::f64)},
                  {"logits2", 2 * randn({N, C}, rng, DType::f64)},
                  {"target", randint(C, {N}, rng)}};
  };
  return {
      {"7 rows, keep 0.6", inputs(7, 3), {{"keep", 0.6}}},
      {"two classes, none", inputs(5, 2), {{"reduction", "none"}}},
      {"all kept, sum", inputs(3, 4), {{"keep", 1.0}, {"reduction", "sum"}}},
      {"one row is kept", inputs(2, 5), {{"keep", 0.1}}},
      {"one class", inputs(3, 1)},
      {"no rows", inputs(0, 3)},
      {.what = "logits of 1e4",
       .inputs = {{"logits1", tensor({1e4, -1e4, 0, -1e4, 1e4, 3}, {2, 3}, DType::f64)},
                  {"logits2", tensor({0, 1e4, -5, 7, 1, 1e4}, {2, 3}, DType::f64)},
                  {"target", labels({1, 2})}},
       .options = {{"keep", 1.0}},
       .extreme = true},
  };
}

std::vector<LossSample> jocor_samples(Rng& rng) {
  std::vector<LossSample> samples = peer_samples(rng);
  samples[0].options.insert_or_assign("lambda", 0.9);
  samples[3].options.insert_or_assign("lambda", 1.0);
  return samples;
}

const std::vector<InputSpec> two_networks = {
    {"logits1", "[N,C]"}, {"logits2", "[N,C]"}, {"target", "[N]", Kind::integer}};

}  // namespace

Losses selection_losses() {
  return {
      {.name = "co_teaching",
       .family = Family::scheme,
       .formula = "1/k [sum_{S_2} CE(z1, y) + sum_{S_1} CE(z2, y)], S_a the k rows easiest for network a",
       .seeds = "A166",
       .task = "noisy labels",
       .inputs = two_networks,
       .options = {{"keep", 0.8}, reduction_option()},
       .run =
           [](const Arguments& a) {
             return co_teaching(a["logits1"], a["logits2"], a["target"],
                                {.keep = a.number("keep"), .reduction = a.reduction(), .form = a.form});
           },
       .samples = peer_samples},
      {.name = "jocor",
       .family = Family::scheme,
       .formula = "1/k sum_S (1 - lambda) (CE1 + CE2) + lambda (KL12 + KL21), S the k rows of least joint loss",
       .seeds = "A167",
       .task = "noisy labels",
       .inputs = two_networks,
       .options = {{"keep", 0.8}, {"lambda", 0.1}, reduction_option()},
       .run =
           [](const Arguments& a) {
             return jocor(
                 a["logits1"], a["logits2"], a["target"],
                 {.keep = a.number("keep"), .lambda = a.number("lambda"), .reduction = a.reduction(), .form = a.form});
           },
       .samples = jocor_samples}};
}

}  // namespace gradus
