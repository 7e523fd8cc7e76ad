#include "tutorials/datasets/image_set.h"

#include <algorithm>
#include <cmath>

#include "engine/random.h"

namespace gradus {

ImageSet take(const ImageSet& set, std::span<const Index> rows) {
  Index n = Index(rows.size()), pixels = set.images.shape()[1];
  ImageSet part = set;
  part.images = empty({n, pixels}, DType::f32, Device::cpu());
  part.labels = empty({n}, DType::i64, Device::cpu());
  const float* from = set.images.data<float>();
  float* to = part.images.data_mut<float>();
  const Index* label = set.labels.data<Index>();
  Index* part_label = part.labels.data_mut<Index>();
  for (Index row : rows) {
    if (row < 0 || row >= set.size()) {
      fail("take", "row " + std::to_string(row) + " of a set of " + std::to_string(set.size()) + " pictures");
    }
    to = std::copy_n(from + row * pixels, pixels, to);
    *part_label++ = label[row];
  }
  return part;
}

Split random_split(const ImageSet& set, double test_share, std::uint64_t seed) {
  double test_size = std::ceil(test_share * double(set.size()));
  if (!(test_size >= 1 && test_size < double(set.size()))) {
    fail("random_split", "test_share is " + std::to_string(test_share) + " of " + std::to_string(set.size()) +
                             " pictures; both parts need some, so take it between 0 and 1, such as 0.2");
  }
  std::vector<Index> order = Rng(seed).permutation(set.size());
  std::span<const Index> rows(order);
  return {.train = take(set, rows.subspan(std::size_t(test_size))),
          .test = take(set, rows.first(std::size_t(test_size)))};
}

}  // namespace gradus
