#include "models/attention.h"

#include "ops/attention.h"
#include "ops/rope.h"
#include "ops/shape_ops.h"

namespace gradus {

MultiHeadAttention::MultiHeadAttention(Index width, Index num_heads, Rng&& rng, AttentionLayerOptions options)
    : qkv(width, 3 * width, rng.split(), {options.bias}),
      out(width, width, rng.split(), {options.bias}),
      heads(num_heads),
      causal(options.causal),
      rotary(options.rotary) {
  check_size("MultiHeadAttention", "num_heads", heads);
  const std::string sizes = "width " + std::to_string(width) + ", " + std::to_string(heads) + " heads";
  if (width % heads != 0) fail("MultiHeadAttention", "the width must be a multiple of the heads: " + sizes);
  if (rotary && width / heads % 2 != 0) fail("MultiHeadAttention", "rotary needs an even width per head: " + sizes);
}

Tensor MultiHeadAttention::operator()(At x, const Tensor& key_mask) const {
  const Index width = out.weight.size(0);
  if (x->rank() != 3 || x->size(2) != width) {
    fail("MultiHeadAttention", "needs [B,T," + std::to_string(width) + "], got " + x->describe());
  }
  const Index batch = x->size(0), time = x->size(1);
  const Tensor parts = permute(qkv(x).reshape({batch, time, 3, heads, width / heads}), {2, 0, 3, 1, 4});
  const Tensor q = parts[0], k = parts[1], v = parts[2];  // [B,H,T,D/H]
  const Tensor mixed = scaled_dot_product_attention(rotary ? rope(q) : q, rotary ? rope(k) : k, v,
                                                    {.causal = causal, .key_mask = key_mask});
  return out(permute(mixed, {0, 2, 1, 3}).reshape({batch, time, width}));
}

}  // namespace gradus
