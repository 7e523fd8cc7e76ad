// The kernels of cuda/launch.cuh and cuda/scan.cuh by themselves, at sizes around every edge of a warp and of a block. What
// tests/emulation/mutate.py runs against changed kernels.
#include <doctest/doctest.h>

#include <numeric>

#include "engine/random.h"
#include "ops/launch.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;
Device& gpu() { return Device::cuda(); }

Tensor numbers(Index n, std::uint64_t seed = 1) {
  Rng rng(seed);
  return randn({n}, rng, DType::f64, gpu());
}

struct Twice {
  const double* x;
  double* y;
  HD void operator()(Index i) const { y[i] = 2 * x[i]; }
};
struct Place {
  Index columns;
  double* y;
  HD void operator()(Index r, Index c) const { y[r * columns + c] = double(1000 * r + c); }
};

// Everything a team offers: y[r] = sum, greatest, its place, and a neighbour's element through shared memory.
struct Everything {
  Index n;
  const double* x;
  double *sums, *best, *place, *turned;
  double* facts;  // [2] the sum of the team's ranks, and whether the row was staged
  std::size_t staging;
  std::size_t staging_bytes() const { return staging; }
  template <class Team> HD void operator()(Index r, Team team) const {
    const double* other = team.stage(n, x);  // the first row, then another in its place
    const Index at = n - 1;
    const double edge = team.template sum<double>(1, [=](Index) { return other[at]; });
    const double* row = team.stage(n, x + r * n);
    if (r == 0 && edge == x[at]) {
      const double ranks = team.template sum<double>(team.size(), [=](Index) { return double(team.rank()); });
      if (team.leads()) facts[0] = ranks, facts[1] = row != x;
    }
    const double s = team.template sum<double>(n, [=](Index j) { return row[j]; });
    const double m = team.template max<double>(n, [=](Index j) { return row[j]; });
    const Index k = team.template argmax<double>(n, [=](Index j) { return row[j]; });
    double* to = turned + r * n;
    const Index size = n;
    team.each(n, [=](Index j) { to[j] = row[size - 1 - j]; });
    team.sync();
    // Again after the barrier, from what other threads have written.
    const double again = team.template sum<double>(n, [=](Index j) { return to[size - 1 - j]; });
    if (team.leads()) sums[r] = s + again, best[r] = m, place[r] = double(k);
  }
};

// Joins intervals [first, last]: associative, not commutative, and wrong unless they are neighbours.
struct Interval {
  Index first, last;
};
struct Joined {
  using Value = Interval;
  bool reverse;
  Index* out;
  HD Value load(Index i) const { return {i, i}; }
  HD Value join(Value a, Value b) const {
    const bool neighbours = reverse ? a.last == b.first + 1 : a.last + 1 == b.first;
    return neighbours ? Value{a.first, b.last} : Value{-1000000, -1000000};
  }
  HD void store(Index i, Value v) const { out[i] = v.first * 1000003 + v.last; }
};

struct Is {
  const double* x;
  double wanted;
  HD bool operator()(Index i) const { return x[i] == wanted; }
};

}  // namespace

TEST_SUITE("emulation/launch") {
  TEST_CASE("launch and launch_grid reach every element once and none beyond") {
    for (const Index n : {0, 1, 31, 32, 255, 256, 257, 1000}) {
      const Tensor x = numbers(n);
      Tensor y = full({n + 1}, -7, DType::f64, gpu());
      launch(gpu(), n, Twice{x.data<double>(), y.data_mut<double>()});
      Values expected = x.to_vector();
      for (double& v : expected) v *= 2;
      expected.push_back(-7);
      CHECK(y.to_vector() == expected);
    }
    for (const Index columns : {1, 3, 100}) {
      const Index rows = 7;
      Tensor y = full({rows * columns + 1}, -7, DType::f64, gpu());
      launch_grid(gpu(), rows, columns, Place{columns, y.data_mut<double>()});
      Values expected;
      for (Index r = 0; r < rows; ++r) {
        for (Index c = 0; c < columns; ++c) expected.push_back(double(1000 * r + c));
      }
      expected.push_back(-7);
      CHECK(y.to_vector() == expected);
    }
  }

  TEST_CASE("a team adds, finds the greatest and its place, stages and waits, for rows of every length") {
    for (const Index n : {1, 16, 17, 31, 32, 33, 127, 128, 129, 500, 1023, 2049, 7001}) {  // 7001: more than 48 KiB
      for (const bool staged : {false, true}) {
        const Index rows = 3;
        const Tensor x = numbers(rows * n, std::uint64_t(n));
        Tensor sums = zeros({rows}, DType::f64, gpu()), best = zeros({rows}, DType::f64, gpu()),
               place = zeros({rows}, DType::f64, gpu()), turned = zeros({rows * n}, DType::f64, gpu()),
               facts = zeros({2}, DType::f64, gpu());
        launch_rows(gpu(), rows, n,
                    Everything{n, x.data<double>(), sums.data_mut<double>(), best.data_mut<double>(),
                               place.data_mut<double>(), turned.data_mut<double>(), facts.data_mut<double>(),
                               staged ? std::size_t(n) * sizeof(double) : 0});
        const Values v = x.to_vector(), back = turned.to_vector();
        const int threads = n <= row_for_one_thread ? 1 : cuda::team_for(n);
        CHECK(facts.to_vector() == Values{threads * (threads - 1) / 2.0, double(staged && threads > 1)});
        for (Index r = 0; r < rows; ++r) {
          const auto begin = v.begin() + r * n, end = begin + n;
          const auto greatest = std::max_element(begin, end);
          CHECK(sums.to_vector()[std::size_t(r)] ==
                doctest::Approx(2 * std::accumulate(begin, end, 0.0)).epsilon(1e-12));
          CHECK(best.to_vector()[std::size_t(r)] == *greatest);
          CHECK(place.to_vector()[std::size_t(r)] == double(greatest - begin));
          CHECK(std::equal(begin, end, std::make_reverse_iterator(back.begin() + (r + 1) * n)));
        }
      }
    }
  }

  TEST_CASE("of equals the first is greatest, and NaN is greater than all") {
    Values v(300, 1.0);
    v[40] = v[70] = v[299] = 5;
    const auto place_of = [](const Values& values) {
      const Tensor x = tensor(values, DType::f64, gpu());
      const Index n = x.numel();
      Tensor some = zeros({1}, DType::f64, gpu()), place = zeros({1}, DType::f64, gpu()),
             turned = zeros({n}, DType::f64, gpu()), facts = zeros({2}, DType::f64, gpu());
      launch_rows(gpu(), 1, n,
                  Everything{n, x.data<double>(), some.data_mut<double>(), some.data_mut<double>(),
                             place.data_mut<double>(), turned.data_mut<double>(), facts.data_mut<double>(), 0});
      return place.item();
    };
    CHECK(place_of(v) == 40);
    v[290] = v[200] = std::nan("");
    CHECK(place_of(v) == 200);
    CHECK(place_of(Values(100, -INFINITY)) == 0);
  }

  TEST_CASE("a scan joins neighbours in order, from either end, over threads, blocks and rounds of blocks") {
    for (const Index n : {0, 1, 3, 4, 5, 1023, 1024, 1025, 5000, 300000}) {
      for (const bool reverse : {false, true}) {
        Tensor out = zeros({n + 1}, DType::i64, gpu());
        launch_scan(gpu(), n, Joined{reverse, out.data_mut<Index>()}, reverse ? ScanFrom::end : ScanFrom::begin);
        const Tensor host = out.cpu();
        Index wrong = 0;
        for (Index i = 0; i < n; ++i) wrong += host.data<Index>()[i] != (reverse ? n - 1 : 0) * 1000003 + i;
        CHECK(wrong == 0);
        CHECK(host.data<Index>()[n] == 0);
      }
    }
  }

  TEST_CASE("find_first finds the least, or nothing") {
    for (const Index n : {0, 1, 255, 256, 257, 20000}) {
      Tensor x = zeros({n}, DType::f64, gpu());
      CHECK(find_first(gpu(), n, Is{x.data<double>(), 3}) == -1);
      for (const Index at : {n - 1, n / 2, n / 3}) {
        if (n == 0) continue;
        set_value(x, at, 3);
        CHECK(find_first(gpu(), n, Is{x.data<double>(), 3}) == at);
      }
    }
  }
}
