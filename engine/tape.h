// The tape is a listing: one node per recorded op, in the order in which the program ran.
//
//   0  leaf 'w' [3]
//   1  leaf 'x' [3]
//   2  mul [3]        <- 0 1     train.cpp:12
//   3  sum []         <- 2       train.cpp:13
//
// An op can only use what exists already, so inputs always stand above: the order needs no topological sort, and nothing
// here is recursive. Nodes hold indices and data holds nothing but an index back, so no cycle can form, and the tape's end
// is the end of everything it kept.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/op.h"

namespace gradus {

struct Node {
  std::unique_ptr<Op> op;  // null for a leaf, and once spent
  const char* what = "leaf";
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
  Device* device = nullptr;
  UserLine line;
  std::uint64_t serial = 0;
  std::size_t first_input = 0;  // into Tape::input_ids and Tape::kept
  int inputs = 0;
  bool spent = false;  // freed by a backward pass
  Tensor output;       // when kept; for a leaf the leaf itself
  std::uint32_t output_version = 0;
};

enum class Debug : bool { no, yes };

class Tape {
 public:
  // Records on this thread until the end of the scope; tapes nest, the innermost records. A tape that is opened under
  // NoGrad records all the same: so a backward step can differentiate something itself (engine/checkpoint.h).
  // Debug::yes keeps inputs and outputs of every node, and stops at the first value that is not finite.
  explicit Tape(Debug debug = Debug::no);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  static Tape* innermost();                               // null when there is none
  static Tape* recording();                               // the same, but null under NoGrad
  static Tape* holding(const Tensor& y);                  // the live tape of this thread that y is on, or null
  static Tape& of(std::string_view op, const Tensor& y);  // the same, or an error that says why there is none
  static void note_name(const Tensor& y);

  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(NodeId id) const { return nodes_[std::size_t(id)]; }
  std::span<const NodeId> inputs_of(NodeId id) const;
  In kept_inputs_of(NodeId id) const;  // undefined tensors where not kept
  bool debug() const { return debug_ == Debug::yes; }

  // The node of a tensor, or -1: not on this tape.
  NodeId find(const Tensor& y) const;
  // The same; a leaf that requires a gradient gets its node on first use, and a stale tensor is an error.
  NodeId id_of(std::string_view op, const Tensor& y);

  // Drops all nodes recorded since the mark: for loops that evaluate many times within one tape.
  std::size_t mark() const { return nodes_.size(); }
  void rewind(std::size_t mark);
  void clear() { rewind(0); }

  // Runs f on the complete gradient of y, once per backward pass; f may print it, or write to it.
  void register_hook(const Tensor& y, std::function<void(Tensor& gradient)> f);

 private:
  friend class BackwardPass;
  friend Tensor record(std::unique_ptr<Op>, UserLine, std::span<Tensor>);

  std::vector<Node> nodes_;
  std::vector<NodeId> input_ids_;             // -1: a constant
  std::vector<Tensor> kept_;                  // beside input_ids_
  std::vector<std::uint32_t> kept_versions_;  // beside kept_
  std::unordered_map<const TensorBody*, NodeId> leaves_;
  std::unordered_map<NodeId, std::vector<std::function<void(Tensor&)>>> hooks_;
  Debug debug_;
  Tape* outer_;
  int outer_no_grad_;
  std::uint64_t next_serial_;

  void free_node(NodeId id);
  void check_versions(NodeId id) const;  // error when a kept tensor was written since
  void append(std::unique_ptr<Op> op, UserLine line, std::span<Tensor> inputs, std::span<const NodeId> ids, Tensor& y);
};

// "node 7 (mul 'wx' [5], train.cpp:22)"
std::string describe_node(const Tape& tape, NodeId id);

// Nothing is recorded while one is alive, unless on a tape that is opened within.
struct NoGrad {
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
};

// Names given while one is alive are prefixed: NameScope s("encoder.0"); h.named("out") is 'encoder.0.out'.
struct NameScope {
  explicit NameScope(std::string_view name);
  ~NameScope();
  NameScope(const NameScope&) = delete;
  static std::string prefixed(std::string name);

 private:
  std::size_t outer_length_;
};

inline void register_hook(const Tensor& y, std::function<void(Tensor&)> f) {
  Tape::of("register_hook", y).register_hook(y, std::move(f));
}

// Runs the op and records it when an input leads to a leaf that requires a gradient. Takes the inputs over.
Tensor record(std::unique_ptr<Op> op, UserLine line, std::span<Tensor> inputs);

// What grad_check and checkpoint run again.
using TensorFunction = std::function<Tensor(const std::vector<Tensor>&)>;

// apply(Sigmoid{}, x), apply(Matmul{}, a, b), apply(Concat{axis}, line, tensors)
template <class O, class... Rest> Tensor apply(O op, At first, const Rest&... rest) {
  Tensor inputs[] = {first.tensor, static_cast<const Tensor&>(rest)...};
  return record(std::make_unique<O>(std::move(op)), first.line, inputs);
}
template <class O> Tensor apply(O op, UserLine line, std::span<const Tensor> tensors) {
  std::vector<Tensor> inputs(tensors.begin(), tensors.end());
  return record(std::make_unique<O>(std::move(op)), line, inputs);
}

}  // namespace gradus
