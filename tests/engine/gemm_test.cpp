// The blocked matrix product against three loops.
#include "engine/gemm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/parallel.h"
#include "engine/random.h"

using namespace gradus;

namespace {

template <class T> std::vector<T> random_matrix(Index n, Rng& rng) {
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& v : x) v = T(rng.normal());
  return x;
}

template <class T> void naive_gemm(const Gemm& g, const T* a, const T* b, T* c) {
  for (Index item = 0; item < g.batch; ++item, a += g.stride_a, b += g.stride_b, c += g.stride_c) {
    for (Index i = 0; i < g.m; ++i) {
      for (Index j = 0; j < g.n; ++j) {
        double sum = g.accumulate ? double(c[i * g.n + j]) : 0;
        for (Index k = 0; k < g.k; ++k) {
          sum += double(g.transpose_a ? a[k * g.m + i] : a[i * g.k + k]) *
                 double(g.transpose_b ? b[j * g.k + k] : b[k * g.n + j]);
        }
        c[i * g.n + j] = T(sum);
      }
    }
  }
}

// The largest difference, over what rounding may be expected to do.
template <class T> double error(const Gemm& g) {
  Rng rng(std::uint64_t(g.m * 10007 + g.n * 101 + g.k));
  const auto items = [&](Index stride, Index size) { return g.batch > 1 && stride == 0 ? size : g.batch * size; };
  const auto a = random_matrix<T>(items(g.stride_a, g.m * g.k), rng),
             b = random_matrix<T>(items(g.stride_b, g.k * g.n), rng);
  auto c = random_matrix<T>(g.batch * g.m * g.n, rng);
  auto expected = c;
  Device::cpu().gemm(dtype_of<T>, g, a.data(), b.data(), c.data());
  naive_gemm(g, a.data(), b.data(), expected.data());
  double worst = 0;
  for (std::size_t i = 0; i < c.size(); ++i) {
    const double difference = std::abs(double(c[i]) - double(expected[i]));
    if (!(difference <= worst)) worst = difference;  // NaN too
  }
  return worst / (double(std::numeric_limits<T>::epsilon()) * double(g.k + 1));
}

template <class T> std::vector<T> product(const Gemm& g) {
  Rng rng(1);
  const auto a = random_matrix<T>(g.m * g.k, rng), b = random_matrix<T>(g.k * g.n, rng);
  std::vector<T> c(std::size_t(g.m * g.n));
  cpu_gemm(g, a.data(), b.data(), c.data());
  return c;
}

}  // namespace

TEST_SUITE("gemm") {
  TEST_CASE_TEMPLATE("products of every size and orientation are right", T, float, double) {
    struct Size {
      Index m, n, k;
    };
    const Size sizes[] = {{1, 1, 1},   {1, 7, 3},    {5, 1, 2},     {2, 3, 0},     {12, 32, 8},   {13, 33, 17},
                          {31, 65, 9}, {3, 64, 385}, {12, 16, 384}, {241, 5, 400}, {64, 100, 70}, {25, 40, 1}};
    for (const Size& size : sizes) {
      for (const bool transpose_a : {false, true}) {
        for (const bool transpose_b : {false, true}) {
          for (const bool accumulate : {false, true}) {
            const Gemm g{.transpose_a = transpose_a,
                         .transpose_b = transpose_b,
                         .accumulate = accumulate,
                         .m = size.m,
                         .n = size.n,
                         .k = size.k};
            CAPTURE(size.m);
            CAPTURE(size.n);
            CAPTURE(size.k);
            CAPTURE(transpose_a);
            CAPTURE(transpose_b);
            CAPTURE(accumulate);
            CHECK(error<T>(g) < 5);
          }
        }
      }
    }
  }

  TEST_CASE_TEMPLATE("wide products are cut into column blocks", T, float, double) {
    CHECK(error<T>({.m = 3, .n = 3100, .k = 5}) < 5);
    CHECK(error<T>({.transpose_b = true, .m = 2, .n = 6145, .k = 3}) < 5);
  }

  TEST_CASE_TEMPLATE("a batch is so many products, with operands of its own or shared ones", T, float, double) {
    const Gemm own{.m = 5, .n = 7, .k = 3, .batch = 4, .stride_a = 15, .stride_b = 21, .stride_c = 35};
    CHECK(error<T>(own) < 5);
    Gemm shared = own;
    shared.stride_b = 0;
    shared.accumulate = true;
    CHECK(error<T>(shared) < 5);
    shared.transpose_a = true;
    CHECK(error<T>(shared) < 5);
  }

  TEST_CASE("an empty sum is zero, or leaves C when it accumulates") {
    std::vector<float> c{1, 2, 3, 4};
    Gemm g{.accumulate = true, .m = 2, .n = 2, .k = 0};
    cpu_gemm<float>(g, nullptr, nullptr, c.data());
    CHECK(c == std::vector<float>{1, 2, 3, 4});
    g.accumulate = false;
    cpu_gemm<float>(g, nullptr, nullptr, c.data());
    CHECK(c == std::vector<float>{0, 0, 0, 0});
    cpu_gemm<float>({.m = 0, .n = 2, .k = 2}, nullptr, nullptr, nullptr);
  }

  TEST_CASE("NaN and infinity in the operands reach the result") {
    const std::vector<double> a{NAN, 0, 1, INFINITY}, b{1, 0, 0, 1};
    std::vector<double> c(4);
    cpu_gemm({.m = 2, .n = 2, .k = 2}, a.data(), b.data(), c.data());
    CHECK(std::isnan(c[0]));
    CHECK(std::isinf(c[3]));
  }

  TEST_CASE("the bits do not depend on the number of threads") {
    const int threads = thread_count();
    const Gemm g{.m = 151, .n = 130, .k = 97};
    set_thread_count(1);
    const auto serial = product<float>(g);
    for (const int n : {2, 3}) {
      set_thread_count(n);
      CHECK(product<float>(g) == serial);
    }
    set_thread_count(threads);
  }
}
