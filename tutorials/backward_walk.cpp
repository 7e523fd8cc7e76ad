#include <gradus.h>

#include <iostream>
using namespace gradus;

int main() {
  Tape tape;
  Tensor x = tensor({1, 2, -1, 3}, {2, 2}, DType::f64).named("x");
  Tensor w = tensor({.5, -.2, .1, .4}, {2, 2}, DType::f64).named("w").requires_grad_();
  Tensor logits = matmul(x, w).named("logits");
  Tensor loss = cross_entropy(logits, labels({0, 1})).named("loss");
  std::cout << loss << "\n\n" << listing(tape) << "\n";

  BackwardPass pass(loss);
  while (pass.next() >= 0) {  // the node that step() will run; the gradient that has arrived there is complete
    std::cout << describe_node(tape, pass.next()) << "\n    dy = " << pass.gradient(pass.next()) << "\n";
    pass.step();  // one virtual call: step into it with a debugger and you are in the formula
  }
  pass.finish();
  std::cout << "w.grad = " << w.grad() << "\n";
}
