// The two-stage classifier of spans: candidates, pooled features, and both stages together.
#include "models/heads/span_classifier.h"

#include "ops/shape_ops.h"
#include "tests/models/heads/head_tools.h"
#include "tests/support/leak_guard.h"

using namespace gradus;
using doctest::Contains;

namespace {

// Nested and overlapping spans of two types in two sentences of five tokens.
const std::vector<Span> gold{{0, 0, 0, 1}, {0, 0, 3, 4}, {0, 1, 0, 2}, {1, 0, 2, 2}, {1, 1, 1, 4}, {1, 1, 2, 4}};

}  // namespace

TEST_SUITE("models/heads/span_classifier") {
  TEST_CASE("two stages: the classifier names the candidates and turns the others down") {
    const LeakGuard guard;
    SpanClassifier model(12, 2, 8, 16, 6, Rng(1));
    const Tensor hidden = normal({2, 5, 12}, 7), y = labels_of(gold, 2, 2, 5);
    fit(model, 120, 2e-2, [&] { return model.loss(hidden, y); });
    CHECK(model.spans(hidden) == gold);
    for (const Span& s : model.spans(hidden, tensor({1, 1, 1, 1, 0, 1, 1, 1, 1, 0}, {2, 5}))) CHECK(s.end < 4);
    CHECK(model.spans(hidden, zeros({2, 5})).empty());
    CHECK(model.loss(hidden, y, zeros({2, 5})).item() == 0);
  }

  TEST_CASE("candidates: the best spans of each sentence, ties by place, within mask and window") {
    CHECK(best_spans(zeros({1, 1, 3, 3}), 2) == std::vector<Span>{{0, 0, 0, 0}, {0, 0, 0, 1}});
    Tensor s = zeros({2, 2, 3, 3});
    const auto at = [](const Span& span) { return ((span.batch * 2 + span.head) * 3 + span.begin) * 3 + span.end; };
    set_value(s, at({0, 1, 0, 2}), 3), set_value(s, at({0, 0, 1, 1}), 2), set_value(s, at({0, 0, 2, 0}), 9);
    set_value(s, at({1, 0, 1, 2}), 1);
    CHECK(best_spans(s, 1) == std::vector<Span>{{0, 1, 0, 2}, {1, 0, 1, 2}});
    CHECK(best_spans(s, 1, tensor({1, 1, 0, 0, 0, 0}, {2, 3})) == std::vector<Span>{{0, 0, 1, 1}});
    CHECK(best_spans(s, 1, {}, 0)[0] == Span{0, 0, 1, 1});
    CHECK(best_spans(s, 100).size() == 12);
    // Names are of the classifier; the pointer only proposes within its window.
    SpanClassifier narrow(4, 1, 2, 3, 100, Rng(1), {.window = 1});
    for (const Span& span : narrow.spans(normal({2, 4, 4}, 2))) CHECK(span.end - span.begin <= 1);
  }

  TEST_CASE("pooled spans: begin, end and the mean between them reach the classifier, in any order, with gradient") {
    SpanClassifier model(3, 1, 2, 4, 5, Rng(1));
    const std::vector<Span> spans{{1, 0, 0, 2}, {0, 0, 1, 1}, {1, 0, 1, 2}};
    const Tensor x = normal({2, 3, 3}, 2);
    const Tensor logits = model(x, spans);
    REQUIRE(logits.shape() == Shape{3, 2});
    for (Index k = 0; k < 3; ++k) {
      const Span& s = spans[std::size_t(k)];
      Values f;
      for (const Index t : {s.begin, s.end})
        for (Index d = 0; d < 3; ++d) f.push_back(x.at({s.batch, t, d}));
      for (Index d = 0; d < 3; ++d) {
        double mean = 0;
        for (Index t = s.begin; t <= s.end; ++t) mean += x.at({s.batch, t, d}) / double(s.end - s.begin + 1);
        f.push_back(mean);
      }
      check_near(logits.rows(k, k + 1).to_vector(), model.classifier(tensor(f, {1, 9})).to_vector(), 1e-6);
    }
    CHECK(model(x, {}).shape() == Shape{0, 2});
    check_gradients_of(model, normal({2, 3, 3}, 3, DType::f64), [&](const Tensor& h) { return model(h, spans); });
    // With all cells as candidates the choice cannot change: the whole loss has a slope everywhere.
    SpanClassifier all(3, 2, 2, 4, 6, Rng(4));
    const Tensor y = labels_of({{0, 0, 0, 1}, {0, 1, 2, 2}}, 1, 2, 3);
    check_gradients_of(all, normal({1, 3, 3}, 5, DType::f64), [&](const Tensor& h) { return all.loss(h, y); });
  }

  TEST_CASE("span classifier: parameters are named, and a seed determines what training makes of them") {
    using Names = std::vector<std::string>;
    CHECK(names_of(SpanClassifier(4, 1, 2, 3, 5, Rng(1)).parameters()) ==
          Names{"pointer.projection.weight", "pointer.projection.bias", "classifier.layers.0.weight",
                "classifier.layers.0.bias", "classifier.layers.1.weight", "classifier.layers.1.bias"});
    const Tensor x = normal({1, 3, 4}, 2);
    std::vector<std::vector<Tensor>> trained;
    for (int run = 0; run < 2; ++run) {
      SpanClassifier model(4, 1, 2, 3, 4, Rng(1));
      const Tensor y = labels_of({{0, 0, 1, 2}}, 1, 1, 3);
      fit(model, 3, 2e-2, [&] { return model.loss(x, y); });
      trained.push_back(model.parameters());
    }
    CHECK(same_bits(trained[0], trained[1]));
  }

  TEST_CASE("span classifier: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(best_spans(zeros({2, 3}), 1), Contains("[N,H,T,T]"), Error);
    CHECK_THROWS_WITH_AS(best_spans(zeros({1, 1, 3, 3}), 0), Contains("count must be at least 1"), Error);
    CHECK_THROWS_WITH_AS(best_spans(zeros({1, 1, 3, 3}), 1, zeros({2, 3})), Contains("mask must be [N,T]"), Error);
    CHECK_THROWS_WITH_AS(SpanClassifier(4, 1, 2, 3, 0, Rng(1)), Contains("candidates must be at least 1"), Error);
    SpanClassifier classifier(4, 1, 2, 3, 5, Rng(1));
    CHECK_THROWS_WITH_AS(classifier(zeros({2, 3, 4}), {{0, 0, 1, 3}}), Contains("1..3 of sentence 0 does not lie"),
                         Error);
    CHECK_THROWS_WITH_AS(classifier(zeros({2, 3, 4}), {{1, 0, 2, 1}}), Contains("does not lie in"), Error);
  }
}
