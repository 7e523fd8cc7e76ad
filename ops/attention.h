// Scaled dot-product attention (Vaswani et al. 2017):  y = softmax(scale q k^T + mask) v.
#pragma once
#include "engine/tensor.h"
#include "ops/form.h"

namespace gradus {

struct AttentionOptions {
  bool causal = false;       // position t sees positions 0..t
  double scale = 0;          // 0: 1 / sqrt(D)
  Tensor key_mask = {};      // u8 [B,S], 0 where a key is padding and nobody may see it; undefined: all may be seen
  Form form = Form::closed;  // closed keeps no [T,S] matrix
};

// A query that may see no key gets 0, and passes no gradient on.
// q [B,H,T,D], k [B,H,S,D], v [B,H,S,E] -> [B,H,T,E]. causal needs T <= S; the last query sees all keys.
Tensor scaled_dot_product_attention(At q, const Tensor& k, const Tensor& v, AttentionOptions = {});

}  // namespace gradus
