// Attention and the transformer: shapes, names, causality, gradients, threads.
#include "models/transformer.h"

#include "engine/backward.h"
#include "engine/parallel.h"
#include "losses/softmax/cross_entropy.h"
#include "models/optimizer.h"
#include "ops/reduce.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Contains;

namespace {

TransformerOptions small(Position position) {
  return {.vocabulary = 11, .width = 8, .heads = 2, .layers = 2, .context = 6, .position = position};
}

Tensor token_ids(const std::vector<Index>& ids, Index batch) {
  return labels(ids).reshape({batch, Index(ids.size()) / batch});
}

double greatest_change(const Tensor& a, const Tensor& b, Index begin, Index end) {
  double change = 0;
  for (Index i = begin; i < end; ++i) change = std::max(change, std::abs(value_at(a, i) - value_at(b, i)));
  return change;
}

}  // namespace

TEST_SUITE("models/transformer") {
  TEST_CASE("gradients through attention agree with central differences") {
    const LeakGuard guard;
    Rng rng(5);
    for (const bool causal : {false, true}) {
      for (const bool rotary : {false, true}) {
        MultiHeadAttention attention(4, 2, Rng(3), {.causal = causal, .rotary = rotary});
        check_gradients(attention, randn({2, 3, 4}, rng));
      }
    }
  }

  TEST_CASE("attention refuses what does not fit, in its own words") {
    CHECK_THROWS_WITH_AS(MultiHeadAttention(6, 4, Rng(1)), Contains("multiple of the heads"), Error);
    CHECK_THROWS_WITH_AS(MultiHeadAttention(6, 2, Rng(1), {.rotary = true}), Contains("even width per head"), Error);
    MultiHeadAttention attention(4, 2, Rng(1));
    CHECK_THROWS_WITH_AS(attention(ones({2, 4})), Contains("needs [B,T,4]"), Error);
  }

  TEST_CASE("without positions attention does not know the order of the others") {
    MultiHeadAttention attention(4, 2, Rng(3));
    Rng rng(1);
    const Tensor x = randn({1, 3, 4}, rng);
    std::vector<double> swapped = x.to_vector();
    std::swap_ranges(swapped.begin() + 4, swapped.begin() + 8, swapped.begin() + 8);
    const Tensor y = attention(x), z = attention(tensor(swapped, {1, 3, 4}));
    CHECK(greatest_change(y, z, 0, 4) < 1e-6);
  }

  TEST_CASE("parameters are named and counted as in the formula") {
    Transformer model(small(Position::learned), Rng(1));
    const auto names = names_of(model.parameters());
    CHECK(names[0] == "token.weight");
    CHECK(names[1] == "position.weight");
    CHECK(names[2] == "blocks.0.norm1.weight");
    CHECK(names[4] == "blocks.0.attention.qkv.weight");
    CHECK(names.back() == "norm.bias");
    const Index block = 4 * 8 + (8 * 24 + 24) + (8 * 8 + 8) + (8 * 32 + 32) + (32 * 8 + 8);
    CHECK(model.parameter_count() == 11 * 8 + 6 * 8 + 2 * block + 2 * 8);

    TransformerOptions options = small(Position::rotary);
    options.tied = false;
    Transformer untied(options, Rng(1));
    CHECK(names_of(untied.parameters()).back() == "head.weight");
    CHECK(untied.parameter_count() == 11 * 8 + 2 * block + 2 * 8 + 11 * 8);
  }

  TEST_CASE("it starts as GPT-2: biases 0, weights near 0.02, the loss near log V") {
    TransformerOptions options{.vocabulary = 50, .width = 64, .heads = 4, .layers = 2, .context = 16};
    Transformer model(options, Rng(1));
    for (const Tensor& p : model.parameters()) {
      if (p.rank() != 2) continue;
      double sum = 0;
      for (const double v : p.to_vector()) sum += v * v;
      const bool residual = p.name().ends_with("out.weight") || p.name().ends_with("mlp.layers.1.weight");
      CHECK_MESSAGE(std::sqrt(sum / double(p.numel())) == doctest::Approx(residual ? 0.01 : 0.02).epsilon(0.1),
                    p.name());
    }
    Rng rng(2);
    const Tensor ids = randint(50, {4, 16}, rng), target = randint(50, {64}, rng);
    CHECK(cross_entropy(model(ids).reshape({64, 50}), target).item() == doctest::Approx(std::log(50)).epsilon(0.05));
  }

  TEST_CASE("logits are [B,T,V], hidden states [B,T,D]") {
    Transformer model(small(Position::learned), Rng(1));
    const Tensor ids = token_ids({1, 2, 3, 4, 5, 6, 7, 8}, 2);
    CHECK(model(ids).shape() == Shape{2, 4, 11});
    CHECK(model.hidden(ids).shape() == Shape{2, 4, 8});
  }

  TEST_CASE("a causal model does not look ahead, an encoder does") {
    for (const Position position : {Position::learned, Position::rotary}) {
      for (const bool causal : {true, false}) {
        TransformerOptions options = small(position);
        options.causal = causal;
        Transformer model(options, Rng(1));
        const Tensor a = model(token_ids({1, 2, 3, 4, 5}, 1)), b = model(token_ids({1, 2, 3, 9, 5}, 1));
        const double before = greatest_change(a, b, 0, 3 * 11), after = greatest_change(a, b, 3 * 11, 5 * 11);
        CHECK((before == 0) == causal);
        CHECK(after > 0);
      }
    }
  }

  TEST_CASE("an encoder does not see padding: what stands there changes no other position") {
    TransformerOptions options = small(Position::rotary);
    options.causal = false;
    Transformer model(options, Rng(3));
    const Tensor mask = tensor({1, 1, 1, 0, 0}, {1, 5}, DType::u8);
    const Tensor a = model.hidden(token_ids({1, 2, 3, 4, 5}, 1), mask),
                 b = model.hidden(token_ids({1, 2, 3, 9, 10}, 1), mask);
    CHECK(greatest_change(a, b, 0, 3 * 8) == 0);
    CHECK(greatest_change(a, b, 3 * 8, 5 * 8) > 0);
  }

  TEST_CASE("gradients through the whole model agree with central differences") {
    const LeakGuard guard;
    for (const Position position : {Position::learned, Position::rotary}) {
      TransformerOptions options = small(position);
      options.layers = 1;
      options.tied = position == Position::learned;
      Transformer model(options, Rng(1));
      check_gradients(model, token_ids({1, 2, 3, 2, 0, 10}, 2));
    }
  }

  TEST_CASE("too many tokens and unknown tokens are errors, rotary positions have no limit") {
    Transformer model(small(Position::learned), Rng(1)), rotary(small(Position::rotary), Rng(1));
    const Tensor seven = token_ids({0, 1, 2, 3, 4, 5, 6}, 1);
    CHECK_THROWS_WITH_AS(model(seven), Contains("7 tokens exceed context = 6"), Error);
    CHECK(rotary(seven).shape() == Shape{1, 7, 11});
    CHECK_THROWS_AS(model(token_ids({0, 11}, 1)), Error);
    CHECK_THROWS_WITH_AS(model(labels({1, 2})), Contains("needs token ids [B,T]"), Error);
    CHECK_THROWS_WITH_AS(Transformer({}, Rng(1)), Contains("vocabulary must be at least 1"), Error);
  }

  TEST_CASE("one thread and two give the same bits after three steps of training, dropout included") {
    std::vector<std::vector<Tensor>> results;
    const int threads = thread_count();
    for (const int n : {1, 2}) {
      set_thread_count(n);
      TransformerOptions options{.vocabulary = 32, .width = 64, .heads = 4, .layers = 1, .context = 32, .dropout = 0.1};
      Transformer model(options, Rng(1));
      AdamW optimizer(model.parameters());
      Rng rng(2);
      for (int step = 0; step < 3; ++step) {
        const Tensor ids = randint(32, {8, 32}, rng), target = randint(32, {256}, rng);
        Tape tape;
        backward(cross_entropy(model(ids).reshape({256, 32}), target));
        optimizer.step();
        optimizer.zero_grad();
      }
      results.push_back(model.parameters());
    }
    set_thread_count(threads);
    CHECK(same_bits(results[0], results[1]));
  }
}
