#include "losses/softmax/emo_cost.h"

#include <algorithm>
#include <numeric>

#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/matmul.h"
#include "ops/normalize.h"

namespace gradus {

EmoLabels::EmoLabels(const char* op, const Tensor& target, Index ignore_index)
    : labels(as_index(op, target).clone()), ignored(zeros({target.numel(), 1}, DType::u8)) {
  for (Index r = 0; r < labels.numel(); ++r) {
    const bool skip = Index(value_at(labels, r)) == ignore_index;
    if (skip) set_value(labels, r, 0);
    set_value(ignored, r, skip);
    kept += !skip;
  }
}

namespace {

// c = 1 - s, and exactly 0 at the label (1 where its embedding is 0); rounding below 0 is cut off
// dc/ds = -1, 0 at the label: u_t has length 1 whatever e_t
template <class T> struct CostValue {
  const T* s;
  const Index* label;
  Index classes;
  T* c;
  HD void operator()(Index r, Index j) const {
    const T cosine = s[r * classes + j], cost = 1 - cosine;
    c[r * classes + j] = j == label[r] ? T(cosine < T(0.5)) : cost < 0 ? T(0) : cost;
  }
};
template <class T> struct CostSlope {
  const T* dc;
  const Index* label;
  Index classes;
  T* ds;
  HD void operator()(Index r, Index j) const { ds[r * classes + j] -= j == label[r] ? T(0) : dc[r * classes + j]; }
};

// in: cosines [N,C], labels [N]
struct EmoCost final : Op {
  const char* name() const override { return "emo_cost"; }
  Tensor forward(In in) override {
    const Tensor& s = in[0];
    Tensor c = empty(s.shape(), s.dtype(), s.device());
    dispatch_float(name(), s.dtype(), [&]<class T>() {
      launch_grid(s.device(), s.size(0), s.size(1),
                  CostValue<T>{s.data<T>(), in[1].data<Index>(), s.size(1), c.template data_mut<T>()});
    });
    return c;
  }
  void backward(const Tensor& dc, In in, const Tensor&, Out dx) override {
    dispatch_float(name(), dc.dtype(), [&]<class T>() {
      launch_grid(dc.device(), dc.size(0), dc.size(1),
                  CostSlope<T>{dc.data<T>(), in[1].data<Index>(), dc.size(1), dx.into(0).template data_mut<T>()});
    });
  }
};

}  // namespace

Tensor cosines_to_labels(const Tensor& emb, const Tensor& labels) {
  const Tensor unit = l2_normalize(emb);
  return matmul(embedding(unit, labels), unit, {.transpose_b = true});
}

Tensor emo_costs(const Tensor& cosines, const Tensor& labels) { return apply(EmoCost(), cosines, labels); }

Tensor nearest_to_labels(const Tensor& cosines, const Tensor& labels, Index k) {
  const Index N = cosines.size(0), C = cosines.size(1), keep = k < C ? k + 1 : C;
  Tensor mask = zeros(cosines.shape(), DType::u8);
  std::uint8_t* in_reach = mask.data_mut<std::uint8_t>();
  const Index* label = labels.data<Index>();
  dispatch_float("emo_topk", cosines.dtype(), [&]<class T>() {
    const T* s = cosines.data<T>();
    parallel_for(N, std::max<Index>(1, serial_below / 8 / C), [=](Index begin, Index end) {
      std::vector<Index> order(std::size_t(C), 0);
      for (Index r = begin; r < end; ++r) {
        // The label goes first; of the others, the k nearest come before the rest, in any order.
        std::iota(order.begin(), order.end(), Index(0));
        std::swap(order[0], order[std::size_t(label[r])]);
        const auto cosine = [row = s + r * C](Index i) { return row[i] == row[i] ? row[i] : T(-2); };
        const auto nearer = [&](Index a, Index b) {
          const T u = cosine(a), v = cosine(b);
          return u > v || (u == v && a < b);
        };
        if (keep < C) std::nth_element(order.begin() + 1, order.begin() + keep, order.end(), nearer);
        for (Index i = 0; i < keep; ++i) in_reach[r * C + order[std::size_t(i)]] = 1;
      }
    });
  });
  return mask;
}

}  // namespace gradus
