// Any loss that is a function phi of the label's log-probability: focal, gamma-CE, poly-1, GCE, LDAM.
//
//   L = w_t phi(log p_t),   p = softmax(s (z - m_t e_t))    z [N,C] logits, t label, e_t its unit vector; one L per row
//
// Plain losses have w = 1, scale s = 1, margins m = 0. A row with label ignore_index, or with w_t = 0, is left out.
//
// Derivation. With l = log p_t: dl/dz_j = s ([j = t] - p_j), so
//   dL/dz_j = w_t s phi'(l) ([j = t] - p_j)
//
// Safe form. l = (z_t - top) - rest from partition.h: no digit of l is lost near p_t = 1, and 1 - p_t = -expm1(l). phi
//   is given l, never p_t: at p_t = 1e-40 it is -92.
//
//   struct Nll {
//     static constexpr auto name = "nll";                            of the node
//     template <class T> HD T value(T l) const { return -l; }        phi(l), l in [-inf, 0]
//     template <class T> HD T slope(T) const { return -1; }          phi'(l)
//   };
//   Tensor rows = log_pt(logits, target, Nll{}, {.weight = w});      // [N]
#pragma once
#include "losses/loss.h"
#include "losses/softmax/labels.h"
#include "losses/softmax/partition.h"
#include "ops/elementwise.h"
#include "ops/index.h"

namespace gradus {

struct LogPtOptions {
  Tensor weight = {}, margin = {};  // [C] each, of the logits' type; undefined: all 1, all 0
  Index ignore_index = -100;
  double scale = 1;  // > 0; with margins only
};

// log p_t on the tape. Ignored rows give log 1/C, whatever their logits.  [N,C], [N] -> [N]
Tensor log_pt_definition(At logits, const Tensor& target, Index ignore_index);

// Samples of logits and labels for the table of losses: several shapes and reductions, an ignored row, one class, no
// row left, and as extremes p_t of 1e-40 and 1 - 1e-26, logits of 1e4; with each variant of the loss's own options.
struct Variant {
  std::string what;
  Options options;
};
std::vector<LossSample> labelled_samples(Rng& rng, const std::vector<Variant>& variants);

// log(1 - e^l) for l <= 0: each branch keeps its digits on its side.
template <class T> HD T log1mexp(T l) {
  return l > T(-0.6931472) ? vmath::log(-vmath::expm1(l)) : vmath::log1p(-vmath::exp(l));
}

// What a kernel reads.
template <class T> struct LabelledLogits {
  const T *z, *weight, *margin;  // [N,C]; [C] or null
  const Index* label;            // [N]
  Index classes, ignore;
  T scale;
};

// Row r of it. w is 0 where it is left out, and then there is no label t. Without Margins loops see no shift, no scale.
template <class T, bool Margins> struct LabelledRow {
  const T* z;
  Index t;
  T w, shift, scale;
  HD LabelledRow(const LabelledLogits<T>& in, Index r)
      : z(in.z + r * in.classes), t(in.label[r]), w(0), shift(0), scale(in.scale) {
    if (t == in.ignore) return;
    w = in.weight ? in.weight[t] : T(1);
    if constexpr (Margins) shift = in.margin[t];
  }
  // s (z_j - m_t [j = t] - top): differences first, so that logits which share 1e4 lose nothing to the margin.
  HD T above(Index j, T top) const {
    const T d = z[j] - top;
    return Margins ? scale * (j == t ? d - shift : d) : d;
  }
  // With margins, top is the greatest logit but the label's, and the label may rise above it.
  HD T peak(T top) const {
    if constexpr (Margins) return above(t, top) > 0 ? above(t, top) : T(0);
    return T(0);
  }
};

template <class T, class Phi, bool Margins> struct LogPtLoss {
  LabelledLogits<T> in;
  Phi phi;
  T *loss, *top, *rest;  // [N] each: L, the greatest logit, lse - s top - peak
  template <class Team> HD void operator()(Index r, Team team) const {
    const LabelledRow<T, Margins> row(in, r);
    const Index C = in.classes;
    T L = 0, m = 0, log_z = 0;
    if (row.w != 0) {
      if constexpr (Margins) {
        const Index t = row.t;
        const T below = team.template max<T>(t, [=](Index j) { return row.z[j]; });
        const T behind = team.template max<T>(C - 1 - t, [=](Index j) { return row.z[t + 1 + j]; });
        const T rival = below > behind || below != below ? below : behind;
        const T most = rival == -vmath::infinity<T> ? row.z[t] : rival;  // no rival: the label alone
        const Partition<T> p = partition<T>(team, C, [=](Index j) { return row.above(j, most); });
        m = most;
        log_z = p.top > 0 ? p.rest : p.top + p.rest;
      } else {
        const Partition<T> p = partition<T>(team, C, [=](Index j) { return row.z[j]; });
        m = p.top, log_z = p.rest;
      }
      L = row.w * phi.value((row.above(row.t, m) - row.peak(m)) - log_z);
    }
    if (team.leads()) {
      loss[r] = L;
      top[r] = m;
      rest[r] = log_z;
    }
  }
};

template <class T, class Phi, bool Margins, bool Add> struct LogPtGradient {
  LabelledLogits<T> in;
  Phi phi;
  const T *dy, *top, *rest;
  T* dz;
  template <class Team> HD void operator()(Index r, Team team) const {
    const LabelledRow<T, Margins> row(in, r);
    const Index C = in.classes, t = row.t;
    const T s = Margins ? row.scale : T(1), m = top[r], log_z = rest[r];
    T l = 0, g = 0, peak = 0;
    if (row.w != 0) {
      peak = row.peak(m);
      l = (row.above(t, m) - peak) - log_z;
      g = dy[r] * row.w * s * phi.slope(l);
    }
    T* to = dz + r * C;
    const auto put = [=](Index j, T v) { to[j] = Add ? to[j] + v : v; };
    if (g == 0) return team.each(C, [=](Index j) { put(j, T(0)); });
    const auto other = [=](Index j) { put(j, -g * vmath::exp_below((s * (row.z[j] - m) - peak) - log_z)); };
    team.each(t, other);
    team.each(C - 1 - t, [=](Index j) { other(t + 1 + j); });
    if (team.leads()) put(t, -g * vmath::expm1(l));
  }
};

// in: logits, weight, margin, target i64.  y: one loss per row.
template <class Phi> struct LogPt final : Op {
  Phi phi;
  Index ignore;
  double scale;
  Tensor top, rest;  // [N], for the backward pass
  LogPt(Phi p, const LogPtOptions& o) : phi(p), ignore(o.ignore_index), scale(o.scale) {}
  const char* name() const override { return Phi::name; }

  // Calls f with the element type and whether there are margins.
  template <class F> void dispatch_rows(In in, const F& f) const {
    dispatch_float(name(), in[0].dtype(), [&]<class T>() {
      with_flag(bool(in[2]), [&]<bool Margins>() {
        f.template operator()<T, Margins>(LabelledLogits<T>{in[0].data<T>(), kept<T>(in[1]), kept<T>(in[2]),
                                                            in[3].data<Index>(), in[0].size(1), ignore, T(scale)});
      });
    });
  }
  Tensor forward(In in) override {
    const Tensor& z = in[0];
    const Index N = z.size(0), C = z.size(1);
    Tensor loss = empty({N}, z.dtype(), z.device());
    top = empty({N}, z.dtype(), z.device());
    rest = empty({N}, z.dtype(), z.device());
    dispatch_rows(in, [&]<class T, bool Margins>(const LabelledLogits<T>& rows) {
      launch_rows(z.device(), N, C,
                  LogPtLoss<T, Phi, Margins>{rows, phi, loss.data_mut<T>(), top.data_mut<T>(), rest.data_mut<T>()});
    });
    return loss;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Tensor& z = in[0];
    auto [dz, started] = dx.sum(0);
    dispatch_rows(in, [&, &to = dz, add = started]<class T, bool Margins>(const LabelledLogits<T>& rows) {
      with_flag(add, [&]<bool Add>() {
        launch_rows(z.device(), z.size(0), z.size(1),
                    LogPtGradient<T, Phi, Margins, Add>{rows, phi, dy.data<T>(), top.data<T>(), rest.data<T>(),
                                                        to.template data_mut<T>()});
      });
    });
  }
};

// The closed form: one node.  [N,C], labels [N] -> [N]
template <class Phi> Tensor log_pt(At logits, const Tensor& target, Phi phi, const LogPtOptions& o) {
  const auto constant = [](const Tensor& x) { return x ? x.detach() : x; };
  return apply(LogPt<Phi>(phi, o), logits, constant(o.weight), constant(o.margin), as_index(Phi::name, target));
}

}  // namespace gradus
