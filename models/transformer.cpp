#include "models/transformer.h"

#include "ops/math.h"

namespace gradus {
namespace {

TransformerOptions checked(const TransformerOptions& options) {
  check_size("Transformer", "vocabulary", options.vocabulary);
  check_size("Transformer", "layers", options.layers);
  check_size("Transformer", "context", options.context);
  return options;
}

}  // namespace

Block::Block(const TransformerOptions& options, Rng&& rng)
    : norm1(options.width),
      norm2(options.width),
      attention(options.width, options.heads, rng.split(),
                {.causal = options.causal, .rotary = options.position == Position::rotary}),
      mlp({options.width, 4 * options.width, options.width}, rng.split(), {.activation = Activation::gelu_tanh}),
      dropout(options.dropout, rng.split()) {}

void Block::list(Parts& parts) {
  parts.add("norm1", norm1);
  parts.add("attention", attention);
  parts.add("norm2", norm2);
  parts.add("mlp", mlp);
  parts.add("dropout", dropout);
}

Tensor Block::operator()(At x, const Tensor& key_mask) {
  const Tensor h = x + dropout(attention(norm1(x), key_mask));
  return h + dropout(mlp(norm2(h)));
}

Transformer::Transformer(const TransformerOptions& given, Rng&& rng)
    : options(checked(given)),
      token(options.vocabulary, options.width, rng.split()),
      dropout(options.dropout, rng.split()),
      norm(options.width) {
  if (options.position == Position::learned) position.emplace(options.context, options.width, rng.split());
  for (Index k = 0; k < options.layers; ++k) blocks.emplace_back(options, rng.split());
  if (!options.tied) head.emplace(options.width, options.vocabulary, rng.split(), LinearOptions{.bias = false});

  for (Tensor& p : parameters()) {
    const bool residual = p.name().ends_with("attention.out.weight") || p.name().ends_with("mlp.layers.1.weight");
    const double std = residual ? 0.02 / std::sqrt(2.0 * double(options.layers)) : 0.02;
    if (p.rank() == 2) p.copy_from(normal_parameter(p.shape(), std, rng));
    if (p.name().ends_with("bias")) p.copy_from(zeros(p.shape(), p.dtype(), p.device()));
  }
}

void Transformer::list(Parts& parts) {
  parts.add("token", token);
  if (position) parts.add("position", *position);
  parts.add("dropout", dropout);
  parts.add("blocks", blocks);
  parts.add("norm", norm);
  if (head) parts.add("head", *head);
}

Tensor Transformer::hidden(const Tensor& ids, const Tensor& key_mask) {
  if (ids.rank() != 2) fail("Transformer", "needs token ids [B,T], got " + ids.describe());
  const Index time = ids.size(1);
  Tensor h = token(ids);  // [B,T,D]
  if (position) {
    if (time > options.context) {
      fail("Transformer", std::to_string(time) + " tokens exceed context = " + std::to_string(options.context) +
                              "; cut the text, or set a longer context");
    }
    h = h + position->weight.rows(0, time);
  }
  h = dropout(h);
  for (Block& block : blocks) h = block(h, key_mask);
  return norm(h);
}

Tensor Transformer::operator()(const Tensor& ids) {
  return linear(hidden(ids), head ? head->weight : token.weight);  // [B,T,V]
}

}  // namespace gradus
