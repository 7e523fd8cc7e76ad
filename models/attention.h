// Multi-head self-attention: every position mixes the values of all positions, weighted by how its query meets their keys.
//
//   q, k, v = x W_qkv^T, each cut into H heads        y = [softmax(q k^T / sqrt(D/H)) v of all heads] W_out^T
//
// causal: position t sees positions 0..t only. rotary: q and k turn by their position (ops/rope.h), so that scores depend
// on distances; otherwise attention knows no order, and the input has to carry it.
#pragma once
#include "models/linear.h"

namespace gradus {

struct AttentionLayerOptions {
  bool causal = false;
  bool rotary = false;
  bool bias = true;
};

class MultiHeadAttention final : public Module {
 public:
  Linear qkv;  // [D] -> [3D]: queries, keys, values, each head by head
  Linear out;  // [D] -> [D]
  Index heads;
  bool causal, rotary;

  MultiHeadAttention(Index width, Index num_heads, Rng&& rng, AttentionLayerOptions options = {});
  void list(Parts& parts) override { parts.add("qkv", qkv), parts.add("out", out); }
  // [B,T,D] -> [B,T,D]; key_mask u8 [B,T], 0 where x is padding: those positions are seen by none.
  Tensor operator()(At x, const Tensor& key_mask = {}) const;
};

}  // namespace gradus
