#include "engine/backward.h"

#include <algorithm>

#include "engine/finite.h"

namespace gradus {

// ---- Out: sums are shared until somebody writes to them

namespace {

bool alone(const Tensor& x) { return x.handle().use_count() == 1 && x.body().buffer.use_count() == 1; }

// Two slots may hold one tensor (the gradient of a + b is dy for both). Whoever adds to it first takes a copy.
Tensor& own(Tensor& sum) {
  if (!alone(sum)) sum = sum.clone();
  return sum;
}

}  // namespace

const Out::Slot& Out::checked(int i) const {
  if (!wants(i)) fail("backward", "into(" + std::to_string(i) + ") without wants(" + std::to_string(i) + ")");
  return slots_[std::size_t(i)];
}

Tensor& Out::into(int i) const {
  const Slot& slot = checked(i);
  if (!*slot.sum) return *slot.sum = zeros(*slot.shape, slot.dtype, *slot.device);
  return own(*slot.sum);
}

Out::Sum Out::sum(int i) const {
  const Slot& slot = checked(i);
  const bool started = bool(*slot.sum);
  if (started) {
    own(*slot.sum);
  } else {
    *slot.sum = empty(*slot.shape, slot.dtype, *slot.device);
  }
  return {*slot.sum, started};
}

void Out::add(int i, const Tensor& gradient) const {
  const Slot& slot = checked(i);
  if (gradient.shape() != *slot.shape || gradient.dtype() != slot.dtype) {
    fail("backward", "an op returned the gradient " + gradient.describe() + " for an input of shape " +
                         slot.shape->text() + " " + name_of(slot.dtype));
  }
  if (&gradient.device() != slot.device) {
    fail("backward", "an op returned a gradient on " + std::string(gradient.device().name()) + " for an input on " +
                         slot.device->name());
  }
  if (!*slot.sum) {
    *slot.sum = gradient;
  } else {
    add_in_place(own(*slot.sum), gradient);
  }
}

// ---- the sweep

BackwardPass::BackwardPass(Tape& tape, Retain retain)
    : tape_(tape), retain_(retain), sums_(tape.nodes().size()), current_(NodeId(tape.nodes().size()) - 1) {}

BackwardPass::BackwardPass(const Tensor& loss, Retain retain, std::span<const Tensor> wrt)
    : BackwardPass(Tape::of("backward", loss), retain) {
  if (loss.numel() != 1) {
    fail("backward", "starts from a scalar, got " + loss.describe() +
                         "; reduce it with sum or mean, or seed a BackwardPass with its gradient");
  }
  current_ = tape_.find(loss);
  if (current_ < 0) fail("backward", loss.describe() + " is a leaf that no op has used");
  sums_[std::size_t(current_)] = ones(loss.shape(), loss.dtype(), loss.device());
  if (!wrt.empty()) mark_needed(wrt);
}

void BackwardPass::mark_needed(std::span<const Tensor> wrt) {
  needed_.assign(sums_.size(), 0);
  stop_ = current_ + 1;
  for (const Tensor& w : wrt) {
    if (!w) fail("grad", "a tensor to differentiate by is undefined");
    if (w.is_leaf() && !w.requires_grad()) fail("grad", w.describe() + " does not require a gradient");
    const NodeId id = tape_.find(w);
    if (id < 0 && !w.is_leaf()) fail("grad", w.describe() + " was recorded on a tape that is gone");
    if (id < 0 || id > current_) continue;  // the loss cannot depend on it
    needed_[std::size_t(id)] = 1;
    stop_ = std::min(stop_, id);
  }
  for (NodeId id = stop_; id <= current_; ++id) {
    const auto inputs = tape_.inputs_of(id);
    if (std::any_of(inputs.begin(), inputs.end(), [&](NodeId k) { return k >= 0 && needed_[std::size_t(k)]; })) {
      needed_[std::size_t(id)] = 1;
    }
  }
}

void BackwardPass::seed(const Tensor& y, const Tensor& dy) {
  if (y.shape() != dy.shape() || y.dtype() != dy.dtype() || &y.device() != &dy.device()) {
    fail("seed", "tensor " + y.describe() + " on " + y.device().name() + " and its gradient " + dy.describe() + " on " +
                     dy.device().name() + " differ");
  }
  const NodeId id = tape_.find(y);
  if (id < 0) fail("seed", y.describe() + " is not on this tape");
  if (id > current_) fail("seed", "the sweep is already past " + describe_node(tape_, id));
  Tensor& sum = sums_[std::size_t(id)];
  if (sum) {
    add_in_place(own(sum), dy);
  } else {
    sum = dy.clone();
  }
}

void BackwardPass::keep(const Tensor& y) {
  keep_.resize(sums_.size());
  if (const NodeId id = tape_.find(y); id >= 0 && std::size_t(id) < keep_.size()) keep_[std::size_t(id)] = 1;
}

Tensor BackwardPass::gradient(const Tensor& y) const { return gradient(tape_.find(y)); }
Tensor BackwardPass::gradient(NodeId id) const {
  return id >= 0 && std::size_t(id) < sums_.size() ? sums_[std::size_t(id)]
                                                   : Tensor();  // recorded after this pass began
}

void BackwardPass::run_hooks(NodeId id) {
  if (hooked_ == id || !sums_[std::size_t(id)]) return;
  hooked_ = id;
  const auto found = tape_.hooks_.find(id);
  if (found == tape_.hooks_.end()) return;
  Tensor& sum = own(sums_[std::size_t(id)]);
  const auto hooks = found->second;  // a copy: a hook may register another
  for (const auto& hook : hooks) hook(sum);
  const Node& node = tape_.node(id);
  if (!sum || sum.shape() != node.shape || sum.dtype() != node.dtype) {
    fail("backward", "a hook of " + describe_node(tape_, id) + " left the gradient " + sum.describe());
  }
}

NodeId BackwardPass::next() {
  const NoGrad no_grad;  // hooks may compute
  for (; current_ >= stop_; --current_) {
    if (!sums_[std::size_t(current_)]) continue;
    run_hooks(current_);
    const auto inputs = tape_.inputs_of(current_);
    if (std::any_of(inputs.begin(), inputs.end(), [&](NodeId id) { return needed(id); })) return current_;
  }
  return -1;
}

void BackwardPass::step() {
  const NodeId id = next();
  if (id < 0) return;
  const NoGrad no_grad;
  const Node& node = tape_.node(id);
  if (node.spent) {
    fail("backward",
         describe_node(tape_, id) + " was already freed by an earlier backward; pass Retain::yes to the earlier one");
  }
  tape_.check_versions(id);
  slots_.clear();
  for (const NodeId input : tape_.inputs_of(id)) {
    if (needed(input)) {
      const Node& from = tape_.node(input);
      slots_.push_back({&sums_[std::size_t(input)], &from.shape, from.dtype, from.device});
    } else {
      slots_.push_back({});
    }
  }
  const Tensor dy = sums_[std::size_t(id)];
  node.op->backward(dy, tape_.kept_inputs_of(id), node.output, Out(slots_));
  if (tape_.debug()) {
    for (const NodeId input : tape_.inputs_of(id)) {
      if (needed(input)) check_finite_backward(tape_, id, dy, input, sums_[std::size_t(input)]);
    }
  }
  --current_;
  const bool keep = tape_.debug() || (!keep_.empty() && keep_[std::size_t(id)]);
  if (!keep) sums_[std::size_t(id)] = Tensor();
  if (retain_ == Retain::no) tape_.free_node(id);
}

void BackwardPass::finish_without_grad() {
  while (next() >= 0) step();
}

void BackwardPass::finish() {
  finish_without_grad();
  for (std::size_t id = 0; id < sums_.size(); ++id) {
    const Node& node = tape_.nodes()[id];
    if (!sums_[id] || node.inputs > 0 || !node.output) continue;
    TensorBody& leaf = node.output.body();
    if (!leaf.grad) {
      leaf.grad = own(sums_[id]).handle();
    } else {
      Tensor total(leaf.grad);
      add_in_place(total, sums_[id]);
    }
    sums_[id] = Tensor();
  }
}

void backward(const Tensor& loss, Retain retain) { BackwardPass(loss, retain).finish(); }

std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& wrt, Retain retain) {
  if (wrt.empty()) return {};
  std::vector<Tensor> gradients;
  {
    BackwardPass pass(loss, retain, wrt);
    for (const Tensor& w : wrt) pass.keep(w);
    pass.finish_without_grad();
    for (const Tensor& w : wrt) gradients.push_back(pass.gradient(w));
  }
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    if (gradients[k]) {
      own(gradients[k]);  // two of them may still be one tensor
    } else {
      gradients[k] = zeros(wrt[k].shape(), wrt[k].dtype(), wrt[k].device());
    }
  }
  return gradients;
}

}  // namespace gradus
