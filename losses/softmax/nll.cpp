#include "losses/softmax/nll.h"

#include "losses/softmax/labels.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"

namespace gradus {
namespace {

// As the derivation starts: -sum_c w_t [c = t] log p_c, w_t = 0 where ignored; 0 times anything is 0.  [N]
Tensor definition(const Tensor& log_p, const Tensor& target, const NllOptions& o) {
  const Tensor q = label_rows(target, log_p.size(1), o.weight, o.ignore_index, log_p.dtype());  // [N,C]
  const Tensor unused = equal(q, zeros({}, q.dtype(), q.device()));
  return -sum(q * masked_fill(log_p, unused, 0), {1});
}

// L_r = -w_r log_p[r, t_r]
template <class T> struct PickLabel {
  RowWeight<T> weight;
  const T* log_p;
  Index classes;
  T* loss;
  HD void operator()(Index r) const {
    const T w = weight(r);
    loss[r] = w == 0 ? T(0) : -w * log_p[r * classes + weight.label[r]];
  }
};

// dL_r/dlog_p[r, t_r] = -w_r
template <class T> struct PushLabel {
  RowWeight<T> weight;
  const T* dy;
  Index classes;
  T* dx;
  HD void operator()(Index r) const {
    const T w = weight(r);
    if (w != 0) dx[r * classes + weight.label[r]] -= dy[r] * w;
  }
};

// in: log_p [N,C], weight [C] or undefined, target i64 [N].  y: one loss per row.
struct Nll final : Op {
  Index ignore;
  explicit Nll(Index i) : ignore(i) {}
  const char* name() const override { return "nll"; }
  template <class T> RowWeight<T> weights(In in) const { return {in[2].data<Index>(), kept<T>(in[1]), ignore}; }
  Tensor forward(In in) override {
    Tensor loss = empty({in[0].size(0)}, in[0].dtype(), in[0].device());
    dispatch_float(name(), loss.dtype(), [&]<class T>() {
      launch(loss.device(), loss.numel(),
             PickLabel<T>{weights<T>(in), in[0].data<T>(), in[0].size(1), loss.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    Tensor& to = dx.into(0);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch(dy.device(), dy.numel(), PushLabel<T>{weights<T>(in), dy.data<T>(), in[0].size(1), to.data_mut<T>()});
    });
  }
};

}  // namespace

Tensor nll(At log_probs, const Tensor& target, NllOptions o) {
  check_labelled_logits("nll", log_probs, target, o.ignore_index);
  check_class_vector("nll", "weight", o.weight, log_probs);
  if (o.weight) o.weight = o.weight.detach();  // class weights are constants
  const Tensor rows = o.form == Form::definition
                          ? definition(log_probs, target, o)
                          : apply(Nll(o.ignore_index), log_probs, o.weight, as_index("nll", target));
  return reduce_labelled(At(rows, log_probs.line), o.reduction, target, o.ignore_index, o.weight);
}

// ---- for the table of losses

namespace {

std::vector<LossSample> samples(Rng& rng) {
  const auto rows = [&](Index N, Index C) { return log_softmax(2 * randn({N, C}, rng, DType::f64)); };
  const auto classes = [&](Index N, Index C) { return randint(C, {N}, rng); };
  Tensor some_ignored = classes(7, 5);
  set_value(some_ignored, 2, -100);
  return {
      {"mean", {{"log_probs", rows(6, 4)}, {"target", classes(6, 4)}}},
      {"two classes, none", {{"log_probs", rows(3, 2)}, {"target", classes(3, 2)}}, {{"reduction", "none"}}},
      {"weights, ignored row",
       {{"log_probs", rows(7, 5)}, {"target", some_ignored}, {"weight", rand({5}, rng, DType::f64) + 0.5}}},
      {"sum, not normalised",
       {{"log_probs", randn({2, 3}, rng, DType::f64)}, {"target", classes(2, 3)}},
       {{"reduction", "sum"}}},
      {"all rows ignored", {{"log_probs", rows(2, 3)}, {"target", labels({-100, -100})}}},
      {.what = "log p of -1e30",
       .inputs = {{"log_probs", tensor({-1e30, 0, -92, -1}, {2, 2}, DType::f64)}, {"target", labels({0, 0})}},
       .extreme = true},
  };
}

}  // namespace

Losses nll_losses() {
  return {
      {.name = "nll",
       .family = Family::softmax,
       .formula = "-w_t log p_t",
       .seeds = "A008 A021",
       .task = "classification by models that return log-probabilities",
       .inputs = {{"log_probs", "[N,C]"}, {"target", "[N]", Kind::integer}, {"weight", "[C]", Kind::constant, true}},
       .options = {{"ignore_index", -100}, reduction_option()},
       .run =
           [](const Arguments& a) {
             return nll(a["log_probs"], a["target"],
                        {.weight = a["weight"],
                         .ignore_index = a.integer("ignore_index"),
                         .reduction = a.reduction(),
                         .form = a.form});
           },
       .samples = samples}};
}

}  // namespace gradus
