#include "engine/tape.h"

#include <atomic>
#include <utility>

#include "engine/finite.h"

namespace gradus {
namespace {

thread_local Tape* innermost_tape = nullptr;
thread_local int no_grad_depth = 0;

// A tape is made anew in every iteration; its vectors are not. The last tape of this thread leaves them here.
struct Storage {
  std::vector<Node> nodes;
  std::vector<NodeId> input_ids;
  std::vector<Tensor> kept;
  std::vector<std::uint32_t> kept_versions;
};
thread_local Storage spare;

// Serial numbers of tape number e start at e * 2^32: a node's serial is unique in the program, so a tensor that outlives
// its tape can never be taken for a node of another one.
std::uint64_t first_serial() {
  static std::atomic<std::uint64_t> tapes{0};
  return ++tapes << 32;
}

std::string& scope_prefix() {
  static thread_local std::string prefix;
  return prefix;
}

}  // namespace

Tape::Tape(Debug debug)
    : nodes_(std::move(spare.nodes)),
      input_ids_(std::move(spare.input_ids)),
      kept_(std::move(spare.kept)),
      kept_versions_(std::move(spare.kept_versions)),
      debug_(debug),
      outer_(innermost_tape),
      outer_no_grad_(std::exchange(no_grad_depth, 0)),
      next_serial_(first_serial()) {
  innermost_tape = this;
}

Tape::~Tape() {
  innermost_tape = outer_;
  no_grad_depth = outer_no_grad_;
  clear();
  spare = {std::move(nodes_), std::move(input_ids_), std::move(kept_), std::move(kept_versions_)};
}

Tape* Tape::innermost() { return innermost_tape; }
Tape* Tape::recording() { return no_grad_depth ? nullptr : innermost_tape; }

Tape* Tape::holding(const Tensor& y) {
  for (Tape* tape = innermost_tape; tape; tape = tape->outer_) {
    if (tape->find(y) >= 0) return tape;
  }
  return nullptr;
}

Tape& Tape::of(std::string_view op, const Tensor& y) {
  if (!y) fail(op, "the tensor is undefined");
  if (Tape* tape = holding(y)) return *tape;
  if (!innermost_tape)
    fail(op, y.describe() + " cannot be differentiated: no tape is alive; open one with `Tape tape;`");
  if (y.is_leaf() && !y.requires_grad()) {
    fail(op,
         y.describe() + " is not on a tape: nothing it was computed from requires a gradient (or NoGrad, or detach)");
  }
  if (y.is_leaf()) return *innermost_tape;
  fail(op, y.describe() + " was recorded on a tape that is gone; run the forward pass again");
}

void Tape::note_name(const Tensor& y) {
  for (Tape* tape = innermost_tape; tape; tape = tape->outer_) {
    const NodeId id = tape->find(y);
    if (id >= 0) tape->nodes_[std::size_t(id)].name = y.name();
  }
}

std::span<const NodeId> Tape::inputs_of(NodeId id) const {
  return {input_ids_.data() + node(id).first_input, std::size_t(node(id).inputs)};
}

In Tape::kept_inputs_of(NodeId id) const { return {kept_.data() + node(id).first_input, std::size_t(node(id).inputs)}; }

NodeId Tape::find(const Tensor& y) const {
  const TensorBody& body = y.body();
  const NodeId id = body.node;
  if (id >= 0 && std::size_t(id) < nodes_.size() && nodes_[std::size_t(id)].serial == body.serial) return id;
  if (!body.is_leaf) return -1;
  const auto leaf = leaves_.find(&body);  // a leaf that an inner tape has used since
  return leaf == leaves_.end() ? -1 : leaf->second;
}

NodeId Tape::id_of(std::string_view op, const Tensor& y) {
  TensorBody& body = y.body();
  if (body.is_leaf && !body.requires_grad) return -1;
  if (const NodeId id = find(y); id >= 0) return id;
  if (!body.is_leaf) {
    fail(op, "tensor " + y.describe() + " was recorded on another tape, or on one that is gone; compute it again, or " +
                 "detach() it");
  }
  body.node = NodeId(nodes_.size());
  body.serial = next_serial_++;
  Node& leaf = nodes_.emplace_back();
  leaf.output = y;
  leaf.shape = body.shape;
  leaf.dtype = body.dtype;
  leaf.device = &y.device();
  leaf.name = body.name;
  leaf.serial = body.serial;
  leaf.first_input = input_ids_.size();
  leaves_.emplace(&body, body.node);
  return body.node;
}

void Tape::rewind(std::size_t mark) {
  if (mark > nodes_.size()) fail("rewind", "the mark is ahead of the tape");
  if (mark == nodes_.size()) return;
  const std::size_t first_input = nodes_[mark].first_input;
  std::erase_if(leaves_, [&](const auto& leaf) { return std::size_t(leaf.second) >= mark; });
  std::erase_if(hooks_, [&](const auto& hook) { return std::size_t(hook.first) >= mark; });
  nodes_.erase(nodes_.begin() + std::ptrdiff_t(mark), nodes_.end());
  input_ids_.resize(first_input);
  kept_.resize(first_input);
  kept_versions_.resize(first_input);
}

void Tape::register_hook(const Tensor& y, std::function<void(Tensor&)> f) {
  const NodeId id = id_of("register_hook", y);
  if (id < 0) fail("register_hook", y.describe() + " does not require a gradient");
  hooks_[id].push_back(std::move(f));
}

void Tape::free_node(NodeId id) {
  Node& node = nodes_[std::size_t(id)];
  node.op.reset();
  node.output = Tensor();
  for (int k = 0; k < node.inputs; ++k) kept_[node.first_input + std::size_t(k)] = Tensor();
  node.spent = true;
}

void Tape::check_versions(NodeId id) const {
  const Node& node = this->node(id);
  const auto changed = [&](const Tensor& x, std::uint32_t kept) {
    if (!x || x.body().buffer->version == kept) return;
    fail("backward", describe_node(*this, id) + " needs " + x.describe() +
                         " as it was in the forward pass, but it was " +
                         "written since: call backward before the optimizer's step");
  };
  for (int k = 0; k < node.inputs; ++k) {
    changed(kept_[node.first_input + std::size_t(k)], kept_versions_[node.first_input + std::size_t(k)]);
  }
  changed(node.output, node.output_version);
}

void Tape::append(std::unique_ptr<Op> op, UserLine line, std::span<Tensor> inputs, std::span<const NodeId> ids,
                  Tensor& y) {
  const Keep keep = debug() ? Keep::both : op->keep();
  TensorBody& body = y.body();
  body.node = NodeId(nodes_.size());
  body.serial = next_serial_++;
  body.requires_grad = true;
  body.is_leaf = false;
  Node& node = nodes_.emplace_back();
  node.what = op->name();
  node.shape = body.shape;
  node.dtype = body.dtype;
  node.device = &y.device();
  node.line = line;
  node.serial = body.serial;
  node.first_input = input_ids_.size();
  node.inputs = int(inputs.size());
  node.op = std::move(op);
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const bool kept = int(keep) & int(Keep::inputs);
    input_ids_.push_back(ids[k]);
    kept_versions_.push_back(kept && inputs[k] ? inputs[k].body().buffer->version : 0);
    kept_.push_back(kept ? std::move(inputs[k]) : Tensor());
  }
  if (int(keep) & int(Keep::output)) {
    node.output = y;
    node.output_version = body.buffer->version;
  }
}

Tensor record(std::unique_ptr<Op> op, UserLine line, std::span<Tensor> inputs) {
  constexpr std::size_t few = 8;
  NodeId few_ids[few];
  std::vector<NodeId> many_ids(inputs.size() > few ? inputs.size() : 0);
  const std::span<NodeId> ids(inputs.size() > few ? many_ids.data() : few_ids, inputs.size());
  Tape* tape = Tape::recording();
  bool leads_to_a_leaf = false;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    // An optional input (a bias, a mask) may be undefined, but not the first one.
    if (!inputs[k] && k == 0) fail(op->name(), "the tensor is undefined: it was declared but never assigned");
    ids[k] = tape && inputs[k] ? tape->id_of(op->name(), inputs[k]) : -1;
    leads_to_a_leaf |= ids[k] >= 0;
  }
  Tensor y = op->forward(inputs);
  for (const Tensor& x : inputs) {
    if (x && y.handle() == x.handle())
      fail(op->name(), "forward returned its own input; return x.untaped_view(x.shape())");
  }
  if (tape && tape->debug()) check_finite_forward(*op, line, inputs, y);
  if (leads_to_a_leaf) tape->append(std::move(op), line, inputs, ids, y);
  return y;
}

std::string describe_node(const Tape& tape, NodeId id) {
  const Node& node = tape.node(id);
  std::string text = "node " + std::to_string(id) + " (" + node.what;
  if (!node.name.empty()) text += " '" + node.name + "'";
  text += " " + node.shape.text();
  if (node.line.line) text += ", " + node.line.text();
  return text + ")";
}

NoGrad::NoGrad() { ++no_grad_depth; }
NoGrad::~NoGrad() { --no_grad_depth; }

NameScope::NameScope(std::string_view name) : outer_length_(scope_prefix().size()) {
  scope_prefix() += std::string(name) + ".";
}
NameScope::~NameScope() { scope_prefix().resize(outer_length_); }
std::string NameScope::prefixed(std::string name) {
  return scope_prefix().empty() ? std::move(name) : scope_prefix() + name;
}

}  // namespace gradus
