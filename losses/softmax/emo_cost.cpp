#include "losses/softmax/emo_cost.h"

#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/matmul.h"
#include "ops/normalize.h"

namespace gradus {

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

}  // namespace gradus
