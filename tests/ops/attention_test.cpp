// Attention: the closed form is the definition, causal masks what lies ahead, and no [T,S] matrix stays on the tape.
#include "ops/attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "engine/buffer.h"
#include "engine/random.h"
#include "ops/math.h"
#include "ops/shape_ops.h"
#include "tests/support/op_case.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

Tensor attend(const std::vector<Tensor>& in, const AttentionOptions& o) {
  return scaled_dot_product_attention(in[0], in[1], in[2], o);
}

// Row by row, from the formula.
Tensor reference(const std::vector<Tensor>& in, const AttentionOptions& o) {
  const Index T = in[0].size(2), D = in[0].size(3), S = in[1].size(2), E = in[2].size(3);
  const double scale = o.scale != 0 ? o.scale : 1 / std::sqrt(double(D));
  return tabulate(in[0].shape().with(3, E), [&](Index i) {
    const Index head = i / (T * E), t = i / E % T;
    double top = 0, bottom = 0;
    for (Index s = 0; s < (o.causal ? t + 1 + S - T : S); ++s) {
      if (o.key_mask && value_at(o.key_mask, head / in[0].size(1) * S + s) == 0) continue;
      double score = 0;
      for (Index d = 0; d < D; ++d) score += value_at(in[0], i / E * D + d) * value_at(in[1], (head * S + s) * D + d);
      const double weight = std::exp(scale * score);
      top += weight * value_at(in[2], (head * S + s) * E + i % E);
      bottom += weight;
    }
    return top / bottom;
  });
}

std::vector<Tensor> heads(Index B, Index H, Index T, Index S, Index D, Index E) {
  return {away_from_zero({B, H, T, D}, 1), away_from_zero({B, H, S, D}, 2), away_from_zero({B, H, S, E}, 3)};
}

void add_case(std::vector<OpCase>& cases, const char* name, const std::vector<Tensor>& inputs, AttentionOptions o) {
  for (const Form form : {Form::closed, Form::definition}) {
    o.form = form;
    cases.push_back({std::string(form == Form::closed ? "closed, " : "definition, ") + name,
                     [o](const auto& in) { return attend(in, o); }, inputs,
                     [o](const auto& in) { return reference(in, o); }});
  }
}

}  // namespace

std::vector<OpCase> gradus::attention_cases() {
  std::vector<OpCase> cases;
  add_case(cases, "all sizes differ", heads(2, 1, 3, 4, 2, 5), {});
  add_case(cases, "causal", heads(1, 2, 3, 3, 4, 2), {.causal = true});
  add_case(cases, "causal, fewer queries than keys", heads(1, 2, 2, 5, 3, 2), {.causal = true});
  const Tensor mask = tensor({1, 1, 0, 1, 0, 0, 0, 1, 1, 1}, {2, 5}, DType::u8);
  add_case(cases, "padded keys", heads(2, 2, 3, 5, 4, 2), {.key_mask = mask});
  add_case(cases, "padded keys, causal", heads(2, 2, 3, 5, 4, 2), {.causal = true, .key_mask = mask});
  add_case(cases, "scale 0.3", heads(1, 1, 3, 4, 5, 2), {.scale = 0.3});
  add_case(cases, "one query", heads(2, 3, 1, 4, 2, 2), {});
  add_case(cases, "equal sizes", heads(1, 2, 3, 3, 4, 4), {});
  add_case(cases, "many heads", heads(3, 7, 19, 23, 8, 5), {.causal = true});
  return cases;
}

TEST_SUITE("attention") {
  TEST_CASE("closed form and definition: value and gradient") {
    for (const OpCase& c : attention_cases()) check_op(c);
  }

  TEST_CASE("causal: what follows position t does not reach y_t") {
    std::vector<Tensor> in = heads(1, 1, 4, 4, 3, 2);
    const Tensor before = attend(in, {.causal = true});
    for (const Index d : {0, 1, 2}) set_value(in[1], 3 * 3 + d, 100);
    for (const Index e : {0, 1}) set_value(in[2], 3 * 2 + e, 100);
    const Tensor after = attend(in, {.causal = true});
    for (Index i = 0; i < 6; ++i) CHECK(value_at(after, i) == value_at(before, i));
    CHECK(value_at(after, 7) != value_at(before, 7));
  }

  TEST_CASE("a padded key is as if it were not there, and a query that sees none gets 0") {
    const std::vector<Tensor> in = heads(1, 2, 3, 4, 2, 5);
    const Tensor some = attend(in, {.key_mask = tensor({1, 1, 0, 0}, {1, 4}, DType::u8)});
    const Tensor two = attend({in[0], slice(in[1], 2, 0, 2), slice(in[2], 2, 0, 2)}, {});
    for (Index i = 0; i < some.numel(); ++i) CHECK(value_at(some, i) == doctest::Approx(value_at(two, i)));
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor none = attend(in, {.key_mask = zeros({1, 4}, DType::u8), .form = form});
      CHECK(none.to_vector() == Values(std::size_t(none.numel()), 0));
    }
  }

  TEST_CASE("scores of 1e4 in f32 pick the greatest key, equal keys give the mean of the values") {
    const Tensor q = tensor({1e4}, {1, 1, 1, 1}), v = tensor({1, 2, 3}, {1, 1, 3, 1});
    CHECK(scaled_dot_product_attention(q, tensor({0, 1, -1}, {1, 1, 3, 1}), v).item() == 2);
    CHECK(scaled_dot_product_attention(q, zeros({1, 1, 3, 1}), v).item() == doctest::Approx(2));
  }

  TEST_CASE("the closed form keeps no [T,S] matrix: less than one of them is alive after the forward pass") {
    Rng rng(1);
    std::vector<Tensor> in;
    for (int k = 0; k < 3; ++k) in.push_back(randn({1, 4, 128, 2}, rng).requires_grad_());
    const auto kept_by = [&](Form form) {
      const Tape tape;
      const auto before = memory_use().live_bytes;
      const Tensor y = attend(in, {.form = form});
      return memory_use().live_bytes - before;
    };
    const std::int64_t one_matrix = 4 * 128 * 128 * 4;
    CHECK(kept_by(Form::closed) < one_matrix / 8);
    CHECK(kept_by(Form::definition) > one_matrix);
  }

  TEST_CASE("nothing to attend to gives 0, and gradients 0") {
    for (const Form form : {Form::closed, Form::definition}) {
      const Tensor q = ones({1, 2, 3, 2}, DType::f64), none = zeros({1, 2, 0, 2}, DType::f64);
      const auto f = [&](const Tensor& x) { return scaled_dot_product_attention(x, none, none, {.form = form}); };
      CHECK(f(q).to_vector() == Values(12, 0));
      CHECK(slopes(q, f) == Values(12, 0));
      CHECK(scaled_dot_product_attention(none, q, q, {.form = form}).shape() == Shape{1, 2, 0, 2});
    }
  }

  TEST_CASE("shapes that do not fit are named, causal needs a key for each query, scale must be positive") {
    const Tensor q = zeros({1, 2, 3, 4}), k = zeros({1, 2, 5, 4}), v = zeros({1, 2, 5, 6});
    const auto f = scaled_dot_product_attention;
    CHECK_THROWS_WITH_AS(f(q, k, zeros({1, 2, 4, 6}), {}),
                         doctest::Contains("needs q [B,H,T,D], k [B,H,S,D] and v [B,H,S,E], got f32 [1,2,3,4]"), Error);
    CHECK_THROWS_WITH_AS(f(zeros({2, 3, 4}), k, v, {}), doctest::Contains("needs q [B,H,T,D]"), Error);
    CHECK_THROWS_WITH_AS(f(zeros({1, 2, 3, 5}), k, v, {}), doctest::Contains("needs q [B,H,T,D]"), Error);
    CHECK_THROWS_WITH_AS(f(k, q, q, {.causal = true}), doctest::Contains("no more queries than keys"), Error);
    CHECK_THROWS_WITH_AS(f(q, k, v, {.scale = -1}), doctest::Contains("needs a positive scale"), Error);
    CHECK_THROWS_WITH_AS(f(q, k, v.to(DType::f64), {}), doctest::Contains("types differ"), Error);
    CHECK_THROWS_WITH_AS(f(q, k, v, {.key_mask = ones({5}, DType::u8)}), doctest::Contains("needs a key_mask u8 [1,5]"),
                         Error);
    CHECK_THROWS_WITH_AS(f(q, Tensor(), v, {}), doctest::Contains("undefined"), Error);
  }
}
