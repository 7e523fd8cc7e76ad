// n tasks of m classes each from one vector: logits for nm_eq1, nm_eq3 (losses/logsumexp/nm.h) or n cross entropies.
//                                                                                                           [A102-A107]
#pragma once
#include "engine/tape.h"
#include "models/linear.h"
#include "ops/sort.h"

namespace gradus {

class NmHeads final : public Module {
 public:
  Index tasks, classes;
  Linear linear;  // D -> n m

  NmHeads(Index width, Index n, Index m, Rng&& rng)
      : tasks(checked("tasks", n)), classes(checked("classes", m)), linear(width, n * m, rng.split()) {}
  void list(Parts& parts) override { parts.add("linear", linear); }
  Tensor operator()(At x) const {  // [N,D] -> [N,n,m]
    if (!x.tensor || x->rank() != 2) fail("NmHeads", "needs x [N,D], got " + (x.tensor ? x->describe() : "nothing"));
    return linear(x).reshape({x->size(0), tasks, classes}, x.line);
  }
  Tensor predict(const Tensor& x) const {  // -> i64 [N,n]
    const NoGrad no_grad;
    return argmax((*this)(x), 2);
  }

 private:
  static Index checked(std::string_view what, Index size) {
    check_size("NmHeads", what, size);
    return size;
  }
};

}  // namespace gradus
