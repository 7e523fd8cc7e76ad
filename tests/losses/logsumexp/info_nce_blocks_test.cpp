// InfoNCE by blocks of rows: the same losses and gradients as from the whole matrix, in whatever blocks.
#include <doctest/doctest.h>

#include "engine/backward.h"
#include "losses/logsumexp/info_nce.h"
#include "losses/logsumexp/info_nce_rows.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

struct Blocks {
  Values loss, dq, dk;
};
Blocks blocks(const Tensor& q, const Tensor& k, const Tensor& ids, Positives positives, Index rows) {
  Tensor a = q.clone().requires_grad_(), b = k.clone().requires_grad_();
  const Tensor upstream = between(.5, 2, {q.size(0)}, 9).to(q.dtype());
  Tape tape;
  const Tensor L = info_nce_products(a, b, ids, positives, .3, Form::closed, rows);
  backward(sum(L * upstream));
  return {L.to_vector(), a.grad().to_vector(), b.grad().to_vector()};
}

}  // namespace

TEST_SUITE("info_nce") {
  TEST_CASE("blocks of 1, 2, 3, 7 and more rows give the losses and gradients of the whole matrix") {
    const Tensor q = distinct({7, 3}), k = distinct({7, 3}, 2), ids = labels({4, 1, 4, 0, 1, 4, 9});
    for (const Positives positives : {Positives::diagonal, Positives::same_id}) {
      const Blocks whole = blocks(q, k, ids, positives, 0);
      for (const Index rows : {1, 2, 3, 7, 20}) {
        const Blocks some = blocks(q, k, ids, positives, rows);
        check_near(some.loss, whole.loss, 1e-13);
        check_near(some.dq, whole.dq, 1e-13);
        check_near(some.dk, whole.dk, 1e-13);
      }
    }
  }

  TEST_CASE("blocks: rows that are queries and keys at once receive both gradients") {
    const Tensor z = distinct({5, 3}), ids = labels({0, 1, 0, 1, 0});
    const auto f = [&](Index rows) {
      return slopes(z, [&](const Tensor& x) {
        return sum(info_nce_products(x, x, ids, Positives::same_id, .5, Form::closed, rows));
      });
    };
    check_near(f(2), f(0), 1e-13);
  }

  TEST_CASE("blocks: no rows") {
    const Tensor none = zeros({0, 3}, DType::f64);
    CHECK(info_nce_products(none, none, {}, Positives::diagonal, .5, Form::closed, 2).numel() == 0);
  }

  TEST_CASE("4097 queries are streamed: the peak of memory is far below one matrix") {
    const Index N = 4097, D = 2;
    Tensor q = between(-1, 1, {N, D}).to(DType::f32).requires_grad_(), k = between(-1, 1, {N, D}, 2).to(DType::f32);
    CHECK(info_nce_streams(N));
    CHECK(!info_nce_streams(4096));
    Device& device = q.device();
    const auto live = device.memory.use().live_bytes;
    device.memory.reset_peak();
    Tape tape;
    const Tensor L = info_nce(q, k, {.temperature = 1});
    backward(L);
    CHECK(device.memory.use().peak_bytes - live < N * N * 4 + 4 * N * 64);  // the matrix and its gradient: twice that
    CHECK(L.item() > std::log(double(N)) - 2);
    CHECK(std::isfinite(value_at(q.grad(), 5)));
  }
}
