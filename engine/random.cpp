#include "engine/random.h"

#include <numeric>
#include <utility>

#include "engine/parallel.h"

namespace gradus {
namespace {

template <class F> Tensor filled(Shape shape, DType dtype, Device& device, const F& number) {
  Tensor x = empty(shape, dtype, Device::cpu());
  dispatch(dtype, [&]<class T>() {
    T* out = x.data_mut<T>();
    parallel_for(x.numel(), serial_below / 16, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) out[i] = T(number(std::uint64_t(i)));
    });
  });
  return x.to(device);
}

// A double just under 1 becomes 1 as a float: keep the interval half open.
double below_one(double u, DType dtype) { return dtype == DType::f32 && u > 0x1.fffffep-1 ? 0x1.fffffep-1 : u; }

}  // namespace

double Rng::normal() {
  position_ += position_ % 2;  // normals start at even positions
  return normal_at(seed_, take(2) / 2);
}

Index Rng::index(Index n) {
  if (n < 1) fail("random", "index needs n >= 1, got " + std::to_string(n));
  return Index(uniform() * double(n));
}

// The new seed is itself a random number, of a block from the far end that the numbers of this stream never reach.
Rng Rng::split() {
  const Philox words = philox(seed_, ~take(1));
  return Rng((std::uint64_t(words[0]) << 32) | words[1]);
}

std::vector<Index> Rng::permutation(Index n) {
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index(0));
  for (Index i = n - 1; i > 0; --i) std::swap(order[std::size_t(i)], order[std::size_t(index(i + 1))]);
  return order;
}

Tensor rand(Shape shape, Rng& rng, DType dtype, Device& device) {
  const std::uint64_t seed = rng.seed(), first = rng.take(std::uint64_t(shape.numel()));
  return filled(shape, dtype, device, [=](std::uint64_t i) { return below_one(uniform_at(seed, first + i), dtype); });
}

Tensor randn(Shape shape, Rng& rng, DType dtype, Device& device) {
  rng.seek(rng.position() + rng.position() % 2);
  const std::uint64_t seed = rng.seed(), first = rng.take(2 * std::uint64_t(shape.numel())) / 2;
  return filled(shape, dtype, device, [=](std::uint64_t i) { return normal_at(seed, first + i); });
}

Tensor randint(Index high, Shape shape, Rng& rng, Device& device) {
  if (high < 1) fail("randint", "needs high >= 1, got " + std::to_string(high));
  const std::uint64_t seed = rng.seed(), first = rng.take(std::uint64_t(shape.numel()));
  return filled(shape, DType::i64, device, [=](std::uint64_t i) { return uniform_at(seed, first + i) * double(high); });
}

}  // namespace gradus
