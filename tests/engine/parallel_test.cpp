#include "engine/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

using namespace gradus;

namespace {

// Runs f with 1, 2 and 3 threads.
template <class F> void with_threads(const F& f) {
  const int before = thread_count();
  for (const int threads : {1, 2, 3}) {
    set_thread_count(threads);
    f();
  }
  set_thread_count(before);
}

}  // namespace

TEST_SUITE("parallel") {
  TEST_CASE("every index is visited exactly once") {
    with_threads([] {
      for (const Index n : {0, 1, 9, 10, 11, 1000}) {
        std::vector<int> visits(std::size_t(n), 0);
        parallel_for(n, 10, [&](Index begin, Index end) {
          for (Index i = begin; i < end; ++i) ++visits[std::size_t(i)];
        });
        CHECK(visits == std::vector<int>(std::size_t(n), 1));
      }
    });
  }

  TEST_CASE("a small loop is one chunk") {
    int chunks = 0;
    parallel_for(100, 100, [&](Index begin, Index end) { chunks += begin == 0 && end == 100; });
    CHECK(chunks == 1);
  }

  TEST_CASE("sums have the same bits with any number of threads") {
    for (const Index n : {0, 1, 4095, 4096, 4097, 100003}) {
      const auto term = [](Index i) { return float(std::sin(double(i))); };
      set_thread_count(1);
      const float serial = block_sum<float>(n, term);
      with_threads([&] { CHECK(block_sum<float>(n, term) == serial); });
    }
    CHECK(block_sum<double>(10001, [](Index i) { return double(i); }) == 10000.0 * 10001 / 2);
  }

  TEST_CASE("an exception travels to the caller, when all the other chunks are done") {
    with_threads([] {
      std::atomic<Index> visited = 0;
      const auto f = [&](Index begin, Index end) {
        visited += end - begin;
        if (end == 1000) throw Error("[f] the last chunk");
      };
      CHECK_THROWS_WITH_AS(parallel_for(1000, 1, f), "[f] the last chunk", Error);
      CHECK(visited.load() == 1000);
    });
  }

  TEST_CASE("loops of several threads do not disturb each other") {
    with_threads([] {
      std::atomic<Index> sum = 0;
      const auto loops = [&] {
        for (int n = 0; n < 50; ++n) {
          parallel_for(100, 1, [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) sum += i;
          });
        }
      };
      std::thread other(loops);
      loops();
      other.join();
      CHECK(sum.load() == 2 * 50 * 4950);
    });
  }

  TEST_CASE("a loop inside a loop runs on the thread it is on") {
    with_threads([] {
      std::vector<Index> sums(8, 0);
      parallel_for(8, 1, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
          parallel_for(1000, 1, [&](Index b, Index e) {
            for (Index k = b; k < e; ++k) sums[std::size_t(i)] += k;
          });
        }
      });
      CHECK(sums == std::vector<Index>(8, 499500));
    });
  }

  TEST_CASE("there is at least one thread") { CHECK_THROWS_AS(set_thread_count(0), Error); }
}
