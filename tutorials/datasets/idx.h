// IDX files, the format of MNIST and of the sets that took its place (Fashion-MNIST, KMNIST), plain or gzipped.
//
//   offset  pictures                           labels
//   0       2051 = 0x00000803 (bytes, 3 axes)  2049 = 0x00000801 (bytes, 1 axis)
//   4       N                                  N
//   8       height                             N bytes
//   12      width
//   16      N * height * width bytes, 0 to 255
//
// Numbers in the header are big-endian, 32 bits.
#pragma once
#include <string>

#include "tutorials/datasets/cache.h"
#include "tutorials/datasets/image_set.h"

namespace gradus {

// Pixels are divided by 255. classes is the greatest label + 1.
ImageSet read_idx(const std::string& images_path, const std::string& labels_path);

// Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, Zalando SE, 2017, MIT): 60,000 pictures of clothes to train on, 10,000
// to test on, 28x28 pixels, 10 classes of equal size. A folder with MNIST's four files, which have the same names, will
// do as well.
Split fashion_mnist(const std::string& dir = data_dir("fashion-mnist"));

}  // namespace gradus
