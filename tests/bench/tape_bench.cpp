// What one recorded op costs: forward and backward per op, over a chain of 100 ops (mul, add, tanh, sub) on n floats.
//
// The peer, measured on another day and machine with the same chain (its script times `torch::autograd` in C++): libtorch
// 1.13 takes 3300 ns an op at n = 16. Best and median of many runs, one thread: the best is the machine, the median what
// one gets beside other work.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "engine/backward.h"
#include "engine/parallel.h"
#include "ops/math.h"
#include "ops/reduce.h"

namespace gradus {
namespace {

struct Timing {
  double best, median;
};

template <class F> Timing timed(int runs, const F& f) {
  std::vector<double> ns;
  for (int run = 0; run < runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    f();
    ns.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(ns.begin(), ns.end());
  return {ns.front(), ns[ns.size() / 2]};
}

constexpr int ops = 100;

Tensor chain(Tensor x, const Tensor& a, const Tensor& b) {
  for (int i = 0; i < ops / 4; ++i) x = tanh(x * a + b) - a;
  return x;
}

void measure(Index n, int runs) {
  Tensor x = full({n}, .3).requires_grad_(), a = full({n}, .9).requires_grad_(), b = full({n}, .1).requires_grad_();
  const Timing forward_only = timed(runs, [&] {
    const NoGrad no_grad;
    chain(x, a, b);
  });
  const Timing both = timed(runs, [&] {
    Tape tape;
    backward(sum(chain(x, a, b)));
    for (Tensor leaf : {x, a, b}) leaf.zero_grad();
  });
  const double f = forward_only.best / ops, fb = both.best / ops;
  std::printf("%8lld %14.0f %14.0f %14.0f %10.1f\n", static_cast<long long>(n), f, fb, both.median / ops, 3300 / fb);
}

}  // namespace
}  // namespace gradus

int main() {
  gradus::set_thread_count(1);
  std::printf("nanoseconds per op; shape checks, broadcasting rules and names included\n");
  std::printf("%8s %14s %14s %14s %10s\n", "floats", "no grad", "fwd+bwd best", "median", "vs 3300");
  for (const gradus::Index n : {1, 16, 256, 1024}) gradus::measure(n, 3000);
}
