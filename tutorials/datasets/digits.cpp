#include "tutorials/datasets/digits.h"

namespace gradus {

ImageSet digits() {
  constexpr Index n = Index(digit_lines.size()), pixels = 8 * 8;
  ImageSet set{.images = empty({n, pixels}, DType::f32, Device::cpu()),
               .labels = empty({n}, DType::i64, Device::cpu()),
               .classes = 10,
               .height = 8,
               .width = 8};
  float* shade = set.images.data_mut<float>();
  Index* label = set.labels.data_mut<Index>();
  for (const char* line : digit_lines) {
    for (Index i = 0; i < pixels; ++i) {
      int ink = line[i] <= '9' ? line[i] - '0' : line[i] - 'a' + 10;
      *shade++ = float(ink) / 16;
    }
    *label++ = line[pixels + 1] - '0';
  }
  return set;
}

Split digits_split(double test_share, std::uint64_t seed) { return random_split(digits(), test_share, seed); }

}  // namespace gradus
