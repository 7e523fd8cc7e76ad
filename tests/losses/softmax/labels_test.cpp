// Labels of rows: what the mean divides by, the tables of definitions, and where they must lie.
#include "losses/softmax/labels.h"

#include <doctest/doctest.h>

#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/ldam.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("labels") {
  TEST_CASE("a mean over labelled rows divides by the weights of those that count, over many blocks of rows too") {
    Rng rng(1);
    for (const Index N : {1, 31, 8192, 20001}) {
      const Tensor t = randint(4, {N}, rng), w = vec({.5, 0, 2, 3.25}), losses = ones({N}, DType::f64);
      double all = 0, weighed = 0;
      for (const double label : t.to_vector()) {
        if (label == 2) continue;
        all += 1;
        weighed += label == 0 ? .5 : label == 3 ? 3.25 : 0;
      }
      const auto mean = [&](const Tensor& weight) {
        return reduce_labelled(losses, Reduction::mean, t, 2, weight).item();
      };
      check_near(mean({}), all > 0 ? double(N) / all : 0, 1e-12);
      check_near(mean(w), weighed > 0 ? double(N) / weighed : 0, 1e-12);
      check_near(reduce_labelled(losses, Reduction::sum, t, 2).item(), double(N), 0);
    }
    CHECK(reduce_labelled(ones({2}), Reduction::mean, labels({7, 7}), 7).item() == 0);
    CHECK(reduce_labelled(ones({0}), Reduction::mean, labels({}), 7).item() == 0);
  }

  TEST_CASE("tables of labels: i32 and i64, ignored rows are 0, ignore_index may be a class") {
    const Tensor w = vec({3, 4, 5});
    for (const DType type : {DType::i32, DType::i64}) {
      const Tensor t = labels({2, -100, 0}).to(type);
      CHECK(label_weights(t, w, -100, DType::f64).to_vector() == Values{5, 0, 3});
      CHECK(label_rows(t, 3, w, -100, DType::f64).to_vector() == Values{0, 0, 5, 0, 0, 0, 3, 0, 0});
      const KeptLabels kept("labels", t, -100);
      CHECK(kept.labels.to_vector() == Values{2, 0, 0});
      CHECK(kept.ignored.to_vector() == Values{0, 1, 0});
    }
    CHECK(label_rows(labels({1, 2}), 3, {}, 2, DType::f32).to_vector() == Values{0, 1, 0, 0, 0, 0});
  }

  TEST_CASE("labels and counts on another device than the logits are an error that says so") {
    if (!cuda_available()) return;
    Device &here = Device::cpu(), &there = Device::cuda();
    const Tensor z = zeros({2, 3}, DType::f32, there), t = labels({0, 1}, here), n = labels({1, 2, 3}, here);
    CHECK_THROWS_WITH_AS(cross_entropy(z, t), doctest::Contains("devices differ"), Error);
    CHECK_THROWS_WITH_AS(ldam(z, t, n.to(there)), doctest::Contains("devices differ"), Error);
    CHECK_THROWS_WITH_AS(ldam(z, t.to(there), n), doctest::Contains("devices differ"), Error);
    CHECK(cross_entropy(z, t.to(there)).item() == doctest::Approx(1.0986123));
    CHECK_THROWS_WITH_AS(cross_entropy(z, labels({0, 3}, there)), doctest::Contains("label 3 at [1]"), Error);
  }
}
