// While training: y = x m / (1 - p), each m being 0 with probability p, else 1. While evaluating: y = x.
//
// Which elements drop depends on the state of `rng` alone; checkpoints save it, so a resumed run drops the same ones.
#pragma once
#include "models/module.h"
#include "ops/regularize.h"

namespace gradus {

class Dropout final : public Module {
 public:
  double p;
  Rng rng;

  Dropout(double rate, Rng&& generator) : p(rate), rng(generator) {
    if (!(p >= 0 && p < 1)) fail("Dropout", "needs 0 <= p < 1, got " + std::to_string(p));
  }
  void list(Parts& parts) override { parts.add("rng", rng); }
  Tensor operator()(At x) { return training ? dropout(x, p, rng) : x.tensor; }
};

}  // namespace gradus
