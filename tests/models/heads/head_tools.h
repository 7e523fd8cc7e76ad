// What the tests of heads share: short fits, labels of spans, gradients through any function of a head.
#pragma once
#include "engine/backward.h"
#include "losses/metrics/span_f1.h"
#include "models/optimizer.h"
#include "tests/models/model_tools.h"
#include "tests/support/loss_case.h"

namespace gradus {

inline Tensor normal(Shape shape, std::uint64_t seed, DType dtype = DType::f32) {
  Rng rng(seed);
  return randn(shape, rng, dtype);
}

// 1 at the cell of each span.  -> [N,H,T,T]
inline Tensor labels_of(const std::vector<Span>& spans, Index N, Index H, Index T) {
  Tensor y = zeros({N, H, T, T});
  for (const Span& s : spans) set_value(y, ((s.batch * H + s.head) * T + s.begin) * T + s.end, 1);
  return y;
}

// Steps of Adam on what `loss` returns; the last value.
template <class Model, class F> double fit(Model& model, int steps, double lr, const F& loss) {
  Adam adam(model.parameters(), {.lr = lr});
  double last = 0;
  for (int k = 0; k < steps; ++k) {
    Tape tape;
    const Tensor L = loss();
    backward(L);
    adam.step();
    adam.zero_grad();
    last = L.item();
  }
  return last;
}

// check_gradients for f(x), some function of the model other than model(x).
template <class Model, class F> void check_gradients_of(Model& model, const Tensor& x, const F& f) {
  struct Through final : Module {
    Model& model;
    const F& f;
    Through(Model& m, const F& g) : model(m), f(g) {}
    void list(Parts& parts) override { model.list(parts); }
    Tensor operator()(const Tensor& in) { return f(in); }
  } through(model, f);
  check_gradients(through, x);
}

}  // namespace gradus
