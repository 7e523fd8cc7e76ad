// Real handwritten digits that travel in the source, so that the first example and every test work offline.
//
// 1,797 pictures of 8x8 pixels in 17 shades, ten classes of 174 to 183 pictures, written by 13 people. They are the
// test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository,
// 1998, CC BY 4.0), the same pictures in the same order as scikit-learn's load_digits.
#pragma once
#include <array>

#include "tutorials/datasets/image_set.h"

namespace gradus {

// Pixels are divided by 16, so they lie in 0..1.
ImageSet digits();

// 1,437 pictures to train on and 360 to test on. A logistic regression reads about 96 of 100 test pictures.
Split digits_split(double test_share = 0.2, std::uint64_t seed = 0);

// The pictures as they are stored: 64 characters of 0123456789abcdefg, a blank and the label (digits_data.cpp).
extern const std::array<const char*, 1797> digit_lines;

}  // namespace gradus
