#include "engine/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/parallel.h"

using namespace gradus;

namespace {

struct Moments {
  double mean = 0, variance = 0;
  explicit Moments(const std::vector<double>& x) {
    for (const double v : x) mean += v / double(x.size());
    for (const double v : x) variance += (v - mean) * (v - mean) / double(x.size());
  }
};

}  // namespace

TEST_SUITE("random") {
  TEST_CASE("Philox 4x32-10 gives the numbers of Random123") {
    // The first is a test vector of Random123. Its others use all 128 bits of the counter, ours has 64: the second and the
    // third come from a separate implementation that reproduces all the vectors.
    CHECK(philox(0, 0) == Philox{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(philox(~0ull, ~0ull) == Philox{0x4d18d7d2, 0x430ac65a, 0xbd2fa22a, 0x0afae10d});
    CHECK(philox(0xdeadbeef00c0ffee, 0x123456789abcdef0) == Philox{0x903d7113, 0xf7160c1a, 0xac538287, 0xc063d358});
  }

  TEST_CASE("uniform numbers lie in 0..1, evenly, normal ones have mean 0 and variance 1") {
    Rng rng(1);
    const std::vector<double> u = rand({20000}, rng, DType::f64).to_vector(),
                              z = randn({20000}, rng, DType::f64).to_vector();
    CHECK(*std::min_element(u.begin(), u.end()) >= 0);
    CHECK(*std::max_element(u.begin(), u.end()) < 1);
    CHECK(Moments(u).mean == doctest::Approx(0.5).epsilon(0.02));
    CHECK(Moments(u).variance == doctest::Approx(1.0 / 12).epsilon(0.02));
    CHECK(std::abs(Moments(z).mean) < 0.02);
    CHECK(Moments(z).variance == doctest::Approx(1).epsilon(0.03));
    double fourth = 0;
    for (const double v : z) fourth += v * v * v * v / double(z.size());
    CHECK(fourth == doctest::Approx(3).epsilon(0.1));
  }

  TEST_CASE("the same seed gives the same numbers, another seed or a split gives others") {
    Rng a(7), b(7), c(8);
    const auto numbers = randn({50}, a).to_vector();
    CHECK(randn({50}, b).to_vector() == numbers);
    CHECK(randn({50}, c).to_vector() != numbers);
    CHECK(randn({50}, a).to_vector() != numbers);
    std::set<double> first_numbers;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Rng parent(seed);
      for (int child = 0; child < 5; ++child) first_numbers.insert(parent.split().uniform());
      first_numbers.insert(Rng(seed).uniform());
    }
    CHECK(first_numbers.size() == 120);
  }

  TEST_CASE("seed and position are the whole state") {
    Rng rng(3);
    rng.uniform();
    rng.normal();
    rng.index(10);
    Rng resumed(rng.seed());
    resumed.seek(rng.position());
    CHECK(resumed.normal() == rng.normal());
    CHECK(resumed.uniform() == rng.uniform());
    CHECK(resumed.permutation(9) == rng.permutation(9));
    CHECK(resumed.position() == rng.position());
  }

  TEST_CASE("a tensor of random numbers is what one at a time would give") {
    Rng all(5), one(5);
    for (const double v : rand({7}, all, DType::f64).to_vector()) CHECK(v == one.uniform());
    for (const double v : randn({7}, all, DType::f64).to_vector()) CHECK(v == one.normal());
    CHECK(all.position() == one.position());
  }

  TEST_CASE("the bits do not depend on the number of threads") {
    const int threads = thread_count();
    Rng one(11), three(11);
    set_thread_count(1);
    const auto serial = randn({5000}, one).to_vector();
    set_thread_count(3);
    CHECK(randn({5000}, three).to_vector() == serial);
    set_thread_count(threads);
  }

  TEST_CASE("permutations contain every number once and are all equally likely") {
    Rng rng(2);
    auto order = rng.permutation(100);
    CHECK(!std::is_sorted(order.begin(), order.end()));
    std::sort(order.begin(), order.end());
    for (Index i = 0; i < 100; ++i) CHECK(order[std::size_t(i)] == i);
    int counts[6] = {};
    for (int n = 0; n < 6000; ++n) {
      const auto p = rng.permutation(3);
      ++counts[p[0] * 2 + (p[1] > p[2])];
    }
    for (const int count : counts) CHECK(std::abs(count - 1000) < 150);
    CHECK(rng.permutation(0).empty());
  }

  TEST_CASE("integers lie below their bound") {
    Rng rng(2);
    const auto x = randint(5, {1000}, rng).to_vector();
    CHECK(std::set<double>(x.begin(), x.end()) == std::set<double>{0, 1, 2, 3, 4});
    CHECK_THROWS_AS(randint(0, {1}, rng), Error);
    CHECK_THROWS_AS(rng.index(0), Error);
  }
}
