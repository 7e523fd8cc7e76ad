#include "models/heads/global_pointer.h"

#include "ops/broadcast.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/shape_ops.h"

namespace gradus {
namespace {

// head_width, after all sizes and options of `op` are found to fit.
Index checked_width(std::string_view op, Index types, Index head_width, const SpanHeadOptions& o) {
  check_size(op, "types", types);
  check_size(op, "head_width", head_width);
  if (o.rope && head_width % 2)
    fail(op, "rope turns pairs, so head_width must be even, got " + std::to_string(head_width));
  if (o.window < -1) fail(op, "window must be -1 for any width, or at least 0, got " + std::to_string(o.window));
  if (o.rank < 0) fail(op, "rank must be 0 (none) or positive, got " + std::to_string(o.rank));
  if (o.rank > 0 && op != "EfficientGlobalPointer") fail(op, "has no rank; it is an option of EfficientGlobalPointer");
  return head_width;
}

// [N,T,d] -> [N,1,T,d]
Tensor as_one_group(const Tensor& x) { return x.reshape({x.size(0), 1, x.size(1), x.size(2)}); }

}  // namespace

void check_sentences(std::string_view op, const Tensor& hidden, const Tensor& mask) {
  if (!hidden || hidden.rank() != 3) {
    fail(op, "needs hidden states [N,T,D], got " + (hidden ? hidden.describe() : "nothing"));
  }
  if (mask && mask.shape() != Shape{hidden.size(0), hidden.size(1)}) {
    fail(op, "the mask must be [N,T] for " + hidden.describe() + ", got " + mask.describe());
  }
}

Tensor SpanHead::operator()(At hidden) const {
  check_sentences("SpanHead", hidden);
  const Terms t = terms(hidden);
  return pointer_scores(At(t.q, hidden.line), t.k, t.start, t.end, {.rope = options.rope, .scale = options.scale});
}

Tensor SpanHead::loss(At hidden, const Tensor& labels, const Tensor& mask) const {
  check_sentences("SpanHead", hidden, mask);
  const Terms t = terms(hidden);
  return pointer_loss(At(t.q, hidden.line), t.k, t.start, t.end, labels, mask,
                      {.rope = options.rope, .scale = options.scale, .window = options.window});
}

std::vector<Span> SpanHead::spans(const Tensor& hidden, const Tensor& mask, double threshold) const {
  const NoGrad no_grad;
  std::vector<Span> found = spans_above((*this)(hidden), threshold, mask);
  if (options.window >= 0) std::erase_if(found, [&](const Span& s) { return s.end - s.begin > options.window; });
  return found;
}

GlobalPointer::GlobalPointer(Index width, Index number, Index head_width, Rng&& rng, SpanHeadOptions o)
    : SpanHead(o),
      projection(width, 2 * number * checked_width("GlobalPointer", number, head_width, o), rng.split(),
                 {.bias = o.bias}),
      types(number) {}

SpanHead::Terms GlobalPointer::terms(At hidden) const {
  const auto [q, k] = project_pointer(hidden, permute(projection.weight, {1, 0}), projection.bias, types);
  return {q, k, {}, {}};
}

EfficientGlobalPointer::EfficientGlobalPointer(Index width, Index types, Index head_width, Rng&& rng, SpanHeadOptions o)
    : SpanHead(o),
      query(width, checked_width("EfficientGlobalPointer", types, head_width, o), rng.split(), {.bias = false}),
      key(width, head_width, rng.split(), {.bias = false}) {
  const double bound = 1 / std::sqrt(4.0 * double(head_width));
  if (o.rank == 0) {
    w = uniform_parameter({types, 4 * head_width}, bound, rng);
  } else {
    w = uniform_parameter({types, o.rank}, 1, rng);
    shared = uniform_parameter({o.rank, 4 * head_width}, bound, rng);
  }
}

void EfficientGlobalPointer::list(Parts& parts) {
  parts.add("query", query), parts.add("key", key);
  parts.add("w", w), parts.add("shared", shared);
}

SpanHead::Terms EfficientGlobalPointer::terms(At hidden) const {
  const Tensor q = query(hidden), k = key(hidden);
  const auto [start, end] = project_types(q, k, shared ? matmul(w, shared) : w);
  return {as_one_group(q), as_one_group(k), start, end};
}

ModulatedPointer::ModulatedPointer(Index width, Index types, Index head_width, Rng&& rng, SpanHeadOptions o)
    : SpanHead(o),
      query(width, checked_width("ModulatedPointer", types, head_width, o), rng.split(), {.bias = false}),
      key(width, head_width, rng.split(), {.bias = false}),
      modulation(normal_parameter({types, head_width}, 0.5, rng)) {
  add_in_place(modulation, ones(modulation.shape(), modulation.dtype(), modulation.device()));
}

void ModulatedPointer::list(Parts& parts) {
  parts.add("query", query), parts.add("key", key), parts.add("modulation", modulation);
}

SpanHead::Terms ModulatedPointer::terms(At hidden) const {
  const Tensor q = as_one_group(query(hidden)), k = as_one_group(key(hidden));
  const Index H = modulation.size(0), d = modulation.size(1);
  const Tensor of_type = q * modulation.reshape({1, H, 1, d});  // [N,H,T,d]
  return {of_type, broadcast_to(k, of_type.shape()), {}, {}};
}

}  // namespace gradus
