// Memory for time: a part of the model that keeps its inputs only, and runs again when the backward pass needs the rest.
//
//   Tensor h = checkpoint([&](const std::vector<Tensor>& in) { return block(in[0]); }, {x, block.w, block.b});
//
// One node on the tape. Its backward opens a tape of its own, runs f again, and passes dy through it.
//
// Every tensor that f uses and that needs a gradient has to be among the inputs, parameters too: the tape knows a node by
// its inputs, and grad(loss, wrt) must not touch the .grad of anything else. f may then still reach its parameters by itself,
// as block does above. A parameter that is missing is an error, when f runs for the first time. f must compute the same
// the second time: let random numbers (dropout) start from a seed that f carries.
#pragma once
#include <algorithm>

#include "engine/backward.h"

namespace gradus {

struct Checkpoint final : Op {
  TensorFunction f;
  explicit Checkpoint(TensorFunction function) : f(std::move(function)) {}
  const char* name() const override { return "checkpoint"; }

  Tensor forward(In in) override {
    Tape inner(debug_as_outside());  // dropped on return, with all it kept
    const std::vector<Tensor> x = cut(in);
    const Tensor y = f(x);
    for (const Node& node : inner.nodes()) {
      const bool is_input =
          std::any_of(x.begin(), x.end(), [&](const Tensor& t) { return t.handle() == node.output.handle(); });
      if (node.inputs == 0 && !is_input) {
        fail("checkpoint",
             "the function uses " + node.output.describe() + ", which is not among its inputs: pass it too");
      }
    }
    return y.detach();
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    Tape inner(debug_as_outside());
    const std::vector<Tensor> x = cut(in);
    const Tensor y = f(x);
    if (inner.id_of("checkpoint", y) < 0) return;  // depends on nothing that requires a gradient
    BackwardPass pass(inner);
    pass.seed(y, dy);
    pass.finish_without_grad();
    for (std::size_t k = 0; k < x.size(); ++k) {
      // A leaf that is listed twice is one tensor: its whole gradient goes to the first place.
      const auto first = std::find_if(x.begin(), x.end(), [&](const Tensor& t) { return t.handle() == x[k].handle(); });
      if (!dx.wants(int(k)) || first - x.begin() < std::ptrdiff_t(k)) continue;
      if (const Tensor gradient = pass.gradient(x[k])) dx.add(int(k), gradient);
    }
  }

 private:
  // Leaves may be on several tapes at once. What another op computed becomes a leaf here: the inner sweep ends there.
  static std::vector<Tensor> cut(In in) {
    std::vector<Tensor> x(in.begin(), in.end());
    for (Tensor& t : x) {
      if (t && !t.is_leaf()) t = t.detach().requires_grad_();
    }
    return x;
  }

  static Debug debug_as_outside() {
    const Tape* outside = Tape::innermost();
    return outside && outside->debug() ? Debug::yes : Debug::no;
  }
};

inline Tensor checkpoint(TensorFunction f, const std::vector<Tensor>& inputs, UserLine line = user_line()) {
  return apply(Checkpoint(std::move(f)), line, inputs);
}

}  // namespace gradus
