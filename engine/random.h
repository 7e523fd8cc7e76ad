// Random numbers by counter: number i of seed s is philox(s, i), whatever computed the others. So the same seed gives the
// same numbers with any number of threads and on any device, and the state to save is one integer.
//
// Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once
#include <array>
#include <cmath>
#include <vector>

#include "engine/tensor.h"

namespace gradus {

using Philox = std::array<std::uint32_t, 4>;

// The four words of block `counter` of the stream `key`.
inline HD Philox philox(std::uint64_t key, std::uint64_t counter) {
  std::uint32_t c0 = std::uint32_t(counter), c1 = std::uint32_t(counter >> 32), c2 = 0, c3 = 0;
  std::uint32_t k0 = std::uint32_t(key), k1 = std::uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t(0xD2511F53u) * c0, p1 = std::uint64_t(0xCD9E8D57u) * c2;
    c0 = std::uint32_t(p1 >> 32) ^ c1 ^ k0;
    c1 = std::uint32_t(p1);
    c2 = std::uint32_t(p0 >> 32) ^ c3 ^ k1;
    c3 = std::uint32_t(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// Uniform in [0,1) with 53 random bits: number i of the stream. Two numbers share a Philox block.
inline HD double uniform_at(std::uint64_t seed, std::uint64_t i) {
  const Philox words = philox(seed, i / 2);
  const int w = int(i % 2) * 2;
  const std::uint64_t bits = (std::uint64_t(words[std::size_t(w)]) << 32) | words[std::size_t(w + 1)];
  return double(bits >> 11) * 0x1p-53;
}

// Standard normal (Box and Muller 1958): number i of the stream, made of uniforms 2i and 2i + 1.
inline HD double normal_at(std::uint64_t seed, std::uint64_t i) {
  const double radius = std::sqrt(-2 * std::log(1 - uniform_at(seed, 2 * i)));
  return radius * std::cos(6.283185307179586 * uniform_at(seed, 2 * i + 1));
}

class Rng {
 public:
  explicit Rng(std::uint64_t seed = 0) : seed_(seed) {}

  double uniform() { return uniform_at(seed_, take(1)); }  // [0,1)
  double normal();
  Index index(Index n);                     // 0..n-1, n >= 1
  std::vector<Index> permutation(Index n);  // 0..n-1 in random order (Fisher and Yates)
  Rng split();                              // an independent stream

  std::uint64_t seed() const { return seed_; }
  std::uint64_t position() const { return position_; }  // numbers taken so far: (seed, position) is the state
  void seek(std::uint64_t position) { position_ = position; }
  std::uint64_t take(std::uint64_t n) {  // the first of n numbers, now used up
    const std::uint64_t first = position_;
    position_ += n;
    return first;
  }

 private:
  std::uint64_t seed_, position_ = 0;
};

// On every device the same numbers: they are computed on the CPU and moved.
Tensor rand(Shape shape, Rng& rng, DType dtype = DType::f32, Device& device = default_device());   // uniform in [0,1)
Tensor randn(Shape shape, Rng& rng, DType dtype = DType::f32, Device& device = default_device());  // standard normal
Tensor randint(Index high, Shape shape, Rng& rng, Device& device = default_device());              // i64, 0..high-1

}  // namespace gradus
