// A program as a user of Gradus writes it: one loss, its gradient, and an exit status that says whether both are right.
#include <gradus.h>

#include <cmath>
#include <iostream>

int main() {
  using namespace gradus;
  Tensor logits = zeros({1, 2}).requires_grad_();  // two classes, equally likely
  Tape tape;
  Tensor loss = cross_entropy(logits, labels({0}));  // -log 1/2
  backward(loss);                                    // dL/dlogits = softmax(logits) - [1, 0]
  std::cout << "loss " << loss << ", gradient " << logits.grad() << '\n';

  const std::vector<double> g = logits.grad().to_vector();
  const auto near = [](double a, double b) { return std::abs(a - b) < 1e-6; };
  return near(loss.item(), std::log(2.0)) && near(g[0], -0.5) && near(g[1], 0.5) ? 0 : 1;
}
