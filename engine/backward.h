// The backward pass is an object that steps.
//
//   dL/dx = sum over the nodes y that use x of  dL/dy dy/dx
//
// Every user of a node was recorded after it. Sweeping the tape from its end, a node's sum is therefore complete when the
// sweep arrives there, and its own step can pass the gradient on. Sums live in the pass, not in the tensors: passes
// do not disturb each other, and only leaves have a .grad.
#pragma once
#include <span>
#include <vector>

#include "engine/tape.h"

namespace gradus {

// Retain::no frees each node once its step is done; a second pass over it is an error that says so.
enum class Retain : bool { no, yes };

class BackwardPass {
 public:
  // From a scalar loss, dL/dL = 1. With wrt, only nodes that lead to one of these tensors are visited.
  explicit BackwardPass(const Tensor& loss, Retain retain = Retain::no, std::span<const Tensor> wrt = {});
  // From wherever seed() says.
  explicit BackwardPass(Tape& tape, Retain retain = Retain::no);

  // Starts, or also starts, at y with the gradient dy: the trunk of a multi-task model, one row of a Jacobian.
  void seed(const Tensor& y, const Tensor& dy);

  NodeId next();  // the node that step() will run, its gradient complete; -1 at the end
  void step();    // one virtual call: the op's backward. A pass whose step threw is over.
  // Runs the remaining steps and adds the gradients of the leaves to their .grad.
  void finish();
  void finish_without_grad();  // runs the remaining steps only

  // The sum at y so far; undefined where nothing arrived or it was passed on and freed.
  // keep(y) before the sweep keeps it. A debug tape keeps all. finish() moves those of leaves to their .grad.
  Tensor gradient(const Tensor& y) const;
  Tensor gradient(NodeId id) const;
  void keep(const Tensor& y);
  Tape& tape() { return tape_; }

 private:
  Tape& tape_;
  Retain retain_;
  std::vector<Tensor> sums_;  // beside the nodes: dL/d node
  std::vector<char> needed_;  // empty: all
  std::vector<char> keep_;
  NodeId current_, stop_ = 0;
  NodeId hooked_ = -1;  // hooks ran for this node already
  std::vector<Out::Slot> slots_;

  bool needed(NodeId id) const { return id >= 0 && (needed_.empty() || needed_[std::size_t(id)]); }
  void mark_needed(std::span<const Tensor> wrt);
  void run_hooks(NodeId id);
};

// Adds dL/d leaf to the .grad of every leaf that the loss depends on.
void backward(const Tensor& loss, Retain retain = Retain::no);

// dL/d wrt[i] as values; no .grad is touched, and nodes that do not lead to wrt are neither visited nor freed.
// A tensor that the loss does not depend on has gradient zero.
std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& wrt, Retain retain = Retain::no);

}  // namespace gradus
