// A set of labelled pictures: what every reader of pictures returns, and how it is cut into parts.
#pragma once
#include <cstdint>
#include <span>

#include "engine/tensor.h"

namespace gradus {

struct ImageSet {
  Tensor images;  // [N,D] f32 in 0..1, a picture's rows one after the other, D = height * width
  Tensor labels;  // [N] i64 in 0..classes-1
  Index classes = 0;
  Index height = 0, width = 0;

  Index size() const { return images.shape()[0]; }
};

struct Split {
  ImageSet train, test;
};

// The pictures of these row numbers, in this order; a row may come twice. Choosing rows is how a long-tailed, a small
// or a shuffled set is made.
ImageSet take(const ImageSet& set, std::span<const Index> rows);

// A random split: the same seed gives the same split on every machine. The test part has ceil(test_share * N) pictures.
// Classes are not balanced between the parts; at these sizes chance keeps them close.
Split random_split(const ImageSet& set, double test_share, std::uint64_t seed);

}  // namespace gradus
