// One recorded op, differentiated numerically where it stands: an op is an object, so it can be run again.
#include <algorithm>

#include "engine/finite.h"
#include "engine/grad_check.h"

namespace gradus {
namespace {

// Lends the node's op to a tape of grad_check.
struct Replay final : Op {
  Op& op;
  explicit Replay(Op& o) : op(o) {}
  const char* name() const override { return op.name(); }
  Keep keep() const override { return op.keep(); }
  Tensor forward(In in) override { return op.forward(in); }
  void backward(const Tensor& dy, In in, const Tensor& y, Out dx) override { op.backward(dy, in, y, dx); }
};

}  // namespace

GradCheckResult check_node(const Tape& tape, NodeId id, const GradCheckOptions& options) {
  const Node& node = tape.node(id);
  const std::span<const NodeId> ids = tape.inputs_of(id);
  const In in = tape.kept_inputs_of(id);
  if (ids.empty()) return {};  // a leaf
  if (node.op && node.op->makes_infinity() && first_non_finite(node.output) >= 0) return {};
  if (node.spent) {
    fail("check_node", describe_node(tape, id) + " was freed by a backward pass; pass Retain::yes to it");
  }
  GradCheckOptions here = options;
  here.wrt.clear();
  for (std::size_t k = 0; k < ids.size(); ++k) {
    if (ids[k] < 0) continue;
    if (!in[k]) fail("check_node", describe_node(tape, id) + " kept no inputs; record it on `Tape tape(Debug::yes);`");
    here.wrt.push_back(int(k));
  }
  bool rounds = false;
  const auto run_again = [&](const std::vector<Tensor>& x) {
    Tensor y = apply(Replay(*node.op), node.line, In(x));
    rounds = y.dtype() != DType::f64;
    return y;
  };
  GradCheckResult result = grad_check(run_again, {in.begin(), in.end()}, here);
  node.op->forward(in);  // an op may remember something for its backward: let that be of the true inputs again
  if (rounds) return {};
  if (!result.passed) result.message = describe_node(tape, id) + ": " + result.message;
  return result;
}

GradCheckResult check_tape(const Tape& tape, const GradCheckOptions& options) {
  GradCheckResult all;
  for (NodeId id = 0; id < NodeId(tape.nodes().size()); ++id) {
    const GradCheckResult one = check_node(tape, id, options);
    all.passed = all.passed && one.passed;
    all.worst = std::max(all.worst, one.worst);
    all.checked += one.checked;
    all.kinks += one.kinks;
    if (!one.passed) all.message += (all.message.empty() ? "" : "\n") + one.message;
  }
  return all;
}

}  // namespace gradus
