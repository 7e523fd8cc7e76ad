// Span heads: GlobalPointer, its efficient, low-rank and modulated forms, and the hierarchy.
#include <doctest/doctest.h>

#include <cmath>

#include "models/heads/hierarchical_pointer.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/shape_ops.h"
#include "tests/models/heads/head_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Contains;

namespace {

// Nested and overlapping spans of two types in two sentences of five tokens.
const std::vector<Span> gold{{0, 0, 0, 1}, {0, 0, 3, 4}, {0, 1, 0, 2}, {1, 0, 2, 2}, {1, 1, 1, 4}, {1, 1, 2, 4}};

template <class Head> void check_learns(Head& head) {
  const Tensor hidden = normal({2, 5, 12}, 7), y = labels_of(gold, 2, 2, 5);
  fit(head, 150, 2e-2, [&] { return head.loss(hidden, y); });
  CHECK(head.spans(hidden) == gold);
}

// sum over types of both logarithms, for one sentence, straight from the scores of a head
double loss_by_hand(const Tensor& scores, const Tensor& labels, const Tensor& mask) {
  const Index H = scores.size(1), T = scores.size(2);
  double total = 0;
  for (Index h = 0; h < H; ++h) {
    double wrong = 1, right = 1;
    for (Index i = 0; i < T; ++i) {
      for (Index j = i; j < T; ++j) {
        if (value_at(mask, i) == 0 || value_at(mask, j) == 0) continue;
        const double s = scores.at({0, h, i, j});
        labels.at({0, h, i, j}) != 0 ? right += std::exp(-s) : wrong += std::exp(s);
      }
    }
    total += std::log(wrong) + std::log(right);
  }
  return total;
}

// Of the inner spans that are found, how many lie in no outer span: what the source penalises.
double alone(const Tensor& outer, const Tensor& inner) {
  const Index T = outer.size(1);
  const auto found = [&](const Tensor& s) { return spans_above(s.reshape({1, 1, T, T}), 0); };
  double count = 0;
  for (const Span& in : found(inner)) {
    bool covered = false;
    for (const Span& out : found(outer)) covered = covered || (out.begin <= in.begin && in.end <= out.end);
    count += !covered;
  }
  return count;
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

  TEST_CASE("gradients of scores and loss through each head agree with central differences") {
    GlobalPointer pointer(3, 2, 2, Rng(1)), bare(3, 2, 3, Rng(5), {.rope = false, .scale = false, .bias = false});
    EfficientGlobalPointer efficient(3, 2, 2, Rng(2)), low_rank(3, 2, 2, Rng(3), {.rank = 1});
    ModulatedPointer modulated(3, 2, 2, Rng(4));
    const Tensor x = normal({1, 3, 3}, 5, DType::f64), mask = tensor({1, 1, 0}, {1, 3});
    const Tensor y = labels_of({{0, 0, 0, 1}, {0, 1, 1, 1}}, 1, 2, 3);
    const auto check = [&](auto& head) {
      check_gradients(head, x);
      check_gradients_of(head, x, [&](const Tensor& h) { return head.loss(h, y, mask); });
    };
    check(pointer);
    check(bare);
    check(efficient);
    check(low_rank);
    check(modulated);
  }

  TEST_CASE("the loss of a head is that of its scores, where labels and mask say") {
    EfficientGlobalPointer head(4, 2, 2, Rng(1));
    head.to(DType::f64);
    const Tensor x = normal({1, 4, 4}, 2, DType::f64), mask = tensor({1, 1, 1, 0}, {1, 4});
    const Tensor y = labels_of({{0, 0, 0, 1}, {0, 1, 0, 2}, {0, 1, 1, 1}}, 1, 2, 4);
    CHECK(head.loss(x, y, mask).item() == doctest::Approx(loss_by_hand(head(x), y, mask)));
    CHECK(head.loss(x, y, zeros({1, 4})).item() == 0);
  }

  TEST_CASE("B084 B085 B086 B087 the heads have as many numbers to learn as the formulas say") {
    const SpanHeadOptions bare{.bias = false};
    CHECK(GlobalPointer(768, 1, 64, Rng(1), bare).parameter_count() == 98304);
    CHECK(GlobalPointer(768, 1, 64, Rng(1)).parameter_count() == 98304 + 2 * 64);
    CHECK(GlobalPointer(768, 10, 64, Rng(1), bare).parameter_count() == global_pointer_parameters(768, 64, 10));
    // The efficient form is larger for one type, far smaller for ten.
    CHECK(EfficientGlobalPointer(768, 1, 64, Rng(1)).parameter_count() == 98560);
    CHECK(EfficientGlobalPointer(768, 2, 64, Rng(1)).parameter_count() == 98816);
    CHECK(EfficientGlobalPointer(768, 10, 64, Rng(1)).parameter_count() == 100864);
    CHECK(ModulatedPointer(768, 10, 64, Rng(1)).parameter_count() == 98944);
    CHECK(EfficientGlobalPointer(768, 100, 64, Rng(1), {.rank = 8}).parameter_count() == 98304 + 2848);
  }

  TEST_CASE("parameters of the span heads are named as they stand in the class") {
    using Names = std::vector<std::string>;
    CHECK(names_of(GlobalPointer(4, 2, 2, Rng(1)).parameters()) == Names{"projection.weight", "projection.bias"});
    CHECK(names_of(EfficientGlobalPointer(4, 2, 2, Rng(1)).parameters()) == Names{"query.weight", "key.weight", "w"});
    CHECK(names_of(EfficientGlobalPointer(4, 2, 2, Rng(1), {.rank = 1}).parameters()) ==
          Names{"query.weight", "key.weight", "w", "shared"});
    CHECK(names_of(ModulatedPointer(4, 2, 2, Rng(1)).parameters()) ==
          Names{"query.weight", "key.weight", "modulation"});
    CHECK(names_of(HierarchicalGlobalPointer(4, 1, 2, Rng(1), 2, {.bias = false}).parameters()) ==
          Names{"layers.0.projection.weight", "layers.1.projection.weight", "feedback.0.weight", "feedback.0.bias"});
    CHECK(HierarchicalGlobalPointer(4, 1, 2, Rng(1)).layers.size() == 3);
  }

  TEST_CASE("C57 a shared rank is the full form with w = V U") {
    EfficientGlobalPointer low_rank(4, 3, 2, Rng(1), {.rank = 2}), full_rank(4, 3, 2, Rng(2));
    full_rank.query = low_rank.query, full_rank.key = low_rank.key;
    full_rank.w = matmul(low_rank.w, low_rank.shared);
    const Tensor x = normal({2, 3, 4}, 3);
    check_near(low_rank(x).to_vector(), full_rank(x).to_vector(), 1e-6);
  }

  TEST_CASE("C58 the modulated head tells m from -m, and learns at m = 0") {
    ModulatedPointer head(4, 2, 2, Rng(1));
    const Tensor x = normal({1, 3, 4}, 2);
    const Tensor s = head(x), m = head.modulation;
    head.modulation = (-1.0 * m.detach()).requires_grad_();
    check_near((-1.0 * head(x)).to_vector(), s.to_vector(), 1e-6);
    head.modulation = zeros({2, 2}).requires_grad_();
    Tape tape;
    backward(head.loss(x, labels_of({{0, 0, 0, 1}, {0, 1, 2, 2}}, 1, 2, 3)));
    for (const double g : head.modulation.grad().to_vector()) CHECK(std::abs(g) > 1e-6);
  }

  TEST_CASE("a seed determines each head, and two seeds differ") {
    const Tensor x = normal({1, 3, 4}, 2), a = GlobalPointer(4, 2, 2, Rng(1))(x), b = GlobalPointer(4, 2, 2, Rng(1))(x);
    CHECK(a.to_vector() == b.to_vector());
    CHECK(GlobalPointer(4, 2, 2, Rng(2))(x).to_vector() != a.to_vector());
    std::vector<std::vector<Tensor>> trained;
    for (int run = 0; run < 2; ++run) {
      HierarchicalGlobalPointer model(4, 1, 2, Rng(1), 2);
      const Tensor y = labels_of({{0, 0, 1, 2}}, 1, 1, 3);
      fit(model, 3, 2e-2, [&] { return model.loss(x, {y, y}); });
      trained.push_back(model.parameters());
    }
    CHECK(same_bits(trained[0], trained[1]));
  }

  TEST_CASE("mask and window: no span is found on padding or wider than the window") {
    GlobalPointer head(4, 1, 2, Rng(1), {.window = 1});
    const Tensor hidden = normal({1, 4, 4}, 2), mask = tensor({1, 1, 1, 0}, {1, 4});
    for (const Span& s : head.spans(hidden, mask, -1e9)) {
      CHECK(s.end <= 2);
      CHECK(s.end - s.begin <= 1);
    }
    CHECK(head.spans(hidden, mask, -1e9).size() == 5);
    CHECK(head.spans(hidden, mask, 1e9).empty());
    CHECK_THROWS_WITH_AS(head.loss(hidden, labels_of({{0, 0, 0, 2}}, 1, 1, 4)), Contains("longer than the window"),
                         Error);
  }

  TEST_CASE("span heads: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(GlobalPointer(4, 0, 2, Rng(1)), Contains("[GlobalPointer] types must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(ModulatedPointer(4, 1, 0, Rng(1)), Contains("head_width must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(ModulatedPointer(4, 1, 3, Rng(1)), Contains("must be even, got 3"), Error);
    CHECK_THROWS_WITH_AS(GlobalPointer(4, 1, 2, Rng(1), {.window = -2}), Contains("window must be"), Error);
    CHECK_THROWS_WITH_AS(GlobalPointer(4, 1, 2, Rng(1), {.rank = 2}), Contains("has no rank"), Error);
    CHECK_THROWS_WITH_AS(EfficientGlobalPointer(4, 1, 2, Rng(1), {.rank = -1}), Contains("rank must be"), Error);
    EfficientGlobalPointer head(4, 1, 2, Rng(1));
    CHECK_THROWS_WITH_AS(head(zeros({3, 4})), Contains("hidden states [N,T,D]"), Error);
    CHECK_THROWS_WITH_AS(head(Tensor()), Contains("got nothing"), Error);
    CHECK_THROWS_AS(head(zeros({1, 3, 5})), Error);
    CHECK_THROWS_WITH_AS(head.loss(zeros({1, 3, 4}), zeros({1, 2, 3, 3})), Contains("labels must be [1,1,3,3]"), Error);
    CHECK_THROWS_WITH_AS(head.loss(zeros({1, 3, 4}), zeros({1, 1, 3, 3}), zeros({3})), Contains("mask must be [N,T]"),
                         Error);
    CHECK_THROWS_WITH_AS(HierarchicalGlobalPointer(4, 1, 2, Rng(1), 0), Contains("num_layers must be"), Error);
    CHECK_THROWS_WITH_AS(HierarchicalGlobalPointer(4, 1, 2, Rng(1), 2).loss(zeros({1, 3, 4}), {zeros({1, 1, 3, 3})}),
                         Contains("each of the 2 layers, got 1"), Error);
    CHECK_THROWS_WITH_AS(HierarchicalGlobalPointer(4, 1, 2, Rng(1))(zeros({1, 4})), Contains("[N,T,D]"), Error);
    CHECK_THROWS_WITH_AS(hierarchy_penalty(zeros({1, 4, 4}), zeros({1, 3, 3})), Contains("[N,T,T] each"), Error);
    CHECK_THROWS_WITH_AS(hierarchy_penalty(zeros({1, 4, 4}), zeros({1, 4, 4}), zeros({1, 3})), Contains("[N,T]"),
                         Error);
  }

  TEST_CASE("the hierarchy learns a depth in each layer, and later layers depend on earlier predictions") {
    const LeakGuard guard;
    HierarchicalGlobalPointer model(12, 1, 8, Rng(1));
    const Tensor hidden = normal({1, 5, 12}, 3);
    const std::vector<Span> depth[] = {{{0, 0, 0, 3}}, {{0, 0, 1, 2}, {0, 0, 3, 3}}, {{0, 0, 2, 2}}};
    std::vector<Tensor> y;
    for (const auto& spans : depth) y.push_back(labels_of(spans, 1, 1, 5));
    fit(model, 150, 2e-2, [&] { return model.loss(hidden, y); });
    const std::vector<Tensor> scores = model(hidden);
    for (std::size_t k = 0; k < 3; ++k) CHECK(spans_above(scores[k], 0) == depth[k]);
    CHECK(model.spans(hidden) == std::vector<Span>{{0, 0, 0, 3}, {0, 0, 1, 2}, {0, 0, 2, 2}, {0, 0, 3, 3}});

    // The scores of the last layer alone reach the parameters of the first, through the feedback.
    Tape tape;
    model.zero_grad();
    backward(sum(square(model(hidden)[2])));
    double reached = 0;
    for (const double g : model.layers[0].projection.weight.grad().to_vector()) reached += std::abs(g);
    CHECK(reached > 0);
  }

  TEST_CASE("gradients through the hierarchy and its feedback agree with central differences") {
    HierarchicalGlobalPointer model(3, 2, 2, Rng(1), 3);
    const Tensor x = normal({2, 3, 3}, 2, DType::f64), mask = tensor({1, 1, 1, 1, 1, 0}, {2, 3});
    check_gradients_of(model, x, [&](const Tensor& h) { return cat(model(h, mask), 1); });
  }

  TEST_CASE("padding changes nothing in the hierarchy, and cells outside the window are not handed on") {
    HierarchicalGlobalPointer model(4, 1, 2, Rng(1), 3);
    const Tensor x = normal({1, 3, 4}, 2), longer = cat({x, normal({1, 2, 4}, 3)}, 1);
    const std::vector<Tensor> a = model(x), b = model(longer, tensor({1, 1, 1, 0, 0}, {1, 5}));
    for (std::size_t k = 0; k < 3; ++k) {
      const Tensor same = slice(slice(b[k], 2, 0, 3), 3, 0, 3);
      check_near(same.to_vector(), a[k].to_vector(), 1e-6);
    }
    // Window 0: only spans of one token count, so what token 2 holds does not reach layer 1's score of token 0.
    HierarchicalGlobalPointer narrow(4, 1, 2, Rng(1), 2, {.window = 0});
    Tensor changed = x.clone();
    for (Index i = 8; i < 12; ++i) set_value(changed, i, 5);
    CHECK(narrow(x)[1].at({0, 0, 0, 0}) == narrow(changed)[1].at({0, 0, 0, 0}));
    CHECK(a[1].at({0, 0, 0, 0}) != model(changed)[1].at({0, 0, 0, 0}));
    for (const Span& s : narrow.spans(x, {}, -1e9)) CHECK(s.begin == s.end);
  }

  TEST_CASE("C56 counting inner spans outside outer ones has gradient 0, the penalty has one") {
    const Tensor outer = normal({1, 4, 4}, 1, DType::f64) - 1.5, inner = normal({1, 4, 4}, 2, DType::f64);
    CHECK(alone(outer, inner) > 0);
    for (Index i = 0; i < 16; ++i) {  // a step function: no entry of either has a slope
      Tensor a = outer.clone(), b = inner.clone();
      set_value(a, i, value_at(a, i) + 1e-4), set_value(b, i, value_at(b, i) + 1e-4);
      CHECK(alone(a, inner) == alone(outer, inner));
      CHECK(alone(outer, b) == alone(outer, inner));
    }
    const Values up = slopes(inner, [&](const Tensor& s) { return hierarchy_penalty(outer, s); });
    const Values down = slopes(outer, [&](const Tensor& s) { return hierarchy_penalty(s, inner); });
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < 4; ++j) {
        CHECK((up[std::size_t(4 * i + j)] > 0) == (i <= j));
        CHECK((down[std::size_t(4 * i + j)] < 0) == (i <= j));
      }
    }
    const GradCheckResult result = grad_check(
        [](const std::vector<Tensor>& in) {
          return hierarchy_penalty(in[0], in[1], tensor({1, 1, 1, 0}, {1, 4}));
        },
        {outer, inner});
    CHECK_MESSAGE(result.passed, result.message);
  }

  TEST_CASE("C56 the penalty is 0 where all inner spans nest, and a cell's share where one stands alone") {
    const Tensor nothing = full({1, 4, 4}, -50, DType::f64);
    const auto only = [&](Index i, Index j, double s) {
      Tensor scores = nothing.clone();
      set_value(scores, 4 * i + j, s);
      return scores;
    };
    const Tensor sure = only(1, 2, 50);
    CHECK(hierarchy_penalty(nothing, sure).item() == doctest::Approx(0.1));  // ten cells
    CHECK(hierarchy_penalty(only(0, 3, 50), sure).item() < 1e-20);
    CHECK(hierarchy_penalty(only(1, 2, 50), sure).item() < 1e-20);
    CHECK(hierarchy_penalty(only(1, 1, 50), sure).item() == doctest::Approx(0.1));  // narrower: it covers nothing
    CHECK(hierarchy_penalty(only(2, 3, 50), sure).item() == doctest::Approx(0.1));  // crossing
    // One outer span around: sigma(s_inner) (1 - sigma(s_outer)).
    const double wanted = 0.1 / (1 + std::exp(-0.7)) / (1 + std::exp(1.3));
    CHECK(hierarchy_penalty(only(0, 3, 1.3), only(1, 2, 0.7)).item() == doctest::Approx(wanted));
    CHECK(hierarchy_penalty(nothing, sure, zeros({1, 4})).item() == 0);
    const Tensor huge = full({1, 4, 4}, 1e4), small = full({1, 4, 4}, -1e4);
    CHECK(hierarchy_penalty(huge, huge).item() == 0);
    CHECK(hierarchy_penalty(small, huge).item() == doctest::Approx(1));
  }
}
