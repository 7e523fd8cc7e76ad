// A stack of GlobalPointers for nested entities: each layer sees what the layer before it found.               [A094, A095; C56]
//
//   p_h(t) = sum_j sigma(s_h(t,j)) and sum_i sigma(s_h(i,t)), both over valid spans, divided by T     how much begins, ends at t
//   hidden' = hidden + W [p begin; p end]                                                            [N,T,D]
//
// The losses of all layers are averaged. Say layer 0 is taught the outermost entities, layer 1 those within, and so on: that
// is what labels of each layer mean, and an inner entity should lie in an outer one. The source's penalty counts those that
// do not, [inner not in outer]; a count of predictions has derivative 0 almost everywhere and teaches nothing (C56). Instead:
//   hierarchy_penalty = mean over (i,j) of sigma(s_inner(i,j)) prod over outer spans around (i,j) of (1 - sigma(s_outer))
// the probability that an inner span stands alone, were all cells independent.
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
  // labels of each layer -> []
  Tensor loss(At hidden, const std::vector<Tensor>& labels, const Tensor& mask = {}) const;

 private:
  std::vector<Tensor> inputs(At hidden, const Tensor& mask) const;  // what each layer sees
};

// outer, inner: scores [N,T,T] of one type each; mask [N,T] or undefined.  -> []
Tensor hierarchy_penalty(At outer, const Tensor& inner, const Tensor& mask = {});

}  // namespace gradus
