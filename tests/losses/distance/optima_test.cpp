// What the losses of this folder are best at: their optima on small data, found by descent and known otherwise.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/backward.h"
#include "losses/distance/brier.h"
#include "losses/distance/contrastive.h"
#include "losses/distance/cosine.h"
#include "losses/distance/reconstruction.h"
#include "losses/distance/regression.h"
#include "losses/distance/triplet_mining.h"
#include "losses/softmax/cross_entropy.h"
#include "ops/broadcast.h"
#include "ops/distance.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

Tensor data() { return vec({-1, 0, 0.5, 2, 14}); }  // mean 3.1, median 0.5

// The constant c that is best for data() under loss(c repeated, data).
double best_constant(const std::function<Tensor(const Tensor&, const Tensor&)>& loss) {
  return minimise([&](const Tensor& c) { return loss(broadcast_to(c, {5}), data()); }, vec({5}), 500, 0.5)[0];
}

}  // namespace

TEST_SUITE("distance optima") {
  TEST_CASE("A018 A019 the best constant is the mean under mse, the median under mae") {
    CHECK(best_constant([](const Tensor& c, const Tensor& y) { return mse(c, y); }) == doctest::Approx(3.1));
    CHECK(best_constant([](const Tensor& c, const Tensor& y) { return mae(c, y); }) == doctest::Approx(0.5));
  }

  TEST_CASE("under huber the best constant goes from the median to the mean as delta grows") {
    double before = 0.499;
    for (const double delta : {0.01, 0.3, 1.0, 3.0, 8.0, 20.0}) {
      const double c = best_constant([=](const Tensor& x, const Tensor& y) { return huber(x, y, {.delta = delta}); });
      CHECK(c >= before - 1e-6);
      before = c;
    }
    CHECK(before == doctest::Approx(3.1));
    // delta = 1: the points -1 and 14 pull with 1 and cancel, so do the slopes of 0, 0.5 and 2 (cut off at 1).
    const double c = best_constant([](const Tensor& x, const Tensor& y) { return huber(x, y); });
    CHECK(c == doctest::Approx(0.75));  // c + (c - 0.5) - 1 = 0
  }

  TEST_CASE("with an even number of data every point between the middle two is a median") {
    const Tensor y = vec({0, 1, 3, 9});
    const double at_1 = mae(full({4}, 1, DType::f64), y).item();
    for (const double c : {1.5, 2.0, 3.0}) { CHECK(mae(full({4}, c, DType::f64), y).item() == doctest::Approx(at_1)); }
    CHECK(mae(full({4}, 0.9, DType::f64), y).item() > at_1);
    CHECK(mae(full({4}, 3.1, DType::f64), y).item() > at_1);
  }

  TEST_CASE("the best constant prediction costs the variance under mse and the entropy under cross entropy") {
    const double variance = var(data(), 0, 0).item();
    CHECK(mse(full({5}, 3.1, DType::f64), data()).item() == doctest::Approx(variance));
    const Tensor t = labels({0, 0, 0, 0, 0, 1, 1, 1, 2, 2});
    const auto ce = [&](const Tensor& z) { return cross_entropy(broadcast_to(z, {10, 3}), t); };
    const Values z = minimise(ce, zeros({1, 3}), 1000, 1);
    CHECK(ce(matrix(z, 1)).item() == doctest::Approx(1.029653).epsilon(1e-6));
    // The Brier score of the frequencies pi is 1 - sum pi^2.
    const auto score = [&](const Tensor& x) { return brier(broadcast_to(x, {10, 3}), t); };
    CHECK(score(matrix(minimise(score, zeros({1, 3}), 2000, 1), 1)).item() == doctest::Approx(1 - 0.38));
  }

  TEST_CASE("A140 a linear auto-encoder of one unit finds the first principal axis") {
    // Rows t (0.6, 0.8) + s (-0.8, 0.6): variance 5 along the first, 0.5 along the second direction.
    const Tensor x = matrix({0.6 * 3, 0.8 * 3, -0.6 * 3, -0.8 * 3, 0.6, 0.8, -0.6, -0.8, -0.8, 0.6, 0.8, -0.6}, 6);
    const auto f = [&](const Tensor& w) {  // [2,1], tied: x w w^T
      return reconstruction(matmul(matmul(x, w), w, {.transpose_b = true}), x);
    };
    const Values w = minimise(f, matrix({0.5, 0.1}, 2), 3000, 0.01);
    CHECK(std::abs(w[0]) == doctest::Approx(0.6).epsilon(1e-5));
    CHECK(std::abs(w[1]) == doctest::Approx(0.8).epsilon(1e-5));
    CHECK(f(matrix(w, 2)).item() == doctest::Approx(2.0 / 6));  // what lies along the second axis
  }

  TEST_CASE("contrastive leaves dissimilar points at the margin and similar ones together") {
    const Tensor fixed = zeros({2, 2}, DType::f64), y = vec({0, 1});
    const auto f = [&](const Tensor& x) { return contrastive(x, fixed, y, {.margin = 1.5}); };
    const Tensor x = matrix(minimise(f, matrix({0.1, 0.2, 2, 1}, 2), 2000, 0.5), 2);
    const Values d = euclidean_distance(x, fixed).to_vector();
    CHECK(d[0] == doctest::Approx(1.5).epsilon(1e-5));
    CHECK(d[1] < 1e-5);
  }

  TEST_CASE("cosine_embedding turns vectors until they agree or leave the margin") {
    const Tensor fixed = matrix({1, 0, 1, 0}, 2), y = labels({1, -1});
    const auto f = [&](const Tensor& x) { return cosine_embedding(x, fixed, y, {.margin = 0.2}); };
    const Tensor x = matrix(minimise(f, matrix({1, 2, 3, 1}, 2), 2000, 1), 2);
    const Values c = cosine_similarity(x, fixed, {}).to_vector();
    CHECK(c[0] == doctest::Approx(1).epsilon(1e-5));
    CHECK(c[1] < 0.2 + 1e-5);
  }

  TEST_CASE("A053 A054 mined triplets part two classes that start mixed, until no triplet is active") {
    const Tensor start = between(-1, 1, {8, 2}, 4), y = labels({0, 1, 0, 1, 0, 1, 0, 1});
    const auto all = [&](const Tensor& e) { return triplet_batch_all(e, y, {.over = TripletMean::valid}); };
    CHECK(all(start).item() > 0.5);
    const Tensor e = matrix(minimise(all, start, 400, 0.5), 8);
    CHECK(all(e).item() < 1e-6);
    CHECK(triplet_batch_hard(e, y).item() < 1e-5);
    CHECK(triplet_semi_hard(e, y).item() < 1e-5);
  }
}
