// GlobalPointer: scores, loss, and the claims of the sources about them.
#include "losses/logsumexp/global_pointer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "engine/buffer.h"
#include "losses/logsumexp/span.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/rope.h"
#include "ops/shape_ops.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor normal(Shape shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng, DType::f64);
}

}  // namespace

TEST_SUITE("global_pointer") {
  TEST_CASE("definition, closed form and central differences agree for rope and its score") {
    check_losses(pointer_scores_losses());
  }
  TEST_CASE("definition, closed form and central differences agree for GlobalPointer and its efficient form") {
    check_losses(global_pointer_losses());
  }

  TEST_CASE("B083 C54 D20 the rope score depends on the distance only, given the content, and norms are kept") {
    const Tensor q = normal({64}, 1), k = normal({64}, 2);
    const double near = rope_score(q, k, 3, 7).item();
    for (const Index shift : {10, 100, 1000}) {
      CHECK(rope_score(q, k, 3 + shift, 7 + shift).item() == doctest::Approx(near).epsilon(1e-10));
    }
    CHECK(std::abs(rope_score(q, k, 7, 3).item() - near) > 0.1);      // the order counts
    CHECK(std::abs(rope_score(2 * q, k, 3, 7).item() - near) > 0.1);  // and so does the content
    CHECK(rope_score(q, q, 9, 9).item() == doctest::Approx(sum(q * q).item()));
    // R_i^T R_j = R_{j-i} on a single pair: the product with the unit vectors is the rotation matrix.
    for (int i = 0; i < 10; ++i) {
      for (int j = 0; j < 10; ++j) {
        const Tensor e0 = vec({1, 0}), e1 = vec({0, 1});
        CHECK(std::abs(rope_score(e0, e0, i, j).item() - std::cos(j - i)) < 1e-14);
        CHECK(std::abs(rope_score(e1, e0, i, j).item() - std::sin(j - i)) < 1e-14);
      }
    }
  }

  TEST_CASE("B084 B085 D21 numbers to learn: 98304 a type against 256, and the efficient form is larger for one type") {
    CHECK(global_pointer_parameters(768, 64, 1) == 98304);
    CHECK(efficient_pointer_parameters(768, 64, 2) - efficient_pointer_parameters(768, 64, 1) == 256);
    CHECK(efficient_pointer_parameters(768, 64, 1) == 98560);  // more than 98304: the claim needs two types
    CHECK(efficient_pointer_parameters(768, 64, 2) == 98816);
    CHECK(efficient_pointer_parameters(768, 64, 10) == 100864);
    CHECK(global_pointer_parameters(768, 64, 10) == 983040);
  }

  TEST_CASE("B086 modulation has 2 D d + d H numbers to learn") {
    CHECK(modulated_pointer_parameters(768, 64, 10) == 98944);
  }

  TEST_CASE("B087 C57 a low-rank factorisation per type has more numbers, not fewer, a shared one saves") {
    for (const Index r : {1, 2, 4, 8}) {
      const Index plain = efficient_pointer_parameters(0, 64, 1);  // w_a itself
      CHECK(low_rank_pointer_parameters(64, 1, r) == Values{257, 514, 0, 1028, 0, 0, 0, 2056}[std::size_t(r - 1)]);
      CHECK(low_rank_pointer_parameters(64, 1, r) > plain);  // the source's w_a = U_a V_a
    }
    CHECK(low_rank_pointer_parameters(64, 100, 8) == 2848);
    const Index plain = efficient_pointer_parameters(0, 64, 100);
    CHECK(plain == 25600);
    CHECK(low_rank_pointer_parameters(64, 100, 71) < plain);
    CHECK(low_rank_pointer_parameters(64, 100, 72) > plain);  // break-even at r = 71.9
  }

  TEST_CASE("B088 C60 D21 types of the efficient form differ by a word for the beginning and a word for the end") {
    const Index T = 6, H = 3;
    const Tensor h = normal({1, T, 5}, 1), Wq = normal({5, 4}, 2), Wk = normal({5, 4}, 3), w = normal({H, 16}, 4);
    const Tensor s = efficient_global_pointer_scores(h, Wq, Wk, w, {.rope = false, .scale = false});
    // The fast form against the formula with the vector [q_i; k_i; q_j; k_j].
    const Tensor q = matmul(h[0], Wq), k = matmul(h[0], Wk);
    for (Index i = 0; i < T; ++i) {
      for (Index j = 0; j < T; ++j) {
        const Tensor long_vector = cat({q[i], k[i], q[j], k[j]}, 0);
        for (Index a = 0; a < H; ++a) {
          const double wanted = sum(q[i] * k[j]).item() + sum(w[a] * long_vector).item();
          CHECK(std::abs(s.at({0, a, i, j}) - wanted) < 1e-12);
        }
      }
    }
    const auto gap = [&](Index i, Index j) { return s.at({0, 0, i, j}) - s.at({0, 1, i, j}); };
    for (Index i = 1; i < T; ++i) {
      for (Index j = 1; j < T; ++j) CHECK(std::abs(gap(i, j) - gap(i, 0) - gap(0, j) + gap(0, 0)) < 1e-10);
    }
    // The scores themselves are no such sum.
    CHECK(std::abs(s.at({0, 0, 1, 1}) - s.at({0, 0, 1, 0}) - s.at({0, 0, 0, 1}) + s.at({0, 0, 0, 0})) > 0.01);
  }

  TEST_CASE("C58 D21 modulating query and key loses the sign of m, and stops learning at m = 0") {
    const Tensor q = normal({5, 4}, 1), k = normal({5, 4}, 2), m = vec({0.5, -1.5, 2, -0.3});
    const auto both = [&](const Tensor& v) { return matmul(q * v, k * v, {.transpose_b = true}); };
    const auto one = [&](const Tensor& v) { return matmul(q * v, k, {.transpose_b = true}); };
    check_near(both(m).to_vector(), both(abs(m)).to_vector(), 1e-12);  // the source's form cannot tell m from |m|
    CHECK(std::abs(one(m).at({0, 1}) - one(abs(m)).at({0, 1})) > 0.1);
    const Tensor zero = zeros({4}, DType::f64), upstream = normal({5, 5}, 3);
    CHECK(slopes(zero, [&](const Tensor& v) { return sum(upstream * both(v)); }) == Values(4, 0.0));
    for (const double g : slopes(zero, [&](const Tensor& v) { return sum(upstream * one(v)); }))
      CHECK(std::abs(g) > 1e-3);
  }

  TEST_CASE("B092 C53 the map of scores takes 4 T^2 bytes a type: 64 KiB at T = 128, where the source says 4 MB") {
    const Index T = 128, d = 64;
    const Tensor q = normal({1, 1, T, d}, 1).to(DType::f32), k = normal({1, 1, T, d}, 2).to(DType::f32);
    const auto before = memory_use().live_bytes;
    const Tensor s = pointer_scores(q, k);
    const auto bytes = memory_use().live_bytes - before;
    CHECK(bytes == T * T * 4);
    CHECK(bytes * d == 4 << 20);  // the source's figure has a factor d that never exists
  }

  TEST_CASE("the closed form keeps no map: its memory does not grow with the number of types") {
    if (!default_device().is_cpu()) return;  // a block of 64 MiB holds all of these maps
    const auto peak_of = [](Index H) {
      const Index T = 96, d = 8;
      Rng rng(1);
      const Tensor q = randn({1, H, T, d}, rng).requires_grad_(), k = randn({1, H, T, d}, rng).requires_grad_();
      const Tensor y = zeros({1, H, T, T}, DType::u8);
      reset_peak_memory();
      const auto before = memory_use().live_bytes;
      Tape tape;
      backward(pointer_loss(q, k, {}, {}, y));
      return double(memory_use().peak_bytes - before) / double(H);
    };
    CHECK(peak_of(64) < 96 * 96 * 4);  // bytes a type: less than one f32 map, with q, k and gradients
  }

  TEST_CASE(
      "B093 C55 a window of w keeps n (w + 1) - w (w + 1) / 2 cells, and a gold span beyond it is an error, not inf") {
    // Scores of 0 and no span: the loss is log(1 + cells).
    const Tensor zero = zeros({1, 1, 1024, 2}, DType::f64), none = zeros({1, 1, 1024, 1024}, DType::u8);
    CHECK(pointer_loss(zero, zero, {}, {}, none, {}, {.window = 128}).item() == doctest::Approx(std::log1p(123840.0)));
    CHECK(pointer_loss(zero, zero, {}, {}, none).item() == doctest::Approx(std::log1p(1024.0 * 1025 / 2)));
    const Tensor q = normal({1, 1, 4, 2}, 1), k = normal({1, 1, 4, 2}, 2);
    Tensor far = zeros({1, 1, 4, 4}), near = zeros({1, 1, 4, 4});
    set_value(far, 3, 1);   // (0,3)
    set_value(near, 1, 1);  // (0,1)
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK_THROWS_WITH_AS(pointer_loss(q, k, {}, {}, far, {}, {.window = 1, .form = form}),
                           doctest::Contains("the span at [0,0,0,3] is longer than the window of 1"), Error);
      CHECK(std::isfinite(pointer_loss(q, k, {}, {}, near, {}, {.window = 1, .form = form}).item()));
      // Cells outside the window count nothing: their tokens' scores may be anything.
      const double windowed = pointer_loss(q, k, {}, {}, near, {}, {.window = 1, .form = form}).item();
      CHECK(windowed < pointer_loss(q, k, {}, {}, near, {}, {.form = form}).item());
    }
    CHECK(std::isnan(0.0 * -inf));  // the source's mask by multiplication
  }

  TEST_CASE("D20 cells below the diagonal, of padding and outside the window have no loss and no gradient, exactly") {
    const Index T = 5;
    const Tensor k = normal({1, 1, T, 2}, 2), mask = tensor({1, 1, 1, 1, 0}, {1, T});
    Tensor y = zeros({1, 1, T, T});
    set_value(y, 1, 1);
    for (const Form form : {Form::closed, Form::definition}) {
      // Token 4 is padding: whatever its query and key, nothing changes and nothing flows back.
      Tensor q = normal({1, 1, T, 2}, 1);
      const auto loss = [&](const Tensor& x) {
        return pointer_loss(x, k, {}, {}, y, mask, {.window = 2, .form = form});
      };
      const double before = loss(q).item();
      const Values g = slopes(q, loss);
      CHECK(g[8] == 0);
      CHECK(g[9] == 0);
      set_value(q, 8, 1e3);
      CHECK(loss(q).item() == doctest::Approx(before).epsilon(1e-14));
    }
    // n = 16, perfect above the diagonal, 0 below: 2.8e-7 masked, log 121 = 4.796 where all cells count.
    const Index n = 16;
    Tensor s = zeros({1, 1, n, n}, DType::f64);
    for (Index i = 0; i < n; ++i) {
      for (Index j = i; j < n; ++j) set_value(s, i * n + j, -20);
    }
    const Tensor none = zeros({1, 1, n, n});
    CHECK(span_multilabel_ce(s, none).item() == doctest::Approx(2.8e-7).epsilon(0.01));
    CHECK(span_multilabel_ce(s, none, {.triangle = false}).item() == doctest::Approx(std::log(121.0)).epsilon(1e-6));
  }

  TEST_CASE("global_pointer: what does not fit is an error that names it") {
    const Tensor h = zeros({2, 3, 4}), W = zeros({4, 12}), b = zeros({12}), y = zeros({2, 2, 3, 3});
    CHECK_THROWS_WITH_AS(global_pointer(h[0], W, b, y), doctest::Contains("hidden states [N,T,D]"), Error);
    CHECK_THROWS_WITH_AS(global_pointer(h, zeros({4, 10}), b, zeros({2, 3, 3, 3})), doctest::Contains("[D,2 H d]"),
                         Error);
    CHECK_THROWS_WITH_AS(global_pointer(h, W, zeros({3}), y), doctest::Contains("b must be [2 H d]"), Error);
    CHECK_THROWS_WITH_AS(global_pointer(h, W, b, y[0]), doctest::Contains("labels must be [N,H,T,T]"), Error);
    CHECK_THROWS_WITH_AS(global_pointer(h, zeros({4, 12}), b, y, zeros({2, 4}), {.rope = false}),
                         doctest::Contains("mask must be [N,T]"), Error);
    CHECK_THROWS_WITH_AS(global_pointer(h, W, b, y), doctest::Contains("must be even"), Error);
    CHECK_THROWS_WITH_AS(efficient_global_pointer(h, zeros({4, 2}), zeros({4, 2}), zeros({3, 6}), y),
                         doctest::Contains("w must be [H,4d] with d = 2"), Error);
    CHECK_THROWS_WITH_AS(rope_score(vec({1, 2, 3}), vec({1, 2, 3}), 0, 1), doctest::Contains("one even length"), Error);
  }
}
