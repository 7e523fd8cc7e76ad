// Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28, an MLP, cross entropy. Expected: 88 to 90 % on the test part.
#include "tutorials/datasets/idx.h"
#include "tutorials/experiments/images.h"

namespace gradus::experiments {
namespace {

Outcome run(const Request& request) {
  const Split split = request.data.empty() ? fashion_mnist() : fashion_mnist(request.data);
  return train_on_images(split, {.sizes = {784, 256, 10}, .batch = 128, .lr = 1e-3}, fashion(), request);
}

}  // namespace

Experiment fashion() {
  return {"fashion",
          "cross_entropy",
          "pictures of clothes by an MLP",
          "./dev data fashion-mnist, or --data DIR",
          "fashion-mnist",
          4700,
          run};
}

}  // namespace gradus::experiments
