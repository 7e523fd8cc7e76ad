// Losses at sizes where loops really are shared out: one thread, two and three give the same bits, value and gradients.
// (The samples of `gradus check` are small, and small loops stay on one thread.) ThreadSanitizer runs these, too.
#include <doctest/doctest.h>

#include "engine/parallel.h"
#include "losses/check.h"
#include "ops/math.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor normal(Shape shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng, DType::f64);
}
Tensor labels_of(Index n, Index classes) {
  Rng rng(5);
  return randint(classes, {n}, rng);
}
Tensor rare(Shape shape) { return greater(normal(shape, 3), full({}, 1.5, DType::f64)).to(DType::f64); }
Tensor even(Index n) { return full({n}, 1.0 / double(n), DType::f64); }

void check_bits(const char* loss, const Inputs& inputs, const Options& options = {}) {
  CAPTURE(loss);
  const LossInfo& info = find_loss(loss);
  const LossSample sample{"large", inputs, options};
  const int before = thread_count();
  set_thread_count(1);
  const Evaluated one = evaluate(info, sample, Form::closed, DType::f32);
  for (const int threads : {2, 3}) {
    set_thread_count(threads);
    const Evaluated more = evaluate(info, sample, Form::closed, DType::f32);
    CHECK(one.value == more.value);
    for (const auto& dx : one.gradients) CHECK_MESSAGE(dx.second == more.gradients.at(dx.first), dx.first);
  }
  set_thread_count(before);
}

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("large softmax losses have the same bits with 1, 2 and 3 threads") {
    const Tensor z = normal({600, 120}, 1), y = labels_of(600, 120), t = softmax(normal({600, 120}, 2));
    for (const char* loss : {"cross_entropy", "focal", "gamma_ce", "poly1", "gce", "nll"}) {
      check_bits(loss, {{loss == std::string("nll") ? "log_probs" : "logits", z}, {"target", y}});
    }
    for (const char* loss : {"soft_cross_entropy", "kl_div", "js_div", "tv", "hellinger"}) {
      check_bits(loss, {{"logits", z}, {"target_probs", t}});
    }
    for (const char* loss : {"bce_with_logits", "focal_sigmoid"}) {
      check_bits(loss, {{"logits", z}, {"targets", rare({600, 120})}});
    }
    check_bits("emo", {{"logits", z}, {"emb", normal({120, 40}, 4)}, {"target", y}});
    check_bits("entropy", {{"logits", z}});
  }

  TEST_CASE("large log-sum-exp losses have the same bits with 1, 2 and 3 threads") {
    const Tensor s = normal({60, 2000}, 1);
    check_bits("multilabel_ce", {{"scores", s}, {"labels", rare({60, 2000})}});
    check_bits("multilabel_ce_soft", {{"scores", s}, {"targets", sigmoid(normal({60, 2000}, 2))}});
    check_bits("cosent", {{"scores", normal({70000}, 1)}, {"labels", normal({70000}, 2)}});
    check_bits("angle", {{"u", normal({3000, 16}, 1)}, {"v", normal({3000, 16}, 2)}, {"labels", normal({3000}, 3)}});
    check_bits("nt_xent", {{"z1", normal({150, 20}, 1)}, {"z2", normal({150, 20}, 2)}});
    check_bits("supcon", {{"embeddings", normal({250, 20}, 1)}, {"labels", labels_of(250, 9)}});
    check_bits("circle_batch", {{"embeddings", normal({250, 20}, 1)}, {"labels", labels_of(250, 9)}}, {{"gamma", 8.0}});
    check_bits("crf", {{"emissions", normal({40, 30, 7}, 1)},
                       {"tags", labels_of(1200, 7).reshape({40, 30})},
                       {"transitions", normal({7, 7}, 2)},
                       {"start", normal({7}, 3)},
                       {"end", normal({7}, 4)}});
    check_bits("global_pointer", {{"h", normal({3, 40, 16}, 1)},
                                  {"W", normal({16, 3 * 2 * 8}, 2)},
                                  {"b", normal({48}, 3)},
                                  {"labels", rare({3, 3, 40, 40})}});
  }

  TEST_CASE("large distances and transport have the same bits with 1, 2 and 3 threads") {
    const Tensor a = normal({900, 80}, 1), b = normal({900, 80}, 2), c = normal({900, 80}, 3);
    for (const char* loss : {"mse", "mae", "huber", "log_cosh"}) check_bits(loss, {{"pred", a}, {"target", b}});
    check_bits("triplet", {{"anchor", a}, {"positive", b}, {"negative", c}});
    for (const char* loss : {"triplet_batch_all", "triplet_batch_hard"}) {
      check_bits(loss, {{"embeddings", normal({200, 12}, 1)}, {"labels", labels_of(200, 20)}});
    }
    const Tensor cost = square(normal({220, 200}, 1));
    check_bits("sinkhorn", {{"a", even(220)}, {"b", even(200)}, {"cost", cost}}, {{"iterations", 20}});
  }
}
