// Linear layer and cross entropy in chunks: the same numbers as one after the other, in the memory of a chunk.
#include <doctest/doctest.h>

#include "engine/backward.h"
#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/linear_cross_entropy.h"
#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("linear_cross_entropy") {
  TEST_CASE("linear_cross_entropy: definition, closed form and central differences agree") {
    check_losses(linear_cross_entropy_losses());
  }

  TEST_CASE("linear_cross_entropy: any chunk gives the value and the gradients of linear and cross_entropy") {
    Rng rng(3);
    const Tensor h0 = randn({37, 8}, rng), w0 = randn({53, 8}, rng), t = randint(53, {37}, rng);
    const auto gradients = [&](const auto& loss_of) {
      Tensor h = h0.clone().requires_grad_(), w = w0.clone().requires_grad_();
      Tape tape;
      const Tensor loss = loss_of(h, w) * 3.0;
      backward(loss);
      Values all = {loss.item()};
      for (const Tensor& x : {h.grad(), w.grad()}) {
        for (const double v : x.to_vector()) all.push_back(v);
      }
      return all;
    };
    const Values expected = gradients([&](const Tensor& h, const Tensor& w) { return cross_entropy(linear(h, w), t); });
    for (const Index chunk : {0, 1, 5, 36, 37, 100}) {
      const Values got =
          gradients([&](const Tensor& h, const Tensor& w) { return linear_cross_entropy(h, w, t, {.chunk = chunk}); });
      REQUIRE(got.size() == expected.size());
      for (std::size_t i = 0; i < got.size(); ++i)
        CHECK(got[i] == doctest::Approx(expected[i]).epsilon(2e-5).scale(0.1));
    }
  }

  TEST_CASE("linear_cross_entropy: memory is that of a chunk, not of all logits") {
    const Index N = 512, D = 4, V = 4096;
    Rng rng(4);
    Tensor h = randn({N, D}, rng).requires_grad_(), w = randn({V, D}, rng).requires_grad_();
    const Tensor t = randint(V, {N}, rng);
    const auto before = memory_use().live_bytes;
    reset_peak_memory();
    {
      Tape tape;
      backward(linear_cross_entropy(h, w, t, {.chunk = 16}));
    }
    const auto most = memory_use().peak_bytes - before;
    CHECK(most < 16 * V * 4 + 4 * (N + V) * D * 4 + 65536);
    CHECK(most < N * V * 4 / 8);
  }

  TEST_CASE("linear_cross_entropy: without a tape no gradient is computed, and one side alone can be wanted") {
    Rng rng(5);
    const Tensor h = randn({6, 3}, rng, DType::f64), t = randint(5, {6}, rng);
    Tensor w = randn({5, 3}, rng, DType::f64).requires_grad_();
    const auto value = linear_cross_entropy(h, w, t).item();
    CHECK(value == doctest::Approx(cross_entropy(linear(h, w), t).item()));
    Tape tape;
    const Tensor loss = linear_cross_entropy(h, w, t);
    CHECK(grad(loss, {w})[0].numel() == 15);
  }

  TEST_CASE("linear_cross_entropy: what does not fit is an error that names it") {
    const Tensor h = zeros({2, 3}), w = zeros({4, 3});
    CHECK_THROWS_WITH_AS(linear_cross_entropy(h, zeros({4, 2}), labels({0, 1})),
                         "[linear_cross_entropy] needs hidden [N,D] and weight [V,D], got f32 [2,3] and f32 [4,2]",
                         Error);
    CHECK_THROWS_WITH_AS(linear_cross_entropy(h, w, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(linear_cross_entropy(h, w, labels({0, 4})), doctest::Contains("label 4 at [1]"), Error);
    CHECK_THROWS_WITH_AS(linear_cross_entropy(h, w, labels({0, 1}), {.chunk = -1}), doctest::Contains("chunk"), Error);
  }
}
