// The CRF: all paths counted one by one, the decoder against them, and what its head promises.
#include "losses/logsumexp/crf.h"

#include <doctest/doctest.h>

#include <cmath>

#include "losses/softmax/cross_entropy.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

struct Model {
  Tensor e, A, start, end;  // [1,T,C], [C,C], [C], [C]
};

Model random_model(Index T, Index C, std::uint64_t seed) {
  Rng rng(seed);
  return {randn({1, T, C}, rng, DType::f64), randn({C, C}, rng, DType::f64), randn({C}, rng, DType::f64),
          randn({C}, rng, DType::f64)};
}

double score(const Model& m, const std::vector<Index>& y) {
  const Index C = m.A.size(0);
  double s = value_at(m.start, y.front()) + value_at(m.end, y.back());
  for (std::size_t t = 0; t < y.size(); ++t) {
    s += value_at(m.e, Index(t) * C + y[t]) + (t ? value_at(m.A, y[t - 1] * C + y[t]) : 0);
  }
  return s;
}

// Every tag sequence of length T.
std::vector<std::vector<Index>> all_paths(Index T, Index C) {
  std::vector<std::vector<Index>> paths{{}};
  for (Index t = 0; t < T; ++t) {
    std::vector<std::vector<Index>> longer;
    for (const auto& path : paths) {
      for (Index j = 0; j < C; ++j) longer.push_back(path), longer.back().push_back(j);
    }
    paths = longer;
  }
  return paths;
}

}  // namespace

TEST_SUITE("crf") {
  TEST_CASE("crf: definition, closed form and central differences agree") { check_losses(crf_losses()); }

  TEST_CASE("the loss is log Z - score with Z summed over all 81 paths, and the decoder finds the best of them") {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      const Model m = random_model(4, 3, seed);
      double z = 0, best = -inf;
      std::vector<Index> winner;
      for (const auto& path : all_paths(4, 3)) {
        z += std::exp(score(m, path));
        if (score(m, path) > best) best = score(m, path), winner = path;
      }
      const std::vector<Index> y{2, 0, 1, 1};
      const double loss = crf_nll(m.e, labels(y).reshape({1, 4}), m.A, m.start, m.end).item();
      CHECK(loss == doctest::Approx(std::log(z) - score(m, y)).epsilon(1e-12));
      CHECK(crf_decode(m.e, m.A, m.start, m.end).to_vector() == Values(winner.begin(), winner.end()));
    }
  }

  TEST_CASE("without transitions the CRF is cross entropy of each position") {
    const Model m = random_model(4, 3, 9);
    const Tensor A = zeros({3, 3}, DType::f64), none = zeros({3}, DType::f64), y = labels({2, 0, 1, 1});
    const double crf = crf_nll(m.e, y.reshape({1, 4}), A, none, none).item();
    CHECK(crf == doctest::Approx(cross_entropy(m.e.reshape({4, 3}), y, {.reduction = Reduction::sum}).item()));
  }

  TEST_CASE("a masked position in the middle makes its neighbours neighbours") {
    const Model m = random_model(4, 3, 3);
    const Tensor mask = tensor({1, 0, 1, 1}, {1, 4});
    const Tensor shorter =
        tensor({value_at(m.e, 0), value_at(m.e, 1), value_at(m.e, 2), value_at(m.e, 6), value_at(m.e, 7),
                value_at(m.e, 8), value_at(m.e, 9), value_at(m.e, 10), value_at(m.e, 11)},
               {1, 3, 3}, DType::f64);
    const double masked =
        crf_nll(m.e, labels({0, -1, 2, 1}).reshape({1, 4}), m.A, m.start, m.end, {.mask = mask}).item();
    CHECK(masked == doctest::Approx(crf_nll(shorter, labels({0, 2, 1}).reshape({1, 3}), m.A, m.start, m.end).item()));
    const Values tags = crf_decode(m.e, m.A, m.start, m.end, mask).to_vector();
    const Values wanted = crf_decode(shorter, m.A, m.start, m.end).to_vector();
    CHECK(tags == Values{wanted[0], 0, wanted[1], wanted[2]});
  }

  TEST_CASE("crf: what does not fit is an error that names it") {
    const Model m = random_model(2, 3, 1);
    const Tensor y = labels({0, 1}).reshape({1, 2});
    CHECK_THROWS_WITH_AS(crf_nll(m.e[0], y, m.A, m.start, m.end), doctest::Contains("needs emissions [N,T,C]"), Error);
    CHECK_THROWS_WITH_AS(crf_nll(m.e, y, m.start, m.start, m.end), doctest::Contains("transitions must be [3,3]"),
                         Error);
    CHECK_THROWS_WITH_AS(crf_nll(m.e, labels({0, 1}), m.A, m.start, m.end), doctest::Contains("a tag for each"), Error);
    CHECK_THROWS_WITH_AS(crf_nll(m.e, labels({0, 3}).reshape({1, 2}), m.A, m.start, m.end),
                         doctest::Contains("tag 3 at [0,1] is outside 0..2"), Error);
    CHECK_THROWS_WITH_AS(crf_nll(m.e, y, m.A, m.start, m.end, {.mask = zeros({2})}), doctest::Contains("mask must be"),
                         Error);
    CHECK_THROWS_WITH_AS(crf_nll(m.e.to(DType::f32), y, m.A, m.start, m.end), doctest::Contains("types differ"), Error);
  }
}
