// Span heads: GlobalPointer, its efficient, low-rank and modulated forms, the hierarchy, and the two-stage classifier.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "models/heads/hierarchical_pointer.h"
#include "models/heads/span_classifier.h"
#include "models/optimizer.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "tests/models/model_tools.h"
#include "tests/support/leak_guard.h"
#include "tests/support/loss_case.h"

using namespace gradus;
using doctest::Contains;

namespace {

Tensor normal(Shape shape, std::uint64_t seed, DType dtype = DType::f32) {
  Rng rng(seed);
  return randn(shape, rng, dtype);
}

// Nested and overlapping spans of two types in two sentences of five tokens.
const std::vector<Span> gold{{0, 0, 0, 1}, {0, 0, 3, 4}, {0, 1, 0, 2}, {1, 0, 2, 2}, {1, 1, 1, 4}, {1, 1, 2, 4}};

Tensor labels_of(const std::vector<Span>& spans, Index N, Index H, Index T) {
  Tensor y = zeros({N, H, T, T});
  for (const Span& s : spans) set_value(y, ((s.batch * H + s.head) * T + s.begin) * T + s.end, 1);
  return y;
}

template <class Model, class F> void fit(Model& model, int steps, const F& loss) {
  Adam adam(model.parameters(), {.lr = 2e-2});
  for (int k = 0; k < steps; ++k) {
    Tape tape;
    backward(loss());
    adam.step();
    adam.zero_grad();
  }
}

template <class Head> void check_learns(Head& head) {
  const Tensor hidden = normal({2, 5, 12}, 7), y = labels_of(gold, 2, 2, 5);
  fit(head, 150, [&] { return head.loss(hidden, y); });
  CHECK(head.spans(hidden) == gold);
}

}  // namespace

TEST_SUITE("models/heads/spans") {
  TEST_CASE("each span head finds nested and overlapping spans exactly after a short fit") {
    const LeakGuard guard;
    GlobalPointer pointer(12, 2, 8, Rng(1));
    EfficientGlobalPointer efficient(12, 2, 8, Rng(2)), low_rank(12, 2, 8, Rng(3), {.rank = 2});
    ModulatedPointer modulated(12, 2, 8, Rng(4));
    check_learns(pointer);
    check_learns(efficient);
    check_learns(low_rank);
    check_learns(modulated);
  }

  TEST_CASE("gradients through each head agree with central differences") {
    GlobalPointer pointer(3, 2, 2, Rng(1));
    EfficientGlobalPointer efficient(3, 2, 2, Rng(2)), low_rank(3, 2, 2, Rng(3), {.rank = 1});
    ModulatedPointer modulated(3, 2, 2, Rng(4));
    const Tensor x = normal({1, 3, 3}, 5, DType::f64);
    check_gradients(pointer, x);
    check_gradients(efficient, x);
    check_gradients(low_rank, x);
    check_gradients(modulated, x);
  }

  TEST_CASE("numbers to learn are those of the formulas, biases of GlobalPointer aside") {
    CHECK(GlobalPointer(768, 1, 64, Rng(1)).parameter_count() == 98304 + 128);
    CHECK(EfficientGlobalPointer(768, 10, 64, Rng(1)).parameter_count() == 100864);
    CHECK(ModulatedPointer(768, 10, 64, Rng(1)).parameter_count() == 98944);
    CHECK(EfficientGlobalPointer(768, 100, 64, Rng(1), {.rank = 8}).parameter_count() == 98304 + 2848);
    CHECK(names_of(EfficientGlobalPointer(4, 2, 2, Rng(1), {.rank = 1}).parameters()) ==
          std::vector<std::string>{"query.weight", "key.weight", "w", "shared"});
  }

  TEST_CASE("mask and window: no span is found on padding or wider than the window") {
    GlobalPointer head(4, 1, 2, Rng(1), {.window = 1});
    const Tensor hidden = normal({1, 4, 4}, 2), mask = tensor({1, 1, 1, 0}, {1, 4});
    for (const Span& s : head.spans(hidden, mask, -1e9)) {
      CHECK(s.end <= 2);
      CHECK(s.end - s.begin <= 1);
    }
    CHECK(head.spans(hidden, mask, -1e9).size() == 5);
    CHECK_THROWS_WITH_AS(head.loss(hidden, labels_of({{0, 0, 0, 2}}, 1, 1, 4)), Contains("longer than the window"),
                         Error);
    CHECK_THROWS_WITH_AS(GlobalPointer(4, 0, 2, Rng(1)), Contains("types must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(EfficientGlobalPointer(4, 1, 2, Rng(1), {.rank = -1}), Contains("rank must be"), Error);
  }

  TEST_CASE("the hierarchy learns a depth in each layer, and later layers depend on earlier predictions") {
    const LeakGuard guard;
    HierarchicalGlobalPointer model(12, 1, 8, Rng(1), 2);
    const Tensor hidden = normal({1, 5, 12}, 3);
    const std::vector<Tensor> y{labels_of({{0, 0, 0, 3}}, 1, 1, 5), labels_of({{0, 0, 1, 2}, {0, 0, 3, 3}}, 1, 1, 5)};
    fit(model, 150, [&] { return model.loss(hidden, y); });
    const std::vector<Tensor> scores = model(hidden);
    CHECK(spans_above(scores[0], 0) == std::vector<Span>{{0, 0, 0, 3}});
    CHECK(spans_above(scores[1], 0) == std::vector<Span>{{0, 0, 1, 2}, {0, 0, 3, 3}});
    Tape tape;

    // The loss of the second layer alone reaches the parameters of the first, through the feedback.
    for (Tensor& p : model.parameters()) p.zero_grad();
    backward(sum(square(model(hidden)[1])));
    CHECK(bool(model.layers[0].projection.weight.grad()));
    CHECK_THROWS_WITH_AS(model.loss(hidden, {y[0]}), Contains("each of the 2 layers, got 1"), Error);
  }

  TEST_CASE("C56 counting inner spans outside outer ones has gradient 0; the penalty has one, and is 0 when all nest") {
    const Tensor outer = normal({1, 4, 4}, 1, DType::f64), inner = normal({1, 4, 4}, 2, DType::f64);
    const auto count = [&](const Tensor& s) { return sum(greater(s, full({}, 0, DType::f64)).to(DType::f64)); };
    CHECK(count(inner + 1e-6).item() == count(inner).item());  // a step function: its slope is 0 beside the steps
    const Values g = slopes(inner, [&](const Tensor& s) { return hierarchy_penalty(outer, s); });
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < 4; ++j) CHECK((g[std::size_t(4 * i + j)] > 0) == (i <= j));
    }
    // An outer span over the whole sentence covers everything; without one, a sure inner span costs 1 / cells.
    Tensor whole = full({1, 4, 4}, -50, DType::f64), sure = full({1, 4, 4}, -50, DType::f64);
    set_value(sure, 1 * 4 + 2, 50);
    CHECK(hierarchy_penalty(whole, sure).item() == doctest::Approx(0.1));
    set_value(whole, 0 * 4 + 3, 50);
    CHECK(hierarchy_penalty(whole, sure).item() < 1e-20);
    // A wider inner span is not covered by a narrower outer one.
    Tensor narrow = full({1, 4, 4}, -50, DType::f64);
    set_value(narrow, 1 * 4 + 1, 50);
    CHECK(hierarchy_penalty(narrow, sure).item() == doctest::Approx(0.1));
    CHECK_THROWS_WITH_AS(hierarchy_penalty(outer, normal({1, 3, 3}, 1, DType::f64)), Contains("[N,T,T] each"), Error);
  }

  TEST_CASE("two stages: the classifier names the candidates, also those that the pointer types wrongly") {
    const LeakGuard guard;
    SpanClassifier model(12, 2, 8, 16, 6, Rng(1));
    const Tensor hidden = normal({2, 5, 12}, 7), y = labels_of(gold, 2, 2, 5);
    fit(model, 120, [&] { return model.loss(hidden, y); });
    CHECK(model.spans(hidden) == gold);
    // Gradient reaches the hidden states through the pooled features.
    const Tensor x = hidden.to(DType::f64);
    SpanClassifier fresh(12, 2, 8, 16, 6, Rng(2));
    fresh.to(DType::f64);
    const Values g = slopes(x, [&](const Tensor& h) { return sum(square(fresh(h, {{0, 0, 1, 3}}))); });
    CHECK(g[0] == 0);                // token 0 is not in the span
    CHECK(std::abs(g[12]) > 0);      // token 1 begins it
    CHECK(std::abs(g[2 * 12]) > 0);  // token 2 lies inside
    CHECK_THROWS_WITH_AS(best_spans(zeros({2, 3}), 1), Contains("[N,H,T,T]"), Error);
    CHECK(best_spans(zeros({1, 1, 3, 3}), 2) == std::vector<Span>{{0, 0, 0, 0}, {0, 0, 0, 1}});
  }
}
