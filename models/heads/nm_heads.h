// n tasks of m classes each from one vector: logits for nm_eq1, nm_eq3 (losses/logsumexp/nm.h) or n cross entropies. [A102-A107]
#pragma once
#include "engine/tape.h"
#include "models/linear.h"
#include "ops/sort.h"

namespace gradus {

class NmHeads final : public Module {
 public:
  Linear linear;  // D -> n m
  Index tasks, classes;

  NmHeads(Index width, Index n, Index m, Rng&& rng) : linear(width, n * m, rng.split()), tasks(n), classes(m) {
    check_size("NmHeads", "tasks", n);
    check_size("NmHeads", "classes", m);
  }
  void list(Parts& parts) override { parts.add("linear", linear); }
  Tensor operator()(At x) const { return linear(x).reshape({x->size(0), tasks, classes}, x.line); }  // [N,D] -> [N,n,m]
  Tensor predict(const Tensor& x) const {                                                            // -> i64 [N,n]
    const NoGrad no_grad;
    return argmax((*this)(x), 2);
  }
};

}  // namespace gradus
