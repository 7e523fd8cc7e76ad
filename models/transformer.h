// Transformer with pre-norm blocks, as in GPT-2 (Radford et al. 2019):
//
//   h = token[ids] (+ position[0..T-1])
//   h = h + attention(norm(h));   h = h + mlp(norm(h))        for each layer; mlp: D -> 4D -> D, gelu (tanh form)
//   hidden = norm(h)                                          [B,T,D]
//   logits = hidden W^T                                       [B,T,V]; W = token when tied
//
// causal = true is a language model: use model(ids). causal = false is an encoder: use model.hidden(ids).
//
// Starts as GPT-2: weights normal with std 0.02, those that add to the residual stream divided by sqrt(2 layers), since so
// many are summed; biases 0. Dropout acts on the embedding and on what each block adds, not on the attention weights.
#pragma once
#include <optional>

#include "models/attention.h"
#include "models/embedding.h"
#include "models/layer_norm.h"
#include "models/mlp.h"

namespace gradus {

enum class Position { learned, rotary };

struct TransformerOptions {
  Index vocabulary = 0;  // must be given
  Index width = 128;
  Index heads = 4;
  Index layers = 4;
  Index context = 256;  // most tokens; with rotary positions there is no limit, and this is not used
  bool causal = true;
  Position position = Position::learned;
  double dropout = 0;
  bool tied = true;  // logits use the token embedding; false adds a head [V,D] of its own
};

class Block final : public Module {
 public:
  LayerNorm norm1, norm2;
  MultiHeadAttention attention;
  Mlp mlp;
  Dropout dropout;

  Block(const TransformerOptions& options, Rng&& rng);
  void list(Parts& parts) override;
  Tensor operator()(At x, const Tensor& key_mask = {});  // [B,T,D] -> [B,T,D]
};

class Transformer final : public Module {
 public:
  TransformerOptions options;
  Embedding token;
  std::optional<Embedding> position;
  Dropout dropout;
  std::vector<Block> blocks;
  LayerNorm norm;
  std::optional<Linear> head;

  Transformer(const TransformerOptions& given, Rng&& rng);
  void list(Parts& parts) override;
  // int [B,T] -> [B,T,D]; key_mask u8 [B,T], 0 where ids are padding: no other position sees those.
  Tensor hidden(const Tensor& ids, const Tensor& key_mask = {});
  Tensor operator()(const Tensor& ids);  // int [B,T] -> [B,T,V]
};

}  // namespace gradus
