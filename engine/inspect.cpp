#include "engine/inspect.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <ostream>

#include "engine/finite.h"

namespace gradus {
namespace {

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", v);
  return text;
}

// "mul 'wx' [3]"
std::string title(const Node& node) {
  return node.what + (node.name.empty() ? "" : " '" + node.name + "'") + " " + node.shape.text();
}

std::string gradient_text(const BackwardPass* pass, NodeId id) {
  const Tensor dy = pass ? pass->gradient(id) : Tensor();
  if (!dy) return "";
  double squares = 0;
  for (const double v : dy.to_vector()) squares += v * v;
  return "|dy| " + number(std::sqrt(squares));
}

// Inside a quoted string of Graphviz.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

std::string listing(const Tape& tape, const BackwardPass* pass) {
  std::vector<std::array<std::string, 6>> lines;
  std::array<std::size_t, 6> width{};
  for (NodeId id = 0; id < NodeId(tape.nodes().size()); ++id) {
    const Node& node = tape.node(id);
    std::string inputs = node.inputs ? "<-" : "";
    for (const NodeId input : tape.inputs_of(id)) inputs += input < 0 ? " const" : " " + std::to_string(input);
    lines.push_back({std::to_string(id), title(node), inputs, node.line.text(), gradient_text(pass, id),
                     node.spent ? "freed" : ""});
    for (std::size_t c = 0; c < width.size(); ++c) width[c] = std::max(width[c], lines.back()[c].size());
  }
  std::string out;
  for (const auto& line : lines) {
    out += std::string(width[0] - line[0].size(), ' ') + line[0];
    for (std::size_t c = 1; c < line.size(); ++c) {
      if (width[c] > 0) out += "  " + line[c] + std::string(width[c] - line[c].size(), ' ');
    }
    out.resize(out.find_last_not_of(' ') + 1);
    out += '\n';
  }
  return out;
}

std::string to_dot(const Tape& tape, const BackwardPass* pass) {
  std::string out = "digraph tape {\n  node [shape=box];\n";
  for (NodeId id = 0; id < NodeId(tape.nodes().size()); ++id) {
    const Node& node = tape.node(id);
    const std::string me = "n" + std::to_string(id);
    std::string label = std::to_string(id) + " " + escaped(title(node));
    for (const std::string& more : {node.line.text(), gradient_text(pass, id)}) {
      if (!more.empty()) label += "\\n" + escaped(more);
    }
    out += "  " + me + " [label=\"" + label + "\"" + (node.inputs ? "" : ", shape=ellipse") + "];\n";
    for (const NodeId input : tape.inputs_of(id)) {
      if (input >= 0) out += "  n" + std::to_string(input) + " -> " + me + ";\n";
    }
  }
  return out + "}\n";
}

std::string explain(const Tensor& x, const Tensor& loss) {
  if (!x) return "the tensor is undefined: it was declared but never assigned";
  const std::string name = x.describe();
  if (!is_floating(x.dtype())) return name + " holds integers, which carry no gradient";
  if (const Tensor dx = x.grad()) {
    const std::vector<double> values = dx.to_vector();
    const bool zero = std::all_of(values.begin(), values.end(), [](double v) { return v == 0; });
    if (!zero) return name + " has a gradient; " + summary(dx);
    return name +
           " has a gradient that is exactly zero: a saturated or piecewise constant op on the way, or all masked?";
  }
  if (!x.requires_grad()) {
    return name +
           " does not require a gradient: a constant, or computed without a tape, under NoGrad or from detach(); "
           "call requires_grad_() before the forward pass";
  }
  if (!loss) return "the loss is undefined";
  if (!loss.requires_grad()) {
    return "the loss " + loss.describe() +
           " depends on nothing that requires a gradient: no tape, NoGrad, or detach()?";
  }
  const Tape* tape = Tape::holding(loss);
  if (!tape) return "the loss " + loss.describe() + " is on no tape that is alive";
  const NodeId from = tape->find(x), to = tape->find(loss);
  if (from < 0) {
    return name + (x.is_leaf()
                       ? " was used by no op on the tape of the loss; was it a copy (clone, to, detach) that was?"
                       : " was recorded on another tape than the loss");
  }

  // Everything that is computed from x stands below it.
  std::vector<char> reached(tape->nodes().size());
  reached[std::size_t(from)] = 1;
  NodeId furthest = from;
  for (NodeId id = from + 1; id < NodeId(reached.size()); ++id) {
    const auto inputs = tape->inputs_of(id);
    if (std::any_of(inputs.begin(), inputs.end(), [&](NodeId k) { return k >= 0 && reached[std::size_t(k)]; })) {
      reached[std::size_t(id)] = 1;
      furthest = id;
    }
  }
  if (!reached[std::size_t(to)]) {
    return name + " does not lead to the loss: it ends at " + describe_node(*tape, furthest);
  }
  if (!x.is_leaf()) {
    return name +
           " leads to the loss, but only leaves keep a gradient; use grad(loss, {x}), or keep(x) in a BackwardPass";
  }
  return name + " leads to the loss, but its .grad is empty: backward(loss) has not run, or zero_grad() came after it";
}

std::string summary(const Tensor& x) {
  if (!x) return x.describe();
  double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0;
  Index nan = 0, infinite = 0;
  for (const double v : x.to_vector()) {
    if (!std::isfinite(v)) {
      ++(std::isnan(v) ? nan : infinite);
      continue;
    }
    low = std::min(low, v);
    high = std::max(high, v);
    sum += v;
  }
  std::string text = x.describe() + ":";
  const Index finite = x.numel() - nan - infinite;
  if (finite > 0) text += " min " + number(low) + ", mean " + number(sum / double(finite)) + ", max " + number(high);
  if (x.numel() == 0) text += " no elements";
  if (nan) text += " (" + std::to_string(nan) + " NaN)";
  if (infinite) text += " (" + std::to_string(infinite) + " infinite)";
  return text;
}

void watch(const Tensor& y, std::ostream& out) {
  out << summary(y) << '\n';
  register_hook(
      y, [&out, name = y.describe()](Tensor& dy) { out << "gradient of " << name << ": " << summary(dy) << '\n'; });
}

std::string first_non_finite(const Tape& tape) {
  for (NodeId id = 0; id < NodeId(tape.nodes().size()); ++id) {
    const In in = tape.kept_inputs_of(id);
    for (std::size_t k = 0; k < in.size(); ++k) {
      if (tape.inputs_of(id)[k] >= 0) continue;  // has a node of its own
      if (const Index i = first_non_finite(in[k]); i >= 0) {
        return value_and_place(in[k], i) + " of the constant input " + std::to_string(k) + " of " +
               describe_node(tape, id);
      }
    }
    const Node& node = tape.node(id);
    const Index i = first_non_finite(node.output);
    if (i < 0) continue;
    const bool meant = node.op && node.op->makes_infinity() && !std::isnan(value_at(node.output, i));
    if (!meant) return value_and_place(node.output, i) + " of " + describe_node(tape, id);
  }
  return "";
}

}  // namespace gradus
