// A stack of GlobalPointers for nested entities: each layer sees what the layer before it found.      [A094, A095; C56]
//
//   begin_h(t) = 1/n sum_j sigma(s_h(t,j)),  end_h(t) = 1/n sum_i sigma(s_h(i,t))       how much begins and ends at t
//   hidden' = hidden + W [begin; end] + b                                                                       [N,T,D]
//
// Sums run over the valid spans, n counts the tokens that the mask keeps: padding changes nothing. This is the simplest
// way to hand predictions on that has a gradient; later layers teach the earlier ones through it.
//
// Losses of the layers are averaged. What a layer is for is said by its labels: say layer 0 is taught the outermost
// entities, layer 1 those within. Then an inner entity should lie in an outer one. The source's penalty counts those
// that do not, [inner not in outer]; a count of predictions has derivative 0 almost everywhere and teaches nothing
// (C56). Instead:
//   hierarchy_penalty = mean over (i,j) of sigma(s_inner(i,j)) prod_{i' <= i, j' >= j} (1 - sigma(s_outer(i',j')))
// the probability that an inner span stands alone, were all cells independent. With one outer span around it this is
// sigma(s_inner) (1 - sigma(s_outer)).
#pragma once
#include "models/heads/global_pointer.h"

namespace gradus {

class HierarchicalGlobalPointer final : public Module {
 public:
  std::vector<GlobalPointer> layers;
  std::vector<Linear> feedback;  // 2 H -> D, one less than layers

  HierarchicalGlobalPointer(Index width, Index types, Index head_width, Rng&& rng, Index num_layers = 3,
                            SpanHeadOptions options = {});
  void list(Parts& parts) override { parts.add("layers", layers), parts.add("feedback", feedback); }

  std::vector<Tensor> operator()(At hidden, const Tensor& mask = {}) const;  // scores of each layer, [N,H,T,T]
  // labels of each layer, [N,H,T,T] -> []
  Tensor loss(At hidden, const std::vector<Tensor>& labels, const Tensor& mask = {}) const;
  // What any layer finds, as SpanHead::spans. Sorted, each span once.
  std::vector<Span> spans(const Tensor& hidden, const Tensor& mask = {}, double threshold = 0) const;

 private:
  std::vector<Tensor> inputs(At hidden, const Tensor& mask) const;  // what each layer sees
};

// outer, inner: scores [N,T,T] of one type each; mask [N,T] or undefined.  -> []
Tensor hierarchy_penalty(At outer, const Tensor& inner, const Tensor& mask = {});

}  // namespace gradus
