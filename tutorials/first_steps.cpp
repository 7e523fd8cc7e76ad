#include <gradus.h>

#include <cstdio>

#include "tutorials/datasets/batches.h"
#include "tutorials/datasets/digits.h"
using namespace gradus;

int main() {
  const Split digits = digits_split();
  Mlp model({64, 128, 10}, Rng(7));
  Adam adam(model.parameters(), {.lr = 3e-3});
  for (int epoch = 1; epoch <= 40; ++epoch) {
    for (auto [x, y] : batches(digits.train, 64, epoch)) {
      Tape tape;                                                           // records until the end of the scope
      Tensor loss = cross_entropy(model(x), y, {.label_smoothing = 0.1});  // []
      backward(loss);                                                      // fills parameter.grad()
      adam.step(), adam.zero_grad();
    }
  }
  Tensor right = equal(argmax(model(digits.test.images), 1), digits.test.labels);  // [N] u8
  std::printf("%.1f %% of the test digits read correctly\n", 100 * mean(right.to(DType::f64)).item());
}
