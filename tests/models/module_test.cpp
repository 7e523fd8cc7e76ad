// Modules: names, counts, shapes, starting values, training mode, and gradients through them.
#include "models/module.h"

#include "models/dropout.h"
#include "models/embedding.h"
#include "models/layer_norm.h"
#include "models/mlp.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Contains;

namespace {

// One layer used twice.
struct Tied final : Module {
  Linear a;
  Tied() : a(3, 3, Rng(1)) {}
  void list(Parts& parts) override { parts.add("first", a), parts.add("second", a); }
};

}  // namespace

TEST_SUITE("models/module") {
  TEST_CASE("parameters have PyTorch's names, in order") {
    Mlp model({4, 8, 3}, Rng(7));
    CHECK(names_of(model.parameters()) ==
          std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"});
    CHECK(model.parameter_count() == 4 * 8 + 8 + 8 * 3 + 3);
    CHECK(model.parts().generators[0].name == "dropout.rng");
  }

  TEST_CASE("a name scope that is open does not change them") {
    Mlp model({4, 3}, Rng(7));
    const NameScope scope("outer");
    CHECK(model.parameters()[0].name() == "layers.0.weight");
  }

  TEST_CASE("a parameter that is used in two places counts once, under its first name") {
    Tied model;
    CHECK(names_of(model.parameters()) == std::vector<std::string>{"first.weight", "first.bias"});
    CHECK(model.parameter_count() == 12);
  }

  TEST_CASE("a linear layer without bias has one parameter") {
    Linear layer(5, 2, Rng(1), {.bias = false});
    CHECK(names_of(layer.parameters()) == std::vector<std::string>{"weight"});
    CHECK(layer(ones({3, 5})).shape() == Shape{3, 2});
  }

  TEST_CASE("a linear layer starts uniform in +-1/sqrt(in)") {
    Linear layer(100, 50, Rng(3));
    double low = 1, high = -1, sum = 0;
    for (const double w : layer.weight.to_vector()) low = std::min(low, w), high = std::max(high, w), sum += w;
    CHECK(low >= -0.1f);
    CHECK(low < -0.099);
    CHECK(high < 0.1f);
    CHECK(high > 0.099);
    CHECK(std::abs(sum / 5000) < 0.003);
  }

  TEST_CASE("equal seeds give equal models, and the layers of one model differ") {
    Mlp a({4, 4, 4}, Rng(7)), b({4, 4, 4}, Rng(7)), c({4, 4, 4}, Rng(8));
    CHECK(same_bits(a.parameters(), b.parameters()));
    CHECK(!same_bits(a.parameters(), c.parameters()));
    CHECK(!same_bits({a.layers[0].weight}, {a.layers[1].weight}));
  }

  TEST_CASE("sizes that make no sense are errors") {
    CHECK_THROWS_WITH_AS(Linear(0, 2, Rng(1)), Contains("[Linear] in_features must be at least 1, got 0"), Error);
    CHECK_THROWS_WITH_AS(Embedding(3, -1, Rng(1)), Contains("embedding_dim"), Error);
    CHECK_THROWS_WITH_AS(LayerNorm(0), Contains("width"), Error);
    CHECK_THROWS_WITH_AS(Mlp({4}, Rng(1)), Contains("at least two sizes"), Error);
    CHECK_THROWS_WITH_AS(Dropout(1.0, Rng(1)), Contains("0 <= p < 1"), Error);
    CHECK_THROWS_AS(Mlp({4, 2}, Rng(1))(ones({3, 5})), Error);
  }

  TEST_CASE("an mlp is its layers with relu between them") {
    Mlp model({3, 5, 2}, Rng(7));
    Rng rng(1);
    const Tensor x = randn({4, 3}, rng);
    CHECK(model(x).to_vector() == model.layers[1](activate(model.layers[0](x), Activation::relu)).to_vector());
    CHECK(model(x).shape() == Shape{4, 2});
    CHECK(model(ones({2, 4, 3})).shape() == Shape{2, 4, 2});
  }

  TEST_CASE("gradients through an mlp agree with central differences, for every activation") {
    const LeakGuard guard;
    Rng rng(5);
    using enum Activation;
    for (const Activation activation : {relu, gelu, gelu_tanh, silu, sigmoid, tanh}) {
      Mlp model({3, 5, 2}, Rng(7), {.activation = activation});
      check_gradients(model, randn({4, 3}, rng));
    }
  }

  TEST_CASE("gradients through layer norm and embedding agree with central differences") {
    LayerNorm norm(6);
    Rng rng(5);
    check_gradients(norm, randn({4, 6}, rng));
    Embedding table(5, 3, Rng(2));
    check_gradients(table, labels({4, 1, 1, 0}));
    CHECK(table(labels({4, 1, 1, 0})).shape() == Shape{4, 3});
    CHECK_THROWS_WITH_AS(table(labels({0, 5})), Contains("5"), Error);
  }

  TEST_CASE("dropout drops while training, keeps the mean, and does nothing while evaluating") {
    Dropout drop(0.25, Rng(3));
    const Tensor x = ones({10000});
    double sum = 0;
    for (const double v : drop(x).to_vector()) {
      CHECK((v == 0 || v == doctest::Approx(4.0 / 3)));
      sum += v;
    }
    CHECK(sum / 10000 == doctest::Approx(1).epsilon(0.03));
    const auto position = drop.rng.position();
    drop.eval();
    CHECK(drop(x).to_vector() == x.to_vector());
    CHECK(drop.rng.position() == position);
  }

  TEST_CASE("eval and train reach every module inside") {
    Mlp model({4, 4, 2}, Rng(7), {.dropout = 0.5});
    model.eval();
    CHECK(!model.training);
    CHECK(!model.dropout.training);
    CHECK(!model.layers[1].training);
    model.train();
    CHECK(model.dropout.training);
  }

  TEST_CASE("zero_grad drops the gradients of all parameters") {
    Linear layer(3, 2, Rng(1));
    for (Tensor p : layer.parameters()) p.set_grad(ones(p.shape()));
    layer.zero_grad();
    CHECK(!layer.weight.grad());
    CHECK(!layer.bias.grad());
  }

  TEST_CASE("to(f64) keeps values, names and what is trained") {
    Linear layer(3, 2, Rng(1));
    layer.bias.requires_grad_(false);
    const auto before = layer.weight.to_vector();
    layer.to(DType::f64);
    CHECK(layer.weight.dtype() == DType::f64);
    CHECK(layer.weight.to_vector() == before);
    CHECK(layer.weight.requires_grad());
    CHECK(!layer.bias.requires_grad());
    CHECK(layer.parameters()[1].name() == "bias");
  }

  TEST_CASE("to(f64) leaves what is used in two places one parameter") {
    struct Shared final : Module {
      Linear a{3, 3, Rng(1)}, b{3, 3, Rng(2)};
      Shared() { b.weight = a.weight; }
      void list(Parts& parts) override { parts.add("a", a), parts.add("b", b); }
    } model;
    model.to(DType::f64);
    CHECK(names_of(model.parameters()) == std::vector<std::string>{"a.weight", "a.bias", "b.bias"});
    CHECK(model.b.weight.handle() == model.a.weight.handle());
    CHECK(model.b.weight.dtype() == DType::f64);
  }
}
